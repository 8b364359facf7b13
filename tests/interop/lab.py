"""What the tests between two tunnels share: namespaces, tunnels, waiting.

A test's program calls main(), which starts it anew in network, mount and PID
namespaces of its own: whatever happens to it, its processes, interfaces and
sockets are gone when it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SKIPPED = 77
INSIDE = "IM_INTEROP_INSIDE"
DEADLINE_S = 15
# Set by main(): the programs by the name of their implementation.
PROGRAMS = {}
OURS = ("im-tunnel", "hasty-tunnel")


def run(*command, namespace=None, stdin=None, check=True, timeout=60):
    """Runs a command to its end; gives its standard output."""
    if namespace:
        command = ("ip", "netns", "exec", namespace) + command
    done = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(what, condition):
    """Waits for the condition; fails after DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {DEADLINE_S} s for: {what}")
        threading.Event().wait(0.01)


def socket_path(interface):
    return f"/run/wireguard/{interface}.sock"


class Ended(AssertionError):
    """A program ended that was to serve."""


class Tunnel:
    """One end: an implementation, its namespace and its addresses."""

    def __init__(self, implementation, namespace, number, log):
        self.implementation = implementation
        self.namespace = namespace
        self.interface = f"wg{namespace}"
        self.outer = f"192.0.2.{number}"
        self.inner4 = f"10.9.0.{number}"
        self.inner6 = f"fd09::{number}"
        self.private_key = run("wg", "genkey").strip()
        self.public_key = run("wg", "pubkey", stdin=self.private_key).strip()
        self.log = log
        self.process = None
        self.arguments = ()

    def start(self):
        try:
            self.launch()
        except Ended:
            if self.implementation in OURS:
                raise
            # wg(8) takes a socket that is bound but does not listen yet for
            # one that was left behind, and removes it.
            self.launch()
        self.wg("private-key", "/dev/stdin", "listen-port", "51820", stdin=self.private_key)
        for address in (f"{self.inner4}/24", f"{self.inner6}/64"):
            run("ip", "address", "add", address, "dev", self.interface, "nodad",
                namespace=self.namespace)
        run("ip", "link", "set", self.interface, "up", namespace=self.namespace)

    def launch(self):
        program = PROGRAMS.get(self.implementation, self.implementation)
        # boringtun and its kin have words of their own for the foreground and for
        # staying root.
        environment = dict(os.environ, WG_PROCESS_FOREGROUND="1", LOG_LEVEL="debug", WG_SUDO="true")
        foreground = ["-f"] if program.endswith(("boringtun-cli", "gotatun")) else []
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, program, *foreground, self.interface,
             *self.arguments],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        wait_until(f"{self.implementation} to answer wg", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise Ended(f"{self.implementation} ended: {self.process.returncode}")
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, "wg", "show", self.interface],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def wg(self, *arguments, stdin=None):
        run("wg", "set", self.interface, *arguments, namespace=self.namespace, stdin=stdin)

    def add_peer(self, other, preshared_key, endpoint=False):
        self.wg("peer", other.public_key, "preshared-key", "/dev/stdin",
                "allowed-ips", f"{other.inner4}/32,{other.inner6}/128",
                *(("endpoint", f"{other.outer}:51820") if endpoint else ()), stdin=preshared_key)

    def show(self, field):
        text = run("wg", "show", self.interface, field, namespace=self.namespace)
        return dict(line.split("\t", 1) for line in text.splitlines())

    def ping(self, address, *options):
        run("ping", "-c", "1", "-W", "5", *options, address, namespace=self.namespace)

    def stop(self):
        """Ends it as a service manager would; gives the exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        process.terminate()
        return process.wait(DEADLINE_S)



def exists(interface, namespace=None):
    return interface in run("ip", "-o", "link", "show", namespace=namespace).replace("@", ":").split(": ")


class PairTest(unittest.TestCase):
    """Two ends, joined by a pair of veth; the first one opens the conversation."""

    def setUp(self):
        self.log = tempfile.TemporaryFile(mode="w+")
        self.tunnels = []
        self.helpers = []
        self.addCleanup(self.clean)
        self.failed_before = self.failed_tests()
        for namespace in ("a", "b"):
            run("ip", "netns", "add", namespace)
            run("ip", "link", "set", "lo", "up", namespace=namespace)
        run("ip", "link", "add", "va", "netns", "a", "type", "veth", "peer", "name", "vb",
            "netns", "b")
        for number, namespace in enumerate(("a", "b"), start=1):
            run("ip", "address", "add", f"192.0.2.{number}/24", "dev", f"v{namespace}",
                namespace=namespace)
            run("ip", "link", "set", f"v{namespace}", "up", namespace=namespace)

    def failed_tests(self):
        result = self._outcome.result
        return len(result.failures) + len(result.errors)

    def clean(self):
        for process in self.helpers:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for tunnel in self.tunnels:
            tunnel.stop()
        for namespace in ("a", "b"):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)
        if self.failed_tests() > self.failed_before:
            self.log.seek(0)
            sys.stderr.write("---- log of the tunnels ----\n" + self.log.read()[-5000:])
        self.log.close()

    def start(self, first, second, arguments=()):
        for implementation in (first, second):
            if not shutil.which(PROGRAMS.get(implementation, implementation)):
                self.skipTest(f"{implementation} is not installed")
        a, b = Tunnel(first, "a", 1, self.log), Tunnel(second, "b", 2, self.log)
        self.tunnels = [a, b]
        for tunnel in self.tunnels:
            tunnel.arguments = arguments if tunnel.implementation == "hasty-tunnel" else ()
        preshared_key = run("wg", "genpsk")
        for tunnel in self.tunnels:
            tunnel.start()
        # B learns where A is from its handshake.
        b.add_peer(a, preshared_key)
        a.add_peer(b, preshared_key, endpoint=True)
        return a, b

    def helper(self, *command, namespace, **options):
        process = subprocess.Popen(("ip", "netns", "exec", namespace) + command, text=True,
                                   stderr=self.log, **options)
        self.helpers.append(process)
        return process


def main(needs=("wg", "ip", "tc", "ss", "iperf3", "ping"), long_only=False, fetch=None):
    """Runs the tests of the calling program: PROGRAM IM_TUNNEL [UNITTEST ARGUMENTS].

    Exits with 77 and the reason where they cannot run. `fetch` is called while
    there is still a network.
    """
    if len(sys.argv) < 2:
        sys.exit(sys.modules["__main__"].__doc__)
    PROGRAMS["im-tunnel"] = os.path.abspath(sys.argv[1])
    for name in ("hasty-tunnel", "flooder"):  # built beside it
        PROGRAMS[name] = os.path.join(os.path.dirname(PROGRAMS["im-tunnel"]), name)
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if INSIDE not in os.environ:
        permitted = (os.access("/dev/net/tun", os.R_OK | os.W_OK) and
                     subprocess.run(unshare + ["true"], stderr=subprocess.DEVNULL).returncode == 0)
        missing = [tool for tool in needs if not shutil.which(tool)]
        reason = ("it is one of the long cases (IM_LONG=1)" if long_only and not long_cases() else
                  "needs " + ", ".join(missing) if missing else
                  "" if permitted else "needs root, namespaces and /dev/net/tun")
        if reason:
            print("skipped:", reason)
            sys.exit(SKIPPED)
        if fetch:
            fetch()
        os.environ[INSIDE] = "1"
        os.execvp(unshare[0], unshare + [sys.executable] + sys.argv)
    # /run for `ip netns` and for the sockets of wg(8), of our own.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    unittest.main(module="__main__", argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)


def long_cases():
    """Whether ./test --full asks for the long cases, too."""
    return os.environ.get("IM_LONG") == "1"
