#!/usr/bin/env python3
"""im-tunnel against wireguard-go, and against itself, over a pair of veth.

Usage: wireguard_go_test.py IM_TUNNEL [UNITTEST ARGUMENTS]
"""

import contextlib
import json
import signal
import subprocess

import lab
from lab import DEADLINE_S, PROGRAMS, run, wait_until

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


# Ends when so many datagrams have come.
COUNTING_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
s.bind((sys.argv[1], 7777))
print('ready', flush=True)
for _ in range(int(sys.argv[2])):
    s.recv(2048)
"""

# Sends as fast as it can, without end.
FAST_CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7777))
while True:
    s.send(bytes(1300))
"""


RESPONSE_BYTES = 92


def wireguard_go_version():
    """As numbers: (0, 0, 20220316)."""
    first = run(PROGRAMS.get("wireguard-go", "wireguard-go"), "--version").split()[1]
    return tuple(map(int, first.lstrip("v").split("-")[0].split(".")))


class Pair(lab.PairTest):
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

    def datagrams_sent(self, tunnel):
        names, values = (line.split() for line in
                         run("cat", "/proc/net/snmp", namespace=tunnel.namespace).splitlines()
                         if line.startswith("Udp:"))
        return int(values[names.index("OutDatagrams")])

    def check_persistent_keepalive(self, first, second):
        a, b = self.start(first, second)
        # As wg-quick does it: all at once, and anew.
        a.wg("peer", b.public_key, "remove")
        psk = b.show("preshared-keys")[a.public_key]
        before = self.datagrams_sent(a)
        a.wg("peer", b.public_key, "preshared-key", "/dev/stdin", "allowed-ips", f"{b.inner4}/32",
             "endpoint", f"{b.outer}:51820", "persistent-keepalive", "25", stdin=psk)
        # At once, not by a timer: before the next request was answered.
        a.show("latest-handshakes")
        self.assertGreater(self.datagrams_sent(a), before)
        wait_until("a handshake without traffic",
                   lambda: a.show("latest-handshakes")[b.public_key] != "0")

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

    def check_renewal_when_told(self, first, second, told):
        """As after a snapshot: its sessions are forgotten, and the other end's are not."""
        pair = self.start(first, second)
        pair[0].ping(pair[1].inner4)
        one, other = pair[told], pair[1 - told]

        def received():
            return int(one.show("transfer")[other.public_key].split("\t")[0])
        before = received()
        one.process.send_signal(signal.SIGUSR2)
        # A keepalive alone would be shorter.
        wait_until("the answer to a new handshake", lambda: received() >= before + RESPONSE_BYTES)
        other.ping(one.inner4)
        one.ping(other.inner4)

    def test_sessions_that_it_began_are_renewed_when_it_is_told(self):
        self.check_renewal_when_told("im-tunnel", "wireguard-go", 0)

    def test_sessions_that_wireguard_go_began_are_renewed_when_it_is_told(self):
        self.check_renewal_when_told("wireguard-go", "im-tunnel", 1)

    def check_renewals(self, first, second, seconds=4, at_least=2, **limits):
        """Pings at 100 a second while sessions are renewed; none may be lost."""
        a, b = self.start(first, second, (str(limits.get("time_divisor", 1)),
                                          str(limits.get("messages", 1 << 60))))
        a.ping(b.inner4)
        handshakes = set()
        pinging = self.helper("ping", "-q", "-i", "0.01", "-c", str(100 * seconds), b.inner4,
                              namespace="a", stdout=subprocess.PIPE)
        while pinging.poll() is None:
            handshakes.add(b.show("latest-handshakes")[a.public_key])
            with contextlib.suppress(subprocess.TimeoutExpired):
                pinging.wait(0.1)
        report = pinging.stdout.read()
        self.assertIn(" 0% packet loss", report)
        # wg(8) shows whole seconds.
        self.assertGreaterEqual(len(handshakes), at_least)

    def test_sessions_are_renewed_in_time_with_wireguard_go(self):
        self.check_renewals("hasty-tunnel", "wireguard-go", time_divisor=120)

    def test_sessions_are_renewed_after_their_messages_with_wireguard_go(self):
        self.check_renewals("hasty-tunnel", "wireguard-go", messages=100)

    def test_sessions_are_renewed_in_time_with_itself(self):
        self.check_renewals("hasty-tunnel", "hasty-tunnel", time_divisor=120)

    def test_an_outer_path_with_a_small_mtu(self):
        a, b = self.start("im-tunnel", "wireguard-go")
        if wireguard_go_version() >= (0, 0, 20230223):
            self.skipTest("this wireguard-go sends nothing on a path that is smaller than its "
                          "segments: its trains are refused (message too long)")
        for namespace in ("a", "b"):
            run("ip", "link", "set", f"v{namespace}", "mtu", "1280", namespace=namespace)
        a.ping(b.inner4)
        self.check_tcp(a, b)

    def test_a_slow_path_fills_the_socket_and_drains_again(self):
        a, b = self.start("im-tunnel", "im-tunnel")
        a.ping(b.inner4)
        run("tc", "qdisc", "add", "dev", "va", "root", "tbf", "rate", "200mbit", "burst", "256k",
            "limit", "100m", namespace="a")
        # Several times of what a socket's buffer holds: it goes on behind it.
        counter = self.helper("python3", "-c", COUNTING_SERVER, b.inner4, "20000", namespace="b",
                              stdout=subprocess.PIPE)
        self.assertEqual(counter.stdout.readline(), "ready\n")
        client = self.helper("python3", "-c", FAST_CLIENT, b.inner4, namespace="a")
        self.assertEqual(counter.wait(60), 0)
        client.kill()
        client.wait()
        # The interface's queue is still full.
        wait_until("the queues to drain", lambda: "1 received" in run(
            "ping", "-c", "1", "-W", "1", b.inner4, namespace="a", check=False))
        b.ping(a.inner4)

    def test_the_mtu_is_followed(self):
        a, b = self.start("im-tunnel", "im-tunnel")
        for tunnel in (a, b):
            run("ip", "link", "set", f"v{tunnel.namespace}", "mtu", "9000",
                namespace=tunnel.namespace)
            run("ip", "link", "set", tunnel.interface, "mtu", "8900", namespace=tunnel.namespace)
        a.ping(b.inner4, "-s", "8872", "-M", "do")
        self.check_tcp(a, b)


if __name__ == "__main__":
    lab.main()
