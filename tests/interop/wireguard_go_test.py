#!/usr/bin/env python3
"""im-tunnel against wireguard-go, and against itself, over a pair of veth.

Usage: wireguard_go_test.py IM_TUNNEL [UNITTEST ARGUMENTS]

Everything lives in network, mount and PID namespaces of its own: whatever
happens to this script, its processes, interfaces and sockets are gone when it
is. Exits with 77 where that is not permitted.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SKIPPED = 77
INSIDE = "IM_INTEROP_INSIDE"
DEADLINE_S = 15
IM_TUNNEL = ""


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
        time.sleep(0.01)


def socket_path(interface):
    return f"/run/wireguard/{interface}.sock"


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

    def start(self):
        program = IM_TUNNEL if self.implementation == "im-tunnel" else "wireguard-go"
        environment = dict(os.environ, WG_PROCESS_FOREGROUND="1", LOG_LEVEL="debug")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, program, self.interface],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        wait_until(f"{self.implementation} to answer wg", self.answers)
        self.wg("private-key", "/dev/stdin", "listen-port", "51820", stdin=self.private_key)
        for address in (f"{self.inner4}/24", f"{self.inner6}/64"):
            run("ip", "address", "add", address, "dev", self.interface, "nodad",
                namespace=self.namespace)
        run("ip", "link", "set", self.interface, "up", namespace=self.namespace)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.implementation} ended: {self.process.returncode}")
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


ECHO_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind((sys.argv[1], 7777))
print('ready', flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)
"""

# One datagram of the largest size, then a train of small ones in one call.
ECHO_CLIENT = """
import os, socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.settimeout(5)
s.connect((sys.argv[1], 7777))
data = os.urandom(65000)
s.send(data)
assert s.recv(65536) == data, 'large datagram'
s.setsockopt(socket.SOL_UDP, 103, 1000)  # UDP_SEGMENT
data = os.urandom(40500)
s.send(data)
back = [s.recv(65536) for _ in range(41)]
assert b''.join(back) == data and len(back[-1]) == 500, 'train'
"""


# Counts datagrams until none has come for a while.
COUNTING_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
s.bind((sys.argv[1], 7777))
print('ready', flush=True)
count = 0
s.settimeout(20)
try:
    while True:
        s.recv(2048)
        count += 1
        s.settimeout(3)
except TimeoutError:
    pass
print(count, flush=True)
"""

FAST_CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7777))
for _ in range(int(sys.argv[2])):
    s.send(bytes(1300))
"""


