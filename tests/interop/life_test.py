#!/usr/bin/env python3
"""How im-tunnel starts, what it follows, and how it ends.

Usage: life_test.py IM_TUNNEL [UNITTEST ARGUMENTS]
"""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import unittest

import lab
from lab import DEADLINE_S, PROGRAMS, run, socket_path, wait_until


class Life(unittest.TestCase):
    """How im-tunnel starts and ends."""

    def start(self, *arguments, **environment):
        process = subprocess.Popen([PROGRAMS["im-tunnel"], *arguments], stdin=subprocess.DEVNULL,
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

    def test_its_port_is_open_while_it_is_up(self):
        self.start_ready("wg0")
        run("wg", "set", "wg0", "listen-port", "51820")
        self.assertNotIn(":51820", run("ss", "-Hlun"))
        self.assertEqual(run("wg", "show", "wg0", "listen-port"), "51820\n")
        run("ip", "link", "set", "wg0", "up")
        wait_until("the port", lambda: ":51820" in run("ss", "-Hlun"))
        run("ip", "link", "set", "wg0", "down")
        wait_until("the port to close", lambda: ":51820" not in run("ss", "-Hlun"))

    def test_a_port_that_is_taken_is_an_error_and_another_one_heals_it(self):
        taken = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(taken.close)
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        self.start_ready("wg0")
        run("ip", "link", "set", "wg0", "up")
        wait_until("a port", lambda: run("wg", "show", "wg0", "listen-port") != "0\n")
        refused = subprocess.run(["wg", "set", "wg0", "listen-port", str(port)],
                                 stderr=subprocess.PIPE, text=True)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("Address already in use", refused.stderr)
        self.assertNotEqual(run("wg", "show", "wg0", "listen-port"), f"{port}\n")
        # Down, it is taken note of; up, it cannot be had.
        run("ip", "link", "set", "wg0", "down")
        wait_until("it to be down", lambda: subprocess.run(
            ["wg", "set", "wg0", "listen-port", str(port)], stderr=subprocess.DEVNULL).returncode == 0)
        run("ip", "link", "set", "wg0", "up")
        run("wg", "set", "wg0", "listen-port", "51821")
        wait_until("the other port", lambda: ":51821" in run("ss", "-Hlun"))

    def test_it_moves_to_other_namespaces_and_ends_there(self):
        process = self.start_ready("wg0")
        run("wg", "set", "wg0", "listen-port", "51820")
        for namespace in ("one", "two"):
            run("ip", "netns", "add", namespace)
            self.addCleanup(run, "ip", "netns", "del", namespace)
        run("ip", "link", "set", "wg0", "netns", "one", "name", "moved")
        run("ip", "link", "set", "moved", "up", namespace="one")
        wait_until("the port, where the process was born", lambda: ":51820" in run("ss", "-Hlun"))
        self.assertNotIn(":51820", run("ss", "-Hlun", namespace="one"))
        run("ip", "link", "set", "moved", "netns", "two", namespace="one")
        wait_until("the port to close", lambda: ":51820" not in run("ss", "-Hlun"))
        run("ip", "link", "set", "moved", "up", namespace="two")
        wait_until("the port again", lambda: ":51820" in run("ss", "-Hlun"))
        self.assertIsNone(process.poll())
        self.assertEqual(run("wg", "show", "wg0", "listen-port"), "51820\n")
        run("ip", "link", "del", "moved", namespace="two")
        self.assertEqual(process.wait(DEADLINE_S), 0)

    def test_it_ends_with_the_namespace_it_moved_to(self):
        process = self.start_ready("wg0")
        run("ip", "netns", "add", "one")
        run("ip", "link", "set", "wg0", "netns", "one")
        run("ip", "netns", "del", "one")
        self.assertEqual(process.wait(DEADLINE_S), 0)

    def test_what_it_drops_is_shown_by_reason(self):
        process = self.start_ready("wg0")
        run("wg", "set", "wg0", "listen-port", "51820")
        run("ip", "link", "set", "wg0", "up")
        wait_until("the port", lambda: ":51820" in run("ss", "-Hlun"))

        def drops():
            text = run(PROGRAMS["im-tunnel"], "--drops", "wg0")
            return {key: int(value) for key, value in re.findall(r"drop_(\w+)=(\d+)", text)}
        self.assertEqual(drops()["malformed"] + drops()["unknown_index"], 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"no message", ("127.0.0.1", 51820))
            sender.sendto(b"\4\0\0\0" + bytes(60), ("127.0.0.1", 51820))
        wait_until("both to be counted",
                   lambda: (drops()["malformed"], drops()["unknown_index"]) == (1, 1))
        # wg(8) is not disturbed by them.
        self.assertIn("listening port: 51820", run("wg", "show", "wg0"))
        process.send_signal(signal.SIGUSR1)
        self.assertIn("malformed=1 unknown_index=1", process.stderr.readline())
        missing = subprocess.run([PROGRAMS["im-tunnel"], "--drops", "wg1"], stderr=subprocess.PIPE,
                                 text=True)
        self.assertEqual(missing.returncode, 1)
        self.assertIn("no such interface", missing.stderr)

    def test_a_new_generation_of_the_machine_renews_its_sessions(self):
        process = self.start("--foreground", "wg0", LOG_LEVEL="info")
        wait_until("the socket", lambda: subprocess.run(
            ["wg", "show", "wg0"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0)
        text = b"change@/devices/VMGENCTR:00\0ACTION=change\0NEW_VMGENID=1\0"
        # The kernel sends it to all who listen in this network namespace.
        header = struct.pack("=IHHII", 16 + len(text), 0x10, 1, 0, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as uevents:
            uevents.sendto(header + text, (0, 0))
        while "renews its sessions" not in (line := process.stderr.readline()):
            self.assertNotEqual(line, "", "it ended")

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

    def test_the_daemon_keeps_nobody_waiting_for_its_output(self):
        environment = {name: value for name, value in os.environ.items() if name != "LOG_LEVEL"}
        # Would hang if it kept the pipes.
        done = subprocess.run([PROGRAMS["im-tunnel"], "wg0"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=DEADLINE_S, env=environment)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))
        run("ip", "link", "del", "wg0")
        wait_until("the daemon to end", lambda: not os.path.exists(socket_path("wg0")))

    def test_descriptors_of_others_are_taken(self):
        tun = os.open("/dev/net/tun", os.O_RDWR)
        # TUNSETIFF: IFF_TUN | IFF_NO_PI
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"given", 0x1001))
        run("ip", "link", "set", "given", "mtu", "1300")
        os.makedirs("/run/wireguard", exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(socket_path("given"))
        listener.listen()
        self.addCleanup(os.unlink, socket_path("given"))
        process = subprocess.Popen(
            [PROGRAMS["im-tunnel"], "-f", "ignored"], pass_fds=(tun, listener.fileno()),
            stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, WG_TUN_FD=str(tun), WG_UAPI_FD=str(listener.fileno())))
        self.addCleanup(self.end, process)
        os.close(tun)
        wait_until("an answer", lambda: subprocess.run(
            ["wg", "show", "given"], stdout=subprocess.DEVNULL).returncode == 0)
        self.assertIn("mtu 1300", run("ip", "link", "show", "given"))
        process.terminate()
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertFalse(self.exists("given"))
        self.assertTrue(os.path.exists(socket_path("given")))  # not its own

    def test_a_wrong_descriptor_is_refused(self):
        with open("/dev/null", "rb") as null:
            done = subprocess.run([PROGRAMS["im-tunnel"], "-f", "wg0"], pass_fds=(null.fileno(),),
                                  env=dict(os.environ, WG_TUN_FD=str(null.fileno())),
                                  stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, 1)
        self.assertIn("WG_TUN_FD", done.stderr)

    def test_what_is_missing_is_said(self):
        for words, prefix in (
                ("root is needed", ["setpriv", "--bounding-set", "-net_admin"]),
                ("no TUN devices", ["unshare", "--mount", "sh", "-c",
                                    'mount -t tmpfs none /dev/net && exec "$@"', "sh"])):
            for foreground in (["-f"], []):
                done = subprocess.run(prefix + [PROGRAMS["im-tunnel"], *foreground, "wg0"],
                                      stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
        run("ip", "link", "add", "wg0", "type", "veth", "peer", "name", "other")
        self.addCleanup(run, "ip", "link", "del", "wg0")
        done = subprocess.run([PROGRAMS["im-tunnel"], "wg0"], stderr=subprocess.PIPE, text=True,
                              timeout=DEADLINE_S)
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is a network interface wg0 already", done.stderr)

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
        self.assertIn("im-tunnel ", run(PROGRAMS["im-tunnel"], "--version"))
        self.assertIn("Usage:", run(PROGRAMS["im-tunnel"], "--help"))


if __name__ == "__main__":
    lab.main(needs=("wg", "ip", "ss", "setpriv"))
