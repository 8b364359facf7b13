"""network.ipv6: hosts have an IPv6 address beside their IPv4 one, and all is as over IPv4."""

import ipaddress
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest

from cluster import BIN, DEADLINE_S, ClusterTest, find_criu, wait_until
from counting import TALKER, counter
from laptop import Laptop, missing

PREFIX = "fd12:3456:789a::"

# Says to whoever connects, or sends a datagram, both ends' addresses as it sees them.
WITNESS = """\
import selectors, socket
tcp = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", 7001))
selector = selectors.DefaultSelector()
selector.register(tcp, selectors.EVENT_READ)
selector.register(udp, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is tcp:
            caller, _ = tcp.accept()
            caller.sendall(f"{caller.getpeername()[0]} {caller.getsockname()[0]}".encode())
            caller.close()
        else:
            data, caller = udp.recvfrom(65536)
            udp.sendto(caller[0].encode() + b" " + data, caller)
"""

# How a call over IPv6 looks from there, and from here.
CALL = """\
import socket, sys
s = socket.socket(socket.AF_INET6)
s.settimeout(30)
s.connect((sys.argv[1], int(sys.argv[2])))
print(s.getsockname()[0], s.getpeername()[0], s.makefile().read())
"""
ASK = """\
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(30)
s.connect((sys.argv[1], 7001))
s.send(b"x" * int(sys.argv[2]))
answer = s.recv(65536).decode()
print(s.getsockname()[0], answer.split()[0], len(answer.split()[1]))
"""


def v6(v4, prefix=PREFIX):
    """The host's other address, as everybody writes it."""
    low = int(ipaddress.IPv4Address(v4))
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | low))


