#!/usr/bin/env python3
"""A tour of what a tunnel has to endure: every size of packet, roaming, NAT,
addresses that come and go, an interface that moves. im-tunnel at both ends.

Usage: tour_test.py IM_TUNNEL [UNITTEST ARGUMENTS]
"""

import json
import re
import shutil
import subprocess

import lab
from lab import PROGRAMS, run, wait_until

# Of the outer path: IPv6, UDP, and the tunnel's own header and tag.
OVERHEAD_BYTES = 80
UDP4_BYTES, UDP6_BYTES = 28, 48


class Tour(lab.PairTest):
    """A has 192.0.2.1 and 2001:db8::1, B the same with 2; inside 10.9.0 and fd09::."""

    def setUp(self):
        super().setUp()
        for number, namespace in enumerate(("a", "b"), start=1):
            run("ip", "address", "add", f"2001:db8::{number}/64", "dev", f"v{namespace}", "nodad",
                namespace=namespace)

    def begin(self):
        return self.start("im-tunnel", "im-tunnel")

    def endpoint_at(self, tunnel, peer):
        return tunnel.show("endpoints")[peer.public_key]

    def drops(self, tunnel):
        text = run(PROGRAMS["im-tunnel"], "--drops", tunnel.interface)
        return {key: int(value) for key, value in re.findall(r"drop_(\w+)=(\d+)", text)}

    def iperf(self, client, server, address, *options):
        serving = self.helper("iperf3", "--server", "--one-off", "--bind", address,
                              namespace=server.namespace, stdout=subprocess.DEVNULL)
        wait_until("iperf3 to listen",
                   lambda: ":5201" in run("ss", "-Hltn", namespace=server.namespace))
        report = json.loads(run("iperf3", "--client", address, "--json", *options,
                                namespace=client.namespace))
        serving.wait(lab.DEADLINE_S)
        return report["end"]

    def set_mtu(self, a, b, mtu):
        for tunnel in (a, b):
            run("ip", "link", "set", f"v{tunnel.namespace}", "mtu",
                str(max(1280, mtu + OVERHEAD_BYTES)), namespace=tunnel.namespace)
            run("ip", "link", "set", tunnel.interface, "mtu", str(mtu), namespace=tunnel.namespace)
            if mtu >= 1280:  # below, the kernel takes IPv6 away
                run("ip", "address", "replace", f"{tunnel.inner6}/64", "dev", tunnel.interface,
                    "nodad", namespace=tunnel.namespace)

    def check_traffic(self, a, b, mtu):
        for client, server in ((a, b), (b, a)):
            client.ping(server.inner4)
            client.ping(server.inner4, "-M", "do", "-s", str(mtu - UDP4_BYTES))
            client.ping(server.inner4, "-s", str(min(65507, 3 * mtu)))  # in fragments
            if mtu >= 1280:
                client.ping(server.inner6, "-M", "do", "-s", str(mtu - UDP6_BYTES))
        for address in (b.inner4, b.inner6) if mtu >= 1280 else (b.inner4,):
            end = self.iperf(a, b, address, "--bytes", "30M")
            self.assertGreater(end["sum_received"]["bytes"], 25_000_000)
            end = self.iperf(a, b, address, "--udp", "--bitrate", "20M", "--bytes", "2M",
                             "--window", "4M", "--length", str(min(mtu, 60000) - 80))
            self.assertLess(end["sum"]["lost_percent"], 50)  # slow enough for a busy machine

    def check_sizes(self, outer_of_b):
        a, b = self.begin()
        a.wg("peer", b.public_key, "endpoint", f"{outer_of_b}:51820")
        sizes = (576, 1280, 1420, 8920, 65000) if lab.long_cases() else (1420, 65000)
        for mtu in sizes:
            with self.subTest(mtu=mtu):
                self.set_mtu(a, b, mtu)
                self.check_traffic(a, b, mtu)
        self.assertEqual(self.endpoint_at(a, b), f"{outer_of_b}:51820")
        for tunnel in (a, b):
            drops = self.drops(tunnel)
            for reason in ("malformed", "decrypt_failed", "replayed", "source_not_allowed"):
                self.assertEqual(drops[reason], 0, reason)

    def test_every_size_over_ipv4(self):
        self.check_sizes("192.0.2.2")

    def test_every_size_over_ipv6(self):
        self.check_sizes("[2001:db8::2]")

    def test_roaming_within_and_between_families(self):
        a, b = self.begin()
        a.ping(b.inner4)
        self.assertEqual(self.endpoint_at(b, a), "192.0.2.1:51820")
        run("ip", "address", "add", "192.0.2.11/24", "dev", "va", namespace="a")
        run("ip", "address", "del", "192.0.2.1/24", "dev", "va", namespace="a")
        # The other went with its subnet, unless it was made a first one.
        run("ip", "address", "replace", "192.0.2.11/24", "dev", "va", namespace="a")
        a.ping(b.inner4)
        self.assertEqual(self.endpoint_at(b, a), "192.0.2.11:51820")
        b.ping(a.inner6)
        a.wg("peer", b.public_key, "endpoint", "[2001:db8::2]:51820")
        a.ping(b.inner4)
        self.assertEqual(self.endpoint_at(b, a), "[2001:db8::1]:51820")
        b.ping(a.inner4)
        run("ip", "address", "add", "2001:db8::11/64", "dev", "va", "nodad", namespace="a")
        run("ip", "address", "del", "2001:db8::1/64", "dev", "va", namespace="a")
        a.ping(b.inner6)
        self.assertEqual(self.endpoint_at(b, a), "[2001:db8::11]:51820")
        # The port, too.
        a.wg("listen-port", "51999")
        a.ping(b.inner4)
        self.assertEqual(self.endpoint_at(b, a), "[2001:db8::11]:51999")
        b.ping(a.inner4)

    def link_local(self, namespace):
        """Of the veth there, once the kernel is sure that nobody else has it."""
        def found():
            lines = run("ip", "-6", "-o", "address", "show", "dev", f"v{namespace}", "scope", "link",
                        "-tentative", namespace=namespace)
            return re.search(r"inet6 (fe80:[0-9a-f:]+)", lines)
        wait_until("a link-local address", found)
        return found().group(1)

    def test_a_link_local_endpoint(self):
        a, b = self.begin()
        addresses = {name: self.link_local(name) for name in ("a", "b")}
        # As wg(8) in that namespace resolves the name.
        run("wg", "set", a.interface, "peer", b.public_key, "endpoint",
            f"[{addresses['b']}%va]:51820", namespace="a")
        a.ping(b.inner4)
        b.ping(a.inner6)
        self.assertEqual(self.endpoint_at(a, b), f"[{addresses['b']}%va]:51820")
        self.assertEqual(self.endpoint_at(b, a), f"[{addresses['a']}%vb]:51820")
        # All offloads of this path, too.
        self.assertGreater(self.iperf(a, b, b.inner4, "--bytes", "30M")["sum_received"]["bytes"],
                           25_000_000)

    def test_a_source_that_is_not_the_peers_own_is_dropped(self):
        a, b = self.begin()
        a.ping(b.inner4)
        for address, length in (("10.9.0.77", 24), ("fd09::77", 64)):
            run("ip", "address", "add", f"{address}/{length}", "dev", a.interface, "nodad",
                namespace="a")
            before = self.drops(b)["source_not_allowed"]
            with self.assertRaises(AssertionError):
                a.ping(b.inner4 if "." in address else b.inner6, "-I", address, "-W", "1")
            self.assertGreater(self.drops(b)["source_not_allowed"], before)
        # Allowed there and not here: B's own answer has nowhere to go.
        b.wg("peer", a.public_key, "allowed-ips", f"{a.inner4}/32,10.9.0.77/32")
        a.ping(b.inner4, "-I", "10.9.0.77")
        with self.assertRaises(AssertionError):
            a.ping(b.inner6, "-W", "1")

    def test_a_sticky_source_and_what_replaces_it(self):
        a, b = self.begin()
        for address in ("192.0.2.11/24", "192.0.2.12/24"):
            run("ip", "address", "add", address, "dev", "va", namespace="a")
        # B speaks to one that A's kernel would not choose.
        b.wg("peer", a.public_key, "endpoint", "192.0.2.12:51820")
        b.ping(a.inner4)
        a.ping(b.inner4)
        self.assertEqual(self.endpoint_at(b, a), "192.0.2.12:51820")
        run("ip", "address", "del", "192.0.2.12/24", "dev", "va", namespace="a")
        a.ping(b.inner4)
        self.assertEqual(self.endpoint_at(b, a), "192.0.2.1:51820")
        b.ping(a.inner4)

    def test_an_interface_in_another_namespace_than_its_socket(self):
        a, b = self.begin()
        run("ip", "netns", "add", "c")
        self.addCleanup(run, "ip", "netns", "del", "c", check=False)
        run("ip", "link", "set", a.interface, "netns", "c", namespace="a")
        for address in (f"{a.inner4}/24", f"{a.inner6}/64"):
            run("ip", "address", "add", address, "dev", a.interface, "nodad", namespace="c")
        run("ip", "link", "set", a.interface, "up", namespace="c")
        a.namespace = "c"
        # There is no other way out of this one.
        self.assertEqual(len(run("ip", "-o", "link", "show", "up", namespace="c").splitlines()), 1)
        a.ping(b.inner4)
        b.ping(a.inner6)
        for namespace in ("a", "b"):
            run("ip", "link", "set", f"v{namespace}", "mtu", "9000", namespace=namespace)
        for tunnel in (a, b):
            run("ip", "link", "set", tunnel.interface, "mtu", "8900", namespace=tunnel.namespace)
        a.ping(b.inner4, "-M", "do", "-s", str(8900 - UDP4_BYTES))
        self.assertGreater(self.iperf(a, b, b.inner4, "--bytes", "30M")["sum_received"]["bytes"],
                           25_000_000)
        # Down and up again: the peer is found anew.
        run("ip", "link", "set", a.interface, "down", namespace="c")
        run("ip", "link", "set", a.interface, "up", namespace="c")
        a.ping(b.inner4)

    def put_router_between(self):
        """A moves behind a router R, whose outside is what B sees."""
        run("ip", "netns", "add", "r")
        self.addCleanup(run, "ip", "netns", "del", "r")
        run("ip", "link", "set", "va", "netns", "r", namespace="a")
        run("ip", "link", "add", "vh", "netns", "a", "type", "veth", "peer", "name", "vr",
            "netns", "r")
        for namespace, device, address in (("a", "vh", "192.168.1.2/24"),
                                           ("r", "vr", "192.168.1.1/24"),
                                           ("r", "va", "192.0.2.1/24")):
            run("ip", "address", "add", address, "dev", device, namespace=namespace)
            run("ip", "link", "set", device, "up", namespace=namespace)
        run("ip", "route", "add", "default", "via", "192.168.1.1", namespace="a")
        run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", namespace="r")

    def test_a_path_that_becomes_narrower_and_does_not_say_so(self):
        if not shutil.which("nft"):
            self.skipTest("needs nft")
        self.put_router_between()
        run("ip", "route", "add", "192.168.1.0/24", "via", "192.0.2.1", namespace="b")
        run("nft", "-f", "-", namespace="r", stdin="""
            table ip filter {
              chain output {
                type filter hook output priority filter;
                icmp type destination-unreachable drop
              }
            }
            """)
        a, b = self.begin()
        full = ("-M", "do", "-s", str(1420 - UDP4_BYTES))
        a.ping(b.inner4, *full)
        for device, namespace in (("va", "r"), ("vb", "b")):
            run("ip", "link", "set", device, "mtu", "1300", namespace=namespace)
        # The inner packet stays whole; the outer one is cut on its way.
        a.ping(b.inner4, *full)
        self.assertGreater(self.iperf(a, b, b.inner4, "-n", "1M")["sum_received"]["bytes"], 0)

    def test_a_nat_that_forgets_after_two_seconds(self):
        if not shutil.which("nft") or not shutil.which("conntrack"):
            self.skipTest("needs nft and conntrack")
        self.put_router_between()
        run("nft", "-f", "-", namespace="r", stdin="""
            table ip nat {
              chain out {
                type nat hook postrouting priority srcnat;
                oifname "va" udp sport 51820 masquerade to :40000-40100
              }
            }
            table ip filter {
              chain forward {
                type filter hook forward priority filter; policy drop;
                iifname "vr" accept
                ct state established,related accept
              }
            }
            """)
        for setting in ("timeout", "timeout_stream"):
            run("sysctl", "-q", "-w", f"net.netfilter.nf_conntrack_udp_{setting}=2", namespace="r")
        a, b = self.begin()
        a.ping(b.inner4)
        self.assertRegex(self.endpoint_at(b, a), r"^192\.0\.2\.1:40\d\d\d$")
        b.ping(a.inner4)

        def mapped():
            return "51820" in run("conntrack", "-L", "-p", "udp", namespace="r")
        # Quiet, the way back is lost (its 10 s keepalive comes too late).
        wait_until("the router to forget", lambda: not mapped())
        with self.assertRaises(AssertionError):
            b.ping(a.inner4, "-W", "1")
        a.wg("peer", b.public_key, "persistent-keepalive", "1")

        def received():
            return int(b.show("transfer")[a.public_key].split("\t")[0])
        wait_until("A to be heard", mapped)
        before = received()
        # Five keepalives, four seconds, in which nothing else is sent.
        wait_until("keepalives", lambda: received() >= before + 5 * 32)
        b.ping(a.inner4)


if __name__ == "__main__":
    lab.main()
