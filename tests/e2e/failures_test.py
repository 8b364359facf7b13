"""What goes wrong is said, and the caller is not left waiting."""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

from cluster import BIN, DEADLINE_S, PEER, SLOW_FACTOR, TWO_HOSTS, Cluster, ClusterTest, wait_until

START_TIMEOUT_S = 2
BAD = f"""
network: {{cidr: 10.77.0.0/24}}
defaults:
  idle: {{after: 10m, release_after: 10m}}
  start_timeout: {START_TIMEOUT_S}s
hosts:
  exits:   {{command: [sh, -c, 'exit 7']}}
  missing: {{command: [/no/such/program]}}
  deaf:    {{command: [{PEER}, serve, --echo, "7999"]}}
  good:    {{command: [{PEER}, serve, --echo, "7000"]}}
"""


class Refusals(ClusterTest):
    def refused(self, c, drive, host, grace_s):
        """Within the configured time, and the programs' own."""
        answer = drive(f"connect 1 {host} 7000")
        self.assertFalse(answer["ok"], answer)
        self.assertEqual(answer["error"], "ECONNREFUSED")
        self.assertLess(answer["us"], (START_TIMEOUT_S + grace_s * SLOW_FACTOR) * 1e6)

    def test_a_program_that_exits_at_once(self):
        c = self.cluster(BAD).up()
        self.refused(c, c.drive(), "exits", 0.5)
        # The caller hears of it first, by the packet itself.
        wait_until(lambda: "7" in c.ps()["exits"]["last_error"], "the exit code is known")
        self.assertIn(c.ps()["exits"]["last_error"], c.im("why", "exits").stdout)

    def test_no_refusal_is_lost_while_programs_exit(self):
        hosts = [f"exits{i}" for i in range(40)]
        c = self.cluster("network: {cidr: 10.77.0.0/24}\nhosts:\n" + "".join(
            f"  {host}: {{command: [sh, -c, 'exit 7']}}\n" for host in hosts)).up()
        drive = c.drive()
        for host in hosts:
            answer = drive(f"connect 1 {host} 7000")
            self.assertEqual(answer.get("error"), "ECONNREFUSED", host)
        # A caller that is not answered repeats its SYN, which starts the host again.
        self.assertEqual({h: p["starts"] for h, p in c.ps().items() if h in hosts},
                         {host: 1 for host in hosts})

    def test_a_command_that_does_not_exist(self):
        c = self.cluster(BAD).up()
        self.refused(c, c.drive(), "missing", 0.5)
        events = wait_until(
            lambda: (t := c.im("events").stdout) and "start failed" in t and t, "the end is known")
        self.assertNotRegex(events, "missing .*running")
        for text in (c.im("why", "missing").stdout, c.im("events").stdout):
            self.assertIn("/no/such/program", text)
            self.assertIn("No such file", text)

    def test_a_port_that_never_opens(self):
        c = self.cluster(BAD).up()
        drive = c.drive()
        self.refused(c, drive, "deaf", 1.5)
        self.assertTrue(drive("connect 1 good 7000")["ok"])

    def test_restarts_back_off(self):
        c = self.cluster(BAD).up()
        drive = c.drive()
        end = time.monotonic() + 6
        while time.monotonic() < end:
            self.refused(c, drive, "exits", 2)
        starts = int(c.ps()["exits"]["starts"])
        self.assertGreaterEqual(starts, 2)
        self.assertLess(starts, 30)

    def test_a_provider_that_fails(self):
        c = self.cluster(BAD)
        c.env["IM_AGENT"] = "/no/such/agent"
        c.up()
        result = c.im("wake", "good", check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("/no/such/agent", result.stderr + c.im("why", "good").stdout)


class Memory(ClusterTest):
    SPEC = f"""
network: {{cidr: 10.77.0.0/24}}
limits: {{min_free_memory: %s}}
defaults: {{start_timeout: {START_TIMEOUT_S}s}}
hosts:
  good: {{command: [{PEER}, serve, --echo, "7000"]}}
"""

    def test_a_host_without_memory_waits_and_is_refused(self):
        c = self.cluster(self.SPEC % "100000g").up()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            wake = pool.submit(c.im, "wake", "good", check=False)
            wait_until(lambda: "needs 16 MiB of memory" in c.im("why", "good").stdout,
                       "im why says what it waits for")
            result = wake.result()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(f"no memory within {START_TIMEOUT_S}s: needs 16 MiB", result.stderr)
        self.assertIn("waits: needs 16 MiB of memory", c.im("events").stdout)
        answer = c.drive()("connect 1 good 7000")
        self.assertEqual(answer.get("error"), "ECONNREFUSED", answer)
        self.assertEqual(int(c.ps()["good"]["starts"]), 0)

    def test_where_there_is_memory_nobody_waits(self):
        c = self.cluster(self.SPEC % "0").up()
        self.assertTrue(c.drive()("connect 1 good 7000")["ok"])
        self.assertNotIn("waits:", c.im("events").stdout)


class Restart(ClusterTest):
    def test_imd_killed_and_started_again(self):
        c = self.cluster(TWO_HOSTS).up()
        drive = c.drive()
        self.assertTrue(drive("connect 1 a 7000")["ok"])
        self.assertTrue(drive("ping 1 1000000")["ok"])
        before = c.ps()["a"]
        os.kill(c.imd_pid(), signal.SIGKILL)
        self.assertTrue(drive("ping 1 1000000")["ok"], "they talk without imd")
        c.up()
        after = wait_until(lambda: c.ps()["a"]["state"] == "running" and c.ps()["a"], "a is taken back")
        self.assertEqual(after["agent_pid"], before["agent_pid"])
        self.assertEqual(after["incarnation"], before["incarnation"])
        self.assertTrue(drive("ping 1 1000000")["ok"])
        self.assertTrue(drive("connect 2 b 7000")["ok"], "unknown peers are found again")
        c.release("a")
        self.assertTrue(drive("connect 3 a 7000")["ok"])

    def test_names_that_imd_alone_knows_fail_soon_without_it(self):
        # Looks for a guest, all the time; each line is what came, and after how long.
        script = ("import socket, time\n"
                  "known = {socket.EAI_NONAME: 'nobody', socket.EAI_AGAIN: 'again'}\n"
                  "while True:\n"
                  "  begin = time.monotonic()\n"
                  "  try: said = socket.getaddrinfo('driver', 1)[0][4][0]\n"
                  "  except socket.gaierror as error: said = known.get(error.errno, error.errno)\n"
                  "  with open('said', 'a') as file: print(said, time.monotonic() - begin, file=file)\n")
        for attach in "tun", "netstack":
            with self.subTest(attach):
                self.look_for_a_guest_without_imd(attach, script)

    def look_for_a_guest_without_imd(self, attach, script):
        c = self.cluster(f"hosts: {{a: {{command: [{sys.executable}, look.py], attach: {attach}}}}}\n", attach)
        (c.dir / "look.py").write_text(script)
        (c.dir / "said").touch()
        lines = lambda: [line.split() for line in (c.dir / "said").read_text().splitlines(True) if line[-1] == "\n"]

        def looks(said):
            """How long they took that came to this, from now on: three of them."""
            begin = len(lines())
            return wait_until(lambda: (found := [float(time) for what, time in lines()[begin:] if what == said])[2:]
                              and found[:3], f"{attach}: {said}")
        c.up()
        c.im("wake", "a")
        self.assertLess(min(looks("nobody")), 0.5 * SLOW_FACTOR)
        os.kill(c.imd_pid(), signal.SIGKILL)
        # A library asks twice, with the cluster's domain and without it, and repeats each.
        failed = looks("again")
        self.assertLess(max(failed), 3 * SLOW_FACTOR)
        self.assertLess(min(failed), 1 * SLOW_FACTOR)
        c.up()
        self.assertLess(min(looks("nobody")), 0.5 * SLOW_FACTOR)
        c.drive("driver")
        address = wait_until(lambda: c.ps().get("driver"), "the guest is there")["address"]
        self.assertLess(min(looks(address)), 0.5 * SLOW_FACTOR)


class Clusters(ClusterTest):
    def spec(self, cidr="10.77.0.0/24"):
        return f"""
network: {{cidr: {cidr}}}
hosts:
  a: {{command: [{PEER}, serve, --echo, "7000"], idle: {{after: 10m}}}}
"""

    def test_two_clusters_at_once(self):
        one, two = self.cluster(self.spec(), "one").up(), self.cluster(self.spec(), "two").up()
        for c in (one, two):
            self.assertTrue(c.drive()("connect 1 a 7000")["ok"])
        self.assertNotEqual(one.ps()["a"]["agent_pid"], two.ps()["a"]["agent_pid"])
        one.close()
        self.assertEqual(two.state("a"), "running")

    def test_a_second_up_is_refused(self):
        c = self.cluster(self.spec()).up()
        result = c.im("up", "-d", str(c.spec), check=False)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn(str(c.imd_pid()), result.stderr)

    def test_ctrl_c_ends_everything(self):
        c = self.cluster(self.spec()).up_in_front()
        self.assertTrue(c.drive()("connect 1 a 7000")["ok"])
        wait_until(lambda: any("SYN from" in line for line in c.front_lines), "the event is shown")
        pid = int(c.ps()["a"]["agent_pid"])
        c.drivers[0].close()
        c.front.send_signal(signal.SIGINT)
        self.assertEqual(c.front.wait(DEADLINE_S), 0, "\n".join(c.front_lines))
        self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_the_machines_own_network_is_not_touched(self):
        def network():
            return [subprocess.run(["ip", *args], stdout=subprocess.PIPE, text=True).stdout
                    for args in (["-o", "link"], ["-o", "addr"], ["route", "show", "table", "all"])]

        before = network()
        c = self.cluster(self.spec()).up()
        self.assertTrue(c.drive()("connect 1 a 7000")["ok"])
        self.assertEqual(network(), before)


class BadSpec(ClusterTest):
    def test_all_errors_at_once_and_nothing_started(self):
        c = Cluster("""network: {cidr: 10.77.0.0/24}
hosts:
  a: {comand: [x]}
  b: {command: []}
  c: {command: [x], idle: {after: 3parsecs}}
  d: {command: [x], address: 192.0.2.1}
""")
        self.addCleanup(c.close)
        result = c.im("up", "-d", str(c.spec), check=False)
        self.assertEqual(result.returncode, 2, result.stderr)
        for line, word in ((4, "command"), (5, "command"), (6, "parsecs"), (7, "192.0.2.1")):
            self.assertRegex(result.stderr, rf"cluster.yaml:{line}:\d+: .*{word}")
        self.assertFalse((c.state_dir / "api.sock").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