class Ipv6Test(ClusterTest):

    def make(self, hosts, network=f"ipv6: '{PREFIX}/64'", defaults="idle: {after: 10m}"):
        c = self.cluster("hosts: {}\n")
        for name, text in ("witness", WITNESS), ("counter", counter("::")):
            (c.dir / f"{name}.py").write_text(text)
        os.chmod(c.dir, 0o755)
        c.spec.write_text(f"name: {c.name}\nnetwork: {{cidr: 10.77.0.0/24, {network}}}\n"
                          f"defaults: {{{defaults}}}\nhosts:\n" + hosts.replace("@DIR@", str(c.dir)))
        return c

    @staticmethod
    def witness(name, attach):
        return (f"  {name}: {{attach: {attach}, command: [{sys.executable}, @DIR@/witness.py]}}\n")

    @staticmethod
    def inside(c, host, *command, check=True):
        """What a program in the host says."""
        return c.im("exec", host, "--", *command, check=check)

    def call(self, c, host, to, port=7000):
        return self.inside(c, host, sys.executable, "-c", CALL, to, str(port)).stdout.split()

    def test_hosts_of_both_attachments_call_each_other(self):
        c = self.make(self.witness("a", "tun") + self.witness("b", "tun") +
                      self.witness("c", "netstack") + self.witness("d", "netstack")).up()
        address = {name: row["address"] for name, row in c.ps().items()}
        for name, row in c.ps().items():
            self.assertEqual(row["address6"], v6(row["address"]))
        for caller, host in "ab", "ac", "cd", "da", "cb":
            here, there = v6(address[caller]), v6(address[host])
            cold = c.state(host) == "imaginary"
            # By address, and by name; both ends see the right ones.
            self.assertEqual(self.call(c, caller, there), [here, there, here, there], caller + host)
            if cold:
                self.assertRegex(c.im("why", host).stdout, rf"SYN from {caller}:\d+ to :7000")
            self.assertEqual(self.call(c, caller, host), [here, there, here, there], caller + host)
            for size in 1, 1200, 5000:
                said = self.inside(c, caller, sys.executable, "-c", ASK, there, str(size)).stdout
                self.assertEqual(said.split(), [here, here, str(size)], caller + host)

    def test_a_datagram_a_ping_and_a_syn_wake_a_host_and_thaw_it(self):
        c = self.make(self.witness("a", "tun") + self.witness("b", "tun") +
                      self.witness("c", "netstack")).up()
        own = {name: v6(row["address"]) for name, row in c.ps().items()}
        ask = (sys.executable, "-c", ASK)
        for host in "b", "c":
            self.inside(c, "a", *ask, own[host], "1")
            self.assertRegex(c.im("why", host).stdout, r"datagram from a:\d+ to :7001")
            c.im("suspend", host)
            self.call(c, "a", own[host])
            self.assertEqual(c.ps()[host]["wake_kind"], "thaw")
            self.assertRegex(c.im("why", host).stdout, r"SYN from a:\d+ to :7000")
            c.im("suspend", host)
            self.inside(c, "a", *ask, own[host], "1")
            self.assertEqual(c.ps()[host]["wake_kind"], "thaw")
            c.release(host)
            self.inside(c, "a", "ping", "-6", "-c", "1", "-W", "30", own[host])
            self.assertRegex(c.im("why", host).stdout, "ping from a")
            self.assertEqual(c.ps()[host]["wake_kind"], "cold")

    def test_what_nobody_takes_is_refused_at_once(self):
        c = self.make(self.witness("a", "tun") + self.witness("b", "tun") +
                      f"  broken: {{command: [/nowhere]}}\n", defaults="start_timeout: 2s").up()
        own = {name: v6(row["address"]) for name, row in c.ps().items()}
        for to, port, error in ((own["b"], 7009, "ConnectionRefusedError"),
                                (own["broken"], 7000, "ConnectionRefusedError"),
                                (v6("10.77.0.200"), 7000, "ConnectionRefusedError"),
                                (v6("10.99.0.2"), 7000, "ConnectionRefusedError"),
                                ("fd99::1", 7000, "Network is unreachable")):
            refused = self.inside(c, "a", sys.executable, "-c", CALL, to, str(port), check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn(error, refused.stderr, to)

    def test_who_listens_by_one_family_alone_refuses_the_other_soon(self):
        # Listens after a while, so that its callers are there first. `second` adds IPv6 a little later.
        script = ("import socket, sys, time; time.sleep(1); four = socket.create_server(('0.0.0.0', 7000)); "
                  "six = socket.socket(socket.AF_INET6); six.setsockopt(41, socket.IPV6_V6ONLY, 1); "
                  "six.bind(('::', 7000)); sys.argv[1] == 'both' and six.listen(); "
                  "listen = [four, six] if sys.argv[1] == 'both' else [four]\n"
                  "import selectors; s = selectors.DefaultSelector(); "
                  "[s.register(l, 1) for l in listen]\n"
                  "while True:\n"
                  "  for key, _ in s.select():\n"
                  "    c, _ = key.fileobj.accept(); c.sendall(b'hello'); c.close()\n")
        c = self.make(self.witness("a", "tun") +
                      "".join(f"  {attach}-{kind}: {{attach: {attach}, command: "
                              f"[{sys.executable}, @DIR@/late.py, {kind}]}}\n"
                              for attach in ("tun", "netstack") for kind in ("one", "both")),
                      defaults="start_timeout: 50s, idle: {after: 10m}")
        (c.dir / "late.py").write_text(script)
        c.up()
        # As a program does that has asked for both, and prefers IPv6.
        call = ("import socket, sys, time; begin = time.monotonic()\n"
                "for family in socket.AF_INET6, socket.AF_INET:\n"
                "  try:\n"
                "    s = socket.socket(family); s.connect((sys.argv[1], 7000)); break\n"
                "  except ConnectionRefusedError: pass\n"
                "print(family.name, s.makefile().read(), time.monotonic() - begin)")
        for attach in "tun", "netstack":
            for kind, family in ("one", "AF_INET"), ("both", "AF_INET6"):
                said = self.inside(c, "a", sys.executable, "-c", call, f"{attach}-{kind}").stdout.split()
                self.assertEqual(said[:2], [family, "hello"], (attach, kind))
                # Not only when the program is not young any more.
                self.assertLess(float(said[2]), 20, (attach, kind))

    def test_a_published_port_reaches_a_program_by_either_family(self):
        # Listens after a while, so that its callers are there first.
        script = ("import socket, sys, time; time.sleep(1)\n"
                  "s = socket.socket(socket.AF_INET if sys.argv[1] == 'four' else socket.AF_INET6)\n"
                  "sys.argv[1] == 'six' and s.setsockopt(41, socket.IPV6_V6ONLY, 1)\n"
                  "s.bind(('', 7000)); s.listen()\n"
                  "while True: c, _ = s.accept(); c.sendall(c.recv(100)); c.close()\n")
        ports = {f"{attach}-{kind}": 18100 + i for i, (attach, kind) in enumerate(
            itertools.product(("tun", "netstack"), ("four", "six", "both")))}
        ports |= {"deaf": 18110, "broken": 18111}

        def host(name, command, rest=""):
            return (f"  {name}: {{command: {command}, {rest}"
                    f"ports: ['0.0.0.0:{ports[name]}:7000', '[::]:{ports[name]}:7000']}}\n")
        c = self.make("".join(host(name, f"[{sys.executable}, @DIR@/late.py, {name.split('-')[1]}]",
                                   f"attach: {name.split('-')[0]}, ") for name in ports if "-" in name) +
                      host("deaf", "[sleep, infinity]", "start_timeout: 1s, ") + host("broken", "[/nowhere]"),
                      defaults="start_timeout: 50s, idle: {after: 10m}")
        (c.dir / "late.py").write_text(script)
        c.up()

        def ask(address, port):
            with socket.create_connection((address, port), timeout=DEADLINE_S) as s:
                s.sendall(b"hello")
                return s.recv(100)
        for name, port in ports.items():
            if "-" not in name:
                # Refused, and not started anew for the other address.
                self.assertRaises(ConnectionResetError, ask, "::1", port)
                self.assertEqual([e["to"] for e in c.events() if e.get("host") == name].count("starting"), 1)
                continue
            begin = time.monotonic()
            self.assertEqual(ask("::1", port), b"hello", name)
            # Not only when the program is not young any more.
            self.assertLess(time.monotonic() - begin, 20, name)
            self.assertEqual(ask("127.0.0.1", port), b"hello", name)
            c.im("suspend", name)
            self.assertEqual(ask("::1", port), b"hello", name)
            self.assertRegex(c.im("why", name).stdout, rf"published port \[::\]:{port} from \[::1\]:\d+")

    def test_known_peers_send_directly_and_idle_hosts_are_paused(self):
        c = self.make(self.witness("a", "tun") + self.witness("b", "tun"),
                      defaults="idle: {after: 300ms}").up()
        own = v6(c.ps()["b"]["address"])
        self.call(c, "a", own)

        def directly():
            before = c.gateway_bytes()
            self.inside(c, "a", sys.executable, "-c", ASK, own, "30000")
            return c.gateway_bytes() == before
        wait_until(directly, "a and b are introduced")
        for host in "a", "b":
            c.wait_state(host, "paused")
        self.call(c, "a", own)
        self.assertEqual(c.ps()["b"]["wake_kind"], "thaw")

    def test_names_have_both_addresses(self):
        c = self.make(self.witness("a", "tun") + self.witness("b", "netstack") +
                      f"  many: {{replicas: 2, command: [{sys.executable}, @DIR@/witness.py]}}\n").up()
        rows = c.ps()
        for name in "b", "many-1", "many-2":
            own = rows[name]["address6"]
            self.assertEqual(self.inside(c, "a", "getent", "ahostsv6", name).stdout.split()[0], own)
            self.assertEqual(self.inside(c, "a", "getent", "ahostsv4", name).stdout.split()[0],
                             rows[name]["address"])
            self.assertEqual(self.inside(c, "a", "getent", "hosts", own).stdout.split()[:2],
                             [own, f"{name}.{c.name}.im"])
        # A service is its first replica; its own name is in /etc/hosts.
        self.assertEqual(self.inside(c, "a", "getent", "ahostsv6", "many").stdout.split()[0],
                         rows["many-1"]["address6"])
        hosts = self.inside(c, "a", "cat", "/etc/hosts").stdout
        self.assertIn(f"{rows['a']['address6']} a.{c.name}.im a\n", hosts)
        self.assertIn(f"{rows['a']['address']} a.{c.name}.im a\n", hosts)
        # From a guest as well, which has both itself.
        call = c.im("run", "--name", "guest", "--", sys.executable, "-c", CALL, "b", "7000").stdout.split()
        self.assertEqual(call[1::2], [rows["b"]["address6"]] * 2)
        self.assertTrue(call[0].startswith("fd12:3456:789a:"), call)
        self.assertEqual(call[0], call[2])

    def test_unmodified_programs(self):
        lacking = [p for p in ("curl", "redis-server", "redis-cli") if shutil.which(p) is None]
        if lacking:
            self.skipTest(f"{lacking} are not installed")
        python = f"[{sys.executable}, -m, http.server, --bind, '::', '8000']"
        redis = "[redis-server, --save, '', --protected-mode, 'no', --bind, '::']"
        c = self.make(f"  web: {{attach: tun, working_dir: @DIR@, command: {python}}}\n"
                      f"  slim: {{attach: netstack, working_dir: @DIR@, command: {python}}}\n"
                      f"  db: {{attach: tun, command: {redis}}}\n"
                      f"  cache: {{attach: netstack, command: {redis}}}\n", network="ipv6: true").up()
        rows = c.ps()
        self.assertTrue(rows["web"]["address6"].startswith("fd"))
        for caller, host in ("slim", "web"), ("web", "slim"), ("web", "web"):
            for url in f"http://{host}:8000/", f"http://[{rows[host]['address6']}]:8000/":
                said = self.inside(c, caller, "curl", "-6", "-sS", "--max-time", "50", url).stdout
                self.assertIn("witness.py", said, (caller, url))
            said = self.inside(c, caller, "curl", "-4", "-sS", f"http://{host}:8000/").stdout
            self.assertIn("witness.py", said)
        for caller, host in ("web", "db"), ("slim", "db"), ("web", "cache"), ("slim", "cache"):
            said = self.inside(c, caller, "redis-cli", "-h", rows[host]["address6"], "ping").stdout
            self.assertEqual(said, "PONG\n", (caller, host))

    def test_large_transfers(self):
        size = 20_000_000
        c = self.make("  a: {attach: tun, command: [sleep, infinity]}\n"
                      "  c: {attach: netstack, command: [sleep, infinity]}\n" +
                      "".join(f"  {name}: {{attach: {attach}, working_dir: @DIR@, command: [{sys.executable}, "
                              "-m, http.server, --bind, '::', '8000']}\n"
                              for name, attach in (("web", "tun"), ("slim", "netstack")))).up()
        (c.dir / "big").write_bytes(os.urandom(1000) * (size // 1000))
        for caller in "a", "c":
            for host in "web", "slim":
                script = (f"import urllib.request as u; d = u.urlopen('http://[{c.ps()[host]['address6']}]"
                          ":8000/big').read(); import hashlib; print(hashlib.sha256(d).hexdigest())")
                said = self.inside(c, caller, sys.executable, "-c", script).stdout.split()
                known = subprocess.run(["sha256sum", str(c.dir / "big")], stdout=subprocess.PIPE, text=True)
                self.assertEqual(said[0], known.stdout.split()[0], (caller, host))

    def test_off_is_as_it_was_and_nothing_is_routed_outside(self):
        before = subprocess.run(["ip", "-6", "route", "show", "table", "all"], stdout=subprocess.PIPE).stdout
        c = self.make(self.witness("a", "tun") + self.witness("b", "tun"), network="ipv6: false").up()
        self.assertNotIn("address6", c.ps()["a"])
        self.assertEqual(self.inside(c, "a", "ip", "-6", "address", "show", "dev", "im0").stdout, "")
        found = self.inside(c, "a", "getent", "ahostsv6", "b", check=False).stdout.split()
        self.assertTrue(not found or found[0].startswith("::ffff:"), found)
        c.im("down")
        c = self.make(self.witness("a", "tun") + self.witness("b", "tun"), defaults="idle: {after: 1s}").up()
        self.call(c, "a", c.ps()["b"]["address6"])
        here = self.inside(c, "a", "ip", "-6", "address", "show", "dev", "im0").stdout
        self.assertIn(f"inet6 {c.ps()['a']['address6']}/96 scope global", here)
        self.assertNotIn("fe80", here)
        after = subprocess.run(["ip", "-6", "route", "show", "table", "all"], stdout=subprocess.PIPE).stdout
        self.assertEqual(after, before)

    def test_a_laptop_with_a_stock_wireguard(self):
        if lacking := missing():
            self.skipTest(f"{lacking} is not installed")
        c = self.make(self.witness("a", "tun"),
                      network=f"ipv6: '{PREFIX}/64', listen: '0.0.0.0:51820'").up()
        laptop = Laptop(c.dir / "laptop")
        self.addCleanup(laptop.close)
        config = laptop.dir / "im.conf"
        c.im("peer", "add", "laptop", "-o", str(config))
        own = v6("10.77.0.254")
        self.assertIn(f"Address = 10.77.0.254/32, {own}/128\n", config.read_text())
        self.assertIn(f"AllowedIPs = 10.77.0.0/24, {PREFIX}/96\n", config.read_text())
        laptop.run("wg-quick", "up", str(config))
        there = c.ps()["a"]["address6"]
        for to in there, "a":
            said = laptop.run("python3", "-c", CALL, to, "7000").stdout.decode().split()
            self.assertEqual(said, [own, there, own, there])
        self.assertRegex(c.im("why", "a").stdout, r"SYN from laptop:\d+ to :7000")
        laptop.run("ping", "-6", "-c", "1", "-W", "5", v6("10.77.0.1"))
        self.inside(c, "a", "ping", "-6", "-c", "1", "-W", "5", own)
        listed = json.loads(c.im("peer", "list", "--json").stdout)["peers"][0]
        self.assertEqual(listed["address6"], own)

    def test_a_compose_file(self):
        c = self.cluster("")
        file = c.dir / "docker-compose.yml"
        file.write_text(f"""name: {c.name}
services:
  web: {{command: [{sys.executable}, {c.dir}/witness.py], networks: [front]}}
networks:
  front:
    enable_ipv6: true
    ipam: {{config: [{{subnet: 172.30.0.0/24}}, {{subnet: "fd77:1::/64"}}]}}
""")
        (c.dir / "witness.py").write_text(WITNESS)
        written = c.im("convert", str(file))
        self.assertIn("ipv6: fd77:1::/96\n", written.stdout)
        self.assertEqual(written.stderr, "")
        c.im("up", "-d", str(file))
        there = v6("172.30.0.2", "fd77:1::")
        said = c.im("run", "--", sys.executable, "-c", CALL, "web", "7000").stdout.split()
        self.assertEqual(said[1::2], [there, there])

    @unittest.skipUnless(find_criu(), "there is no CRIU (./setup --tests builds one)")
    def test_connections_over_ipv6_survive_the_disk(self):
        c = self.make(f"  count: {{command: [{sys.executable}, @DIR@/counter.py]}}\n",
                      defaults="on_release: checkpoint, start_timeout: 60s, "
                               "idle: {after: 200ms, release_after: 200ms}")
        c.env["IM_CRIU"] = find_criu()
        c.up()
        talker = subprocess.Popen(
            [str(BIN / "im"), "run", "--", sys.executable, "-c", TALKER, c.ps()["count"]["address6"]],
            env=c.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (talker.stdin.close(), talker.wait(DEADLINE_S), talker.stdout.close()))
        for n in 1, 2, 3:
            talker.stdin.write(b"line\n")
            talker.stdin.flush()
            self.assertEqual(talker.stdout.readline(), b"%d line\n" % n)
            c.wait_state("count", "checkpointed")
            # Keepalives of the talker, each second, are answered without waking it.
            answers = self.keepalives(c)
            wait_until(lambda: self.keepalives(c) > answers, "a keepalive is answered")
            self.assertEqual(c.state("count"), "checkpointed")
        self.assertEqual(c.wakes("count").count("restore"), 2)

    @staticmethod
    def keepalives(c):
        lines = c.im("metrics").stdout.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("im_keepalives_answered"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