class Pair(unittest.TestCase):
    """Two ends; the first one opens the conversation."""

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

    def start(self, first, second):
        if "wireguard-go" in (first, second) and not shutil.which("wireguard-go"):
            self.skipTest("wireguard-go is not installed")
        a, b = Tunnel(first, "a", 1, self.log), Tunnel(second, "b", 2, self.log)
        self.tunnels = [a, b]
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

    def check_echo(self, client, server):
        for address in (server.inner4, server.inner6):
            echo = self.helper("python3", "-c", ECHO_SERVER, address, namespace=server.namespace,
                               stdout=subprocess.PIPE)
            self.assertEqual(echo.stdout.readline(), "ready\n")
            run("python3", "-c", ECHO_CLIENT, address, namespace=client.namespace)

    def check_tcp(self, client, server):
        for address in (server.inner4, server.inner6):
            for direction in ((), ("--reverse",)):
                serving = self.helper("iperf3", "--server", "--one-off", "--bind", address,
                                      namespace=server.namespace, stdout=subprocess.DEVNULL)
                wait_until("iperf3 to listen", lambda: ":5201" in run(
                    "ss", "-Hltn", namespace=server.namespace))
                report = json.loads(run("iperf3", "--client", address, "--bytes", "100M", "--json",
                                        *direction, namespace=client.namespace))
                received = report["end"]["sum_received"]["bytes"]
                self.assertGreater(received, 80_000_000)  # the last are in flight
                self.assertEqual(serving.wait(DEADLINE_S), 0)

    def check_show(self, a, b):
        for one, other in ((a, b), (b, a)):
            self.assertGreater(int(one.show("latest-handshakes")[other.public_key]), 0)
            self.assertEqual(one.show("endpoints")[other.public_key], f"{other.outer}:51820")
            received, sent = map(int, one.show("transfer")[other.public_key].split("\t"))
            self.assertGreater(received, 160_000_000)
            self.assertGreater(sent, 160_000_000)
            self.assertNotEqual(one.show("preshared-keys")[other.public_key], "(none)")
            self.assertEqual(one.show("allowed-ips")[other.public_key],
                             f"{other.inner4}/32 {other.inner6}/128")
            text = run("wg", "show", one.interface, namespace=one.namespace)
            self.assertIn("latest handshake:", text)

    def check_all(self, first, second):
        a, b = self.start(first, second)
        a.ping(b.inner4)
        a.ping(b.inner6)
        a.ping(b.inner4, "-s", "20000")  # fragments inside
        b.ping(a.inner4)
        b.ping(a.inner6, "-s", "1372")  # just the MTU
        self.check_tcp(a, b)
        self.check_echo(a, b)
        self.check_echo(b, a)
        self.check_show(a, b)

    def test_im_tunnel_opens_to_wireguard_go(self):
        self.check_all("im-tunnel", "wireguard-go")

    def test_wireguard_go_opens_to_im_tunnel(self):
        self.check_all("wireguard-go", "im-tunnel")

    def test_im_tunnel_to_itself(self):
        self.check_all("im-tunnel", "im-tunnel")

    def test_a_wrong_preshared_key_lets_nothing_through(self):
        a, b = self.start("im-tunnel", "wireguard-go")
        a.add_peer(b, run("wg", "genpsk"), endpoint=True)
        with self.assertRaises(AssertionError):
            a.ping(b.inner4, "-W", "2")
        self.assertEqual(a.show("latest-handshakes")[b.public_key], "0")

    def check_persistent_keepalive(self, first, second):
        a, b = self.start(first, second)
        # As wg-quick does it: all at once, and anew.
        a.wg("peer", b.public_key, "remove")
        psk = b.show("preshared-keys")[a.public_key]
        a.wg("peer", b.public_key, "preshared-key", "/dev/stdin", "allowed-ips", f"{b.inner4}/32",
             "endpoint", f"{b.outer}:51820", "persistent-keepalive", "25", stdin=psk)
        begin = time.monotonic()
        wait_until("a handshake without traffic",
                   lambda: a.show("latest-handshakes")[b.public_key] != "0")
        # Not only after the first was lost ([W] 6.1: 5 s).
        self.assertLess(time.monotonic() - begin, 4)

    def test_a_persistent_keepalive_opens_to_wireguard_go(self):
        self.check_persistent_keepalive("im-tunnel", "wireguard-go")

    def test_a_persistent_keepalive_opens_to_itself(self):
        self.check_persistent_keepalive("im-tunnel", "im-tunnel")

    def check_restart(self, first, second):
        a, b = self.start(first, second)
        a.ping(b.inner4)
        psk = a.show("preshared-keys")[b.public_key]
        # It forgets its sessions; the other end still has them.
        a.stop()
        a.start()
        a.add_peer(b, psk, endpoint=True)
        a.ping(b.inner4)
        b.ping(a.inner4)

    def test_a_restarted_im_tunnel_is_taken_back(self):
        self.check_restart("im-tunnel", "wireguard-go")

    def test_a_restarted_wireguard_go_is_taken_back(self):
        self.check_restart("wireguard-go", "im-tunnel")

    def test_an_outer_path_with_a_small_mtu(self):
        a, b = self.start("im-tunnel", "wireguard-go")
        for namespace in ("a", "b"):
            run("ip", "link", "set", f"v{namespace}", "mtu", "1280", namespace=namespace)
        a.ping(b.inner4)
        self.check_tcp(a, b)

    def test_a_slow_path_fills_the_socket_and_drains_again(self):
        a, b = self.start("im-tunnel", "im-tunnel")
        a.ping(b.inner4)
        run("tc", "qdisc", "add", "dev", "va", "root", "tbf", "rate", "200mbit", "burst", "256k",
            "limit", "100m", namespace="a")
        counter = self.helper("python3", "-c", COUNTING_SERVER, b.inner4, namespace="b",
                              stdout=subprocess.PIPE)
        self.assertEqual(counter.stdout.readline(), "ready\n")
        # Far more than the path takes meanwhile, and than all buffers hold.
        run("python3", "-c", FAST_CLIENT, b.inner4, "60000", namespace="a")
        # What fits into the socket's buffer arrives, and it goes on behind it.
        self.assertGreater(int(counter.stdout.readline()), 4000)
        a.ping(b.inner4)
        b.ping(a.inner4)

    def test_the_mtu_is_followed(self):
        a, b = self.start("im-tunnel", "im-tunnel")
        for tunnel in (a, b):
            run("ip", "link", "set", f"v{tunnel.namespace}", "mtu", "9000",
                namespace=tunnel.namespace)
            run("ip", "link", "set", tunnel.interface, "mtu", "8900", namespace=tunnel.namespace)
        a.ping(b.inner4, "-s", "8872", "-M", "do")
        self.check_tcp(a, b)


