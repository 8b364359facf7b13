"""im peer: a machine with a stock WireGuard joins the network, and wakes its hosts."""

import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import unittest

from cluster import ClusterTest, PEER, wait_until
from laptop import LAPTOP, MACHINE, Laptop, missing

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "peers.md"
LISTEN = "0.0.0.0:51820"
SPEC = f"""
network: {{cidr: 10.77.0.0/24, listen: "{LISTEN}"}}
defaults: {{idle: {{after: 10m, release_after: 10m}}}}
hosts:
  web: {{command: [{PEER}, serve, --echo, "7000", --udp, "7001"]}}
  db: {{command: [{PEER}, serve, --echo, "7000"], aliases: [store]}}
"""
# More than one window, and no multiple of a segment.
BULK = bytes(range(256)) * 20_000 + b"end"


class PeerTest(ClusterTest):
    def setUp(self):
        lacking = missing()
        if lacking:
            self.skipTest(f"{lacking} is not installed")

    def laptop_of(self, cluster):
        laptop = Laptop(cluster.dir / "laptop")
        self.addCleanup(laptop.close)
        return laptop

    def test_a_laptop_reaches_and_wakes_hosts_by_name_and_address(self):
        cluster = self.cluster(SPEC).up()
        laptop = self.laptop_of(cluster)
        config = laptop.dir / "im.conf"
        cluster.im("peer", "add", "laptop", "-o", str(config))
        self.assertEqual(stat.S_IMODE(config.stat().st_mode), 0o600)
        self.assertIn(f"Endpoint = {MACHINE}:51820\n", config.read_text())
        laptop.run("wg-quick", "up", str(config))

        # By name, cold; why says who did it.
        self.assertEqual(cluster.state("web"), "imaginary")
        self.assertEqual(laptop.talk("web", 7000), b"hello")
        self.assertEqual(cluster.state("web"), "running")
        self.assertRegex(cluster.im("why", "web").stdout, r"SYN from laptop:\d+ to :7000")
        # By address, and by the other names.
        address = cluster.ps()["db"]["address"]
        self.assertEqual(laptop.talk(address, 7000), b"hello")
        domain = f"{cluster.name}.im"
        for name in "store", f"db.{domain}", f"WEB.{domain}":
            self.assertEqual(laptop.talk(name, 7000), b"hello", name)
        self.assertEqual(laptop.run("getent", "hosts", "nobody", check=False).returncode, 2)

        # Whole windows in both directions, whose packets are larger between hosts; datagrams.
        self.assertEqual(laptop.talk("web", 7000, BULK), BULK)
        self.assertEqual(laptop.ask("web", 7001, b"u" * 1300), b"u" * 1300)
        laptop.run("ping", "-c", "1", "-W", "5", "web")
        laptop.run("ping", "-c", "1", "-W", "5", "10.77.0.1")
        # And what a host sends by itself.
        own = json.loads(cluster.im("peer", "list", "--json").stdout)["peers"][0]["address"]
        self.assertEqual(own, "10.77.0.254")
        for name in own, "laptop", f"laptop.{domain}":
            cluster.im("exec", "web", "--", "ping", "-c", "1", "-W", "5", name)

        # Paused: thawed. Released: started.
        cluster.im("suspend", "web")
        self.assertEqual(laptop.talk("web", 7000), b"hello")
        self.assertEqual(cluster.ps()["web"]["wake_kind"], "thaw")
        cluster.release("web")
        self.assertEqual(laptop.talk("web", 7000), b"hello")
        self.assertEqual(cluster.ps()["web"]["wake_kind"], "cold")

        # Another imd, which speaks to the laptop first: nothing waits for its old session.
        os.kill(cluster.imd_pid(), signal.SIGKILL)
        wait_until(lambda: cluster.im("ps", check=False).returncode == 3, "imd is dead")
        cluster.up()
        self.assertEqual(laptop.talk("web", 7000), b"hello")
        # The cluster brought up anew: the same configuration is good.
        cluster.im("down")
        cluster.up()
        self.assertEqual(cluster.state("db"), "imaginary")
        self.assertEqual(laptop.talk("db", 7000), b"hello")

        listed = cluster.im("peer", "list").stdout
        self.assertRegex(listed, rf"laptop +10\.77\.0\.254 .* ago +{re.escape(LAPTOP)}:\d+")
        self.assertIn("cut off", cluster.im("peer", "remove", "laptop").stdout)
        self.assertFalse(laptop.reaches("10.77.0.3", 7000, timeout_s=2))
        self.assertIn("no peers", cluster.im("peer", "list").stdout)

    def test_the_gateway_may_listen_at_one_address_and_peers_talk_with_each_other(self):
        cluster = self.cluster(SPEC.replace(LISTEN, f"{MACHINE}:4500"))
        laptop = self.laptop_of(cluster)  # has to be there: it gives this machine the address
        cluster.up()
        config = json.loads(cluster.im("peer", "add", "laptop", "--json", "--preshared",
                                       "--address", "10.77.0.100", "--dns", "none").stdout)
        self.assertEqual(config["endpoint"], f"{MACHINE}:4500")
        self.assertNotIn("DNS", config["config"])
        self.assertIn("PresharedKey", config["config"])
        path = laptop.dir / "im.conf"
        path.write_text(config["config"])
        laptop.run("wg-quick", "up", str(path))
        self.assertEqual(laptop.talk(cluster.ps()["web"]["address"], 7000), b"hello")
        self.assertTrue(json.loads(cluster.im("peer", "list", "--json").stdout)
                        ["peers"][0]["preshared_key"])

    def test_a_bad_request_changes_nothing_and_says_why(self):
        cluster = self.cluster(SPEC.replace("/24", "/29").replace(LISTEN, "127.0.0.1:51820")).up()
        taken = cluster.dir / "taken.conf"
        taken.write_text("mine")
        for arguments, message in (
                (("web",), "web is the name of a host"),
                (("Lap top",), "cannot be a name"),
                (("a", "--address", "10.78.0.1"), "no address for a machine in 10.77.0.0/29"),
                (("a", "--address", "10.77.0.1"), "no address for a machine"),
                (("a", "--address", "10.77.0.2"), "10.77.0.2 is taken by web"),
                (("a", "--address", "x"), '"x" is no IP address'),
                (("a", "--endpoint", "a b"), "expected HOST or HOST:PORT"),
                (("a", "--endpoint", "a:99999"), "expected HOST or HOST:PORT"),
                (("a", "--dns", "maybe"), "--dns"),
                (("a", "-o", str(taken)), "taken.conf: File exists"),
                (("a", "-o", "/nowhere/a.conf"), "No such file"),
                ((), "NAME")):
            result = cluster.im("peer", "add", *arguments, check=False)
            self.assertIn(result.returncode, (1, 2), arguments)
            self.assertIn(message, result.stderr, arguments)
        self.assertEqual(taken.read_text(), "mine")
        self.assertIn("no peers", cluster.im("peer", "list").stdout)
        result = cluster.im("peer", "remove", "nobody", check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn('there is no peer "nobody", nor any other', result.stderr)
        self.assertEqual(cluster.im("peer", check=False).returncode, 2)

        # Three addresses are left of the network.
        for name in "a", "b", "c":
            added = cluster.im("peer", "add", name)
            self.assertIn("works on this machine alone", added.stderr)
        failed = cluster.im("peer", "add", "d", check=False)
        self.assertIn("no address left", failed.stderr)
        failed = cluster.im("peer", "add", "a", check=False)
        self.assertIn("there is a peer a already", failed.stderr)
        cluster.im("peer", "remove", "b")
        cluster.im("peer", "add", "d", "--endpoint", "vpn.example.org")

        # A host that is called like a peer: the peer is kept, and waits.
        cluster.im("down")
        cluster.spec.write_text(cluster.spec.read_text().replace("  db:", "  d:"))
        cluster.up()
        peers = {p["name"]: p for p in json.loads(cluster.im("peer", "list", "--json").stdout)["peers"]}
        self.assertEqual(sorted(peers), ["a", "c", "d"])
        self.assertEqual(peers["d"]["problem"], "d is the name of a host")
        self.assertEqual(peers["a"]["problem"], "")

    def test_a_port_that_is_taken_is_said_by_its_field(self):
        first = self.cluster(SPEC).up()
        second = self.cluster(SPEC, name="u")
        failed = second.im("up", "-d", str(second.spec), check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn(f"network.listen: UDP port {LISTEN}", failed.stderr)
        self.assertEqual(first.state("web"), "imaginary")

    def test_the_commands_of_the_document_do_what_it_says(self):
        spec = SPEC.replace("  web:", "  echo:") + "  web: {command: [python3, -m, http.server, '80']}\n"
        cluster = self.cluster(spec).up()
        laptop = self.laptop_of(cluster)
        blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 4)
        for line in "".join(blocks).splitlines():
            if line.startswith("im "):
                said = cluster.im(*line.split()[1:], cwd=laptop.dir).stdout
            else:
                said = laptop.run(*line.split(), cwd=laptop.dir).stdout.decode()
            if line.startswith("curl"):
                self.assertIn("Directory listing", said)
                self.assertRegex(cluster.im("why", "web").stdout, r"SYN from laptop:\d+ to :80")
        self.assertIn("phone is cut off", said)

    def test_a_phone_reads_the_qr_code(self):
        cluster = self.cluster(SPEC.replace(LISTEN, "127.0.0.1:51820")).up()
        cluster.env.update(LC_ALL="C.UTF-8")
        shown = cluster.im("peer", "add", "phone", "--qr", "--endpoint", "vpn.example.org").stdout
        if subprocess.run([DEBIAN_PYTHON, "-c", "import zbar"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("python3-zbar is not installed")
        text = decode(shown)
        self.assertIn("Endpoint = vpn.example.org:51820\n", text)
        self.assertRegex(text, r"PrivateKey = [A-Za-z0-9+/]{43}=\n")
        self.assertNotIn("#", text)
        # The same without Unicode.
        cluster.env.update(LC_ALL="C")
        shown = cluster.im("peer", "add", "other", "--qr").stdout
        self.assertIn("AllowedIPs = 10.77.0.0/24\n", decode(shown))


# Reads WIDTH×HEIGHT grey pixels from stdin. Debian's Python has zbar; the one that runs this may not.
DEBIAN_PYTHON = "/usr/bin/python3"
SCANNER = """
import sys, zbar
image = zbar.Image(int(sys.argv[1]), int(sys.argv[2]), "Y800", sys.stdin.buffer.read())
if zbar.ImageScanner().scan(image) == 1: print(next(iter(image)).data, end="")
"""


def decode(shown):
    """The text of a QR code, out of what a terminal shows."""
    rows = []
    for line in shown.splitlines():
        if "#" in line:
            rows.append([c == "#" for c in line[::2]])
        else:
            rows.append([c in "█▀" for c in line])
            rows.append([c in "█▄" for c in line])
    scale = 4
    pixels = b"".join(bytes(255 if light else 0 for light in row for _ in range(scale)) * scale
                      for row in rows)
    size = str(len(rows[0]) * scale), str(len(rows) * scale)
    text = subprocess.run([DEBIAN_PYTHON, "-c", SCANNER, *size], input=pixels, stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    if not text:
        raise AssertionError(f"no QR code:\n{shown}")
    return text


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
