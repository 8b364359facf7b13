#!/usr/bin/env python3
"""im-tunnel configured by wg(8) and wg-quick(8), as the kernel's would be.

Usage: wg_tools_test.py IM_TUNNEL [UNITTEST ARGUMENTS]
"""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

import lab
from lab import DEADLINE_S, PROGRAMS, run, socket_path, wait_until

# Of a process with a large configuration; sanitizers take several times as much.
MEMORY_MAX_MB = 64
SANITIZED = float(os.environ.get("IM_SLOW_FACTOR") or 1) > 1

KEYS = [run("wg", "genkey").strip() for _ in range(3)] if shutil.which("wg") else []


def public(private_key):
    return run("wg", "pubkey", stdin=private_key).strip()


class WgTools(unittest.TestCase):
    """One interface, wg0, and what wg(8) says of it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.process = subprocess.Popen([PROGRAMS["im-tunnel"], "-f", "wg0"],
                                        stdin=subprocess.DEVNULL)
        self.addCleanup(self.end)
        wait_until("wg0", lambda: subprocess.run(
            ["wg", "show", "wg0"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL).returncode == 0)

    def end(self):
        self.process.terminate()
        self.assertEqual(self.process.wait(DEADLINE_S), 0)

    def file(self, text):
        path = os.path.join(self.folder, "wg0.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        return path

    def show(self, field):
        return run("wg", "show", "wg0", field).strip()

    FULL = f"""[Interface]
ListenPort = 51820
FwMark = 0x1234
PrivateKey = {KEYS[0]}

[Peer]
PublicKey = {public(KEYS[1])}
PresharedKey = {KEYS[2]}
AllowedIPs = 10.1.0.0/16, fd01::/64
Endpoint = 192.0.2.1:1234
PersistentKeepalive = 25

[Peer]
PublicKey = {public(KEYS[2])}
AllowedIPs = 10.2.3.4/32, ::/0
Endpoint = [2001:db8::1]:1234
""" if KEYS else ""

    def test_a_configuration_comes_back_as_it_was_set(self):
        run("wg", "setconf", "wg0", self.file(self.FULL))
        def lines(text):
            return sorted(line for line in text.splitlines() if line)
        self.assertEqual(lines(run("wg", "showconf", "wg0")), lines(self.FULL))
        self.assertEqual(run("wg", "show", "interfaces"), "wg0\n")
        dump = run("wg", "show", "all", "dump").splitlines()
        self.assertEqual(dump[0].split("\t"), ["wg0", KEYS[0], public(KEYS[0]), "51820", "0x1234"])
        peer = {line.split("\t")[1]: line.split("\t") for line in dump[1:]}[public(KEYS[1])]
        self.assertEqual(peer[2:], [KEYS[2], "192.0.2.1:1234", "10.1.0.0/16,fd01::/64", "0", "0",
                                    "0", "25"])

    def test_addconf_adds_and_setconf_replaces(self):
        run("wg", "setconf", "wg0", self.file(self.FULL))
        other = public(run("wg", "genkey"))
        run("wg", "addconf", "wg0", self.file(f"[Peer]\nPublicKey = {other}\nAllowedIPs = 10.3.0.0/16\n"))
        self.assertEqual(set(self.show("peers").split()), {public(KEYS[1]), public(KEYS[2]), other})
        self.assertEqual(self.show("private-key"), KEYS[0])
        run("wg", "setconf", "wg0", self.file(f"[Peer]\nPublicKey = {other}\n"))
        self.assertEqual(self.show("peers"), other)
        self.assertEqual(self.show("allowed-ips"), f"{other}\t(none)")
        self.assertEqual(self.show("fwmark"), "off")

    def test_syncconf_changes_what_differs(self):
        run("wg", "setconf", "wg0", self.file(self.FULL))
        run("wg", "syncconf", "wg0", self.file(self.FULL.split("\n\n[Peer]")[0] + f"""