class Life(unittest.TestCase):
    """How im-tunnel starts and ends."""

    def start(self, *arguments, **environment):
        process = subprocess.Popen([IM_TUNNEL, *arguments], stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True,
                                   env=dict(os.environ, **environment))
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()

    def start_ready(self, interface):
        process = self.start("--foreground", interface)
        wait_until("the socket", lambda: subprocess.run(
            ["wg", "show", interface], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0)
        return process

    def exists(self, interface):
        return os.path.exists(f"/proc/sys/net/ipv4/conf/{interface}")

    def test_signals_end_it_cleanly(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start_ready("wg0")
            self.assertTrue(self.exists("wg0"))
            process.send_signal(number)
            self.assertEqual(process.wait(DEADLINE_S), 0)
            self.assertFalse(self.exists("wg0"))
            self.assertFalse(os.path.exists(socket_path("wg0")))

    def test_it_ends_with_its_interface(self):
        process = self.start_ready("wg0")
        run("ip", "link", "del", "wg0")
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertFalse(os.path.exists(socket_path("wg0")))

    def test_it_ends_with_its_socket_file(self):
        process = self.start_ready("wg0")
        os.unlink(socket_path("wg0"))
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertFalse(self.exists("wg0"))

    def test_as_a_daemon_it_is_ready_when_the_command_returns(self):
        process = self.start("wg0", LOG_LEVEL="silent")
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertIn("wg0", run("wg", "show", "interfaces"))
        os.unlink(socket_path("wg0"))
        wait_until("the daemon to end", lambda: not self.exists("wg0"))

    def test_a_taken_name_is_refused(self):
        self.start_ready("wg0")
        for arguments in (("-f", "wg0"), ("wg0",)):
            process = self.start(*arguments)
            self.assertEqual(process.wait(DEADLINE_S), 1)
            self.assertIn("wg0", process.stderr.read())
        self.assertTrue(self.exists("wg0"))
        self.assertIn("wg0", run("wg", "show", "interfaces"))

    def test_the_kernel_is_used_where_it_has_wireguard(self):
        kernel_has_it = subprocess.run(["ip", "link", "add", "probe", "type", "wireguard"],
                                       stderr=subprocess.DEVNULL).returncode == 0
        process = self.start("--backend", "kernel", "-f", "wg0")
        if kernel_has_it:
            wait_until("the interface", lambda: self.exists("wg0"))
            process.terminate()
            self.assertEqual(process.wait(DEADLINE_S), 0)
            self.assertFalse(self.exists("wg0"))
            return
        self.assertEqual(process.wait(DEADLINE_S), 1)
        self.assertIn("no WireGuard", process.stderr.read())
        # "auto" falls back.
        process = self.start("--backend", "auto", "wg0", LOG_LEVEL="silent")
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertIn("wg0", run("wg", "show", "interfaces"))
        run("ip", "link", "del", "wg0")
        wait_until("the daemon to end", lambda: not os.path.exists(socket_path("wg0")))

    def test_mistakes_are_usage_errors(self):
        for arguments in ((), ("--frobnicate",), ("a", "b")):
            process = self.start(*arguments)
            self.assertEqual(process.wait(DEADLINE_S), 2)
            self.assertIn("Usage:", process.stderr.read())
        self.assertIn("im-tunnel ", run(IM_TUNNEL, "--version"))
        self.assertIn("Usage:", run(IM_TUNNEL, "--help"))


def main():
    global IM_TUNNEL
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    IM_TUNNEL = os.path.abspath(sys.argv[1])
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if INSIDE not in os.environ:
        permitted = (os.access("/dev/net/tun", os.R_OK | os.W_OK) and
                     subprocess.run(unshare + ["true"], stderr=subprocess.DEVNULL).returncode == 0)
        missing = [tool for tool in ("wg", "ip", "tc", "ss", "iperf3", "ping") if not shutil.which(tool)]
        if not permitted or missing:
            print("skipped:", "needs " + ", ".join(missing) if missing else
                  "needs root, namespaces and /dev/net/tun")
            sys.exit(SKIPPED)
        os.environ[INSIDE] = "1"
        os.execvp(unshare[0], unshare + [sys.executable] + sys.argv)
    # /run for `ip netns` and for the sockets of wg(8), of our own.
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)


if __name__ == "__main__":
    main()