[Peer]
PublicKey = {public(KEYS[1])}
AllowedIPs = 10.1.0.0/17
"""))
        self.assertEqual(self.show("peers"), public(KEYS[1]))
        self.assertEqual(self.show("allowed-ips"), f"{public(KEYS[1])}\t10.1.0.0/17")
        # What the file does not name stays.
        self.assertEqual(self.show("preshared-keys"), f"{public(KEYS[1])}\t{KEYS[2]}")
        self.assertEqual(self.show("endpoints"), f"{public(KEYS[1])}\t192.0.2.1:1234")

    def test_an_allowed_ip_has_one_owner_and_can_be_taken_back(self):
        one, two = public(KEYS[1]), public(KEYS[2])
        run("wg", "set", "wg0", "peer", one, "allowed-ips", "10.0.0.0/8,fd00::/8")
        run("wg", "set", "wg0", "peer", two, "allowed-ips", "10.0.0.0/8")
        self.assertEqual(dict(line.split("\t") for line in self.show("allowed-ips").splitlines()),
                         {one: "fd00::/8", two: "10.0.0.0/8"})
        run("wg", "set", "wg0", "peer", two, "remove", "peer", one, "allowed-ips", "")
        self.assertEqual(self.show("allowed-ips"), f"{one}\t(none)")

    def test_the_own_key_is_no_peer(self):
        run("wg", "set", "wg0", "peer", public(KEYS[0]), "allowed-ips", "10.0.0.0/8")
        run("wg", "set", "wg0", "private-key", "/dev/stdin", stdin=KEYS[0])
        self.assertEqual(self.show("peers"), "")
        run("wg", "set", "wg0", "private-key", "/dev/null")
        self.assertEqual(self.show("private-key"), "(none)")

    def timed(self, *command, **options):
        begin = time.monotonic()
        out = run(*command, **options)
        return out, time.monotonic() - begin

    def check_large(self, text, what):
        path = self.file(text)
        _, set_s = self.timed("wg", "setconf", "wg0", path)
        shown, show_s = self.timed("wg", "show", "wg0", "dump")
        _, again_s = self.timed("wg", "syncconf", "wg0", path)
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            rss = [line.split()[1] for line in status if line.startswith("VmRSS")][0]
        print(f"{what}: set {set_s:.2f} s, shown {show_s:.2f} s, synced {again_s:.2f} s, "
              f"resident {int(rss) // 1024} MB")
        # Seconds, on a busy machine, too: what grows with the square takes minutes.
        self.assertLess(max(set_s, show_s, again_s), 20)
        if not SANITIZED:
            self.assertLess(int(rss) // 1024, MEMORY_MAX_MB)
        return shown

    def test_130560_allowed_ips_load_and_show(self):
        prefixes = [f"10.{i >> 8}.{i & 255}.0/24, fd00:{i:x}::/32" for i in range(65280)]
        shown = self.check_large(
            f"[Interface]\nPrivateKey = {KEYS[0]}\n[Peer]\nPublicKey = {public(KEYS[1])}\n" +
            "".join(f"AllowedIPs = {p}\n" for p in prefixes), "130,560 AllowedIPs")
        self.assertEqual(shown.count("/24") + shown.count("/32"), 130560)

    def test_10000_peers_load_and_show(self):
        # Any 32 bytes are a public key.
        import base64
        peers = [f"[Peer]\nPublicKey = {base64.b64encode(i.to_bytes(4, 'big') * 8).decode()}\n"
                 f"AllowedIPs = 10.{i >> 8}.{i & 255}.1/32, fd00::{i:x}/128\n"
                 f"Endpoint = 192.0.2.1:{i}\n" for i in range(1, 10001)]
        shown = self.check_large(f"[Interface]\nPrivateKey = {KEYS[0]}\n" + "".join(peers),
                                 "10,000 peers")
        self.assertEqual(len(shown.splitlines()), 10001)


class WgQuick(lab.PairTest):
    """wg-quick(8) at the one end, an exit to everywhere at the other."""

    def quick(self, verb, path):
        return run("env", f"WG_QUICK_USERSPACE_IMPLEMENTATION={PROGRAMS['im-tunnel']}",
                   "wg-quick", verb, path, namespace="a")

    def check(self, allowed_ips, destinations):
        b = lab.Tunnel("im-tunnel", "b", 2, self.log)
        self.tunnels = [b]
        b.start()
        for address in ("203.0.113.9/32", "2001:db8::9/128"):
            run("ip", "address", "add", address, "dev", "lo", namespace="b")
        private_key = run("wg", "genkey").strip()
        b.wg("peer", public(private_key), "allowed-ips", "10.9.0.1/32,fd09::1/128")
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "wga.conf")
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii") as out:
            out.write(f"""[Interface]
PrivateKey = {private_key}
Address = 10.9.0.1/24, fd09::1/64
MTU = 1400
PostUp = wg show %i

[Peer]
PublicKey = {b.public_key}
AllowedIPs = {allowed_ips}
Endpoint = {b.outer}:51820
""")
        rules = run("ip", "rule", namespace="a")
        self.addCleanup(run, "ip", "link", "del", "wga", namespace="a", check=False)
        self.quick("up", path)
        self.assertIn("mtu 1400", run("ip", "link", "show", "wga", namespace="a"))
        for destination in destinations:
            run("ping", "-c", "1", "-W", "5", destination, namespace="a")
        fwmark = run("wg", "show", "wga", "fwmark", namespace="a").strip()
        received = run("wg", "show", "wga", "transfer", namespace="a").split()[1]
        self.assertGreater(int(received), 0)
        saved = run("wg-quick", "strip", path, namespace="a")
        self.assertIn(b.public_key, saved)
        self.quick("down", path)
        wait_until("the process to end", lambda: not os.path.exists(socket_path("wga")))
        self.assertEqual(run("ip", "rule", namespace="a"), rules)
        return fwmark

    def test_up_and_down(self):
        self.assertEqual(self.check("10.9.0.0/24, fd09::/64, 203.0.113.0/24, 2001:db8::/64",
                                    ("10.9.0.2", "fd09::2", "203.0.113.9", "2001:db8::9")), "off")

    def test_up_and_down_with_default_routes(self):
        if not shutil.which("nft") and not shutil.which("iptables-restore"):
            self.skipTest("wg-quick needs nft for default routes")
        # By policy routing: the tunnel's own datagrams are marked.
        self.assertNotEqual(self.check("0.0.0.0/0, ::/0", ("10.9.0.2", "203.0.113.9",
                                                           "2001:db8::9", "fd09::2")), "off")


if __name__ == "__main__":
    lab.main(needs=("wg", "wg-quick", "ip", "ping"))
