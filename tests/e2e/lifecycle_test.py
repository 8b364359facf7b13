"""Hosts start on the first packet, answer, pause, and are released."""

import json
import os
import signal
import subprocess
import sys
import threading
import unittest

from cluster import LONG, PEER, SLOW_FACTOR, ClusterTest, wait_until

SERVER = f"""
network: {{cidr: 10.77.0.0/24, domain: t.im}}
defaults:
  idle: {{after: 10m, release_after: 10m}}
hosts:
  server:
    command: [{PEER}, serve, --echo, "7000", --sink, "7001", --udp, "7002"]
  other:
    command: [{PEER}, serve, --echo, "7000", --udp, "7002"]
"""


def quick_idle(spec, after="300ms", release_after="10m"):
    return spec.replace("idle: {after: 10m, release_after: 10m}",
                        f"idle: {{after: {after}, release_after: {release_after}}}")


class FirstPacket(ClusterTest):
    def test_names_resolve_with_nothing_running(self):
        c = self.cluster(SERVER).up()
        drive = c.drive()
        addresses = c.ps()
        for name in ("server", "other", "server.t.im"):
            answer = drive(f"resolve {name}")
            self.assertTrue(answer["ok"], answer)
            self.assertEqual(answer["address"], addresses[name.split(".")[0]]["address"])
        self.assertFalse(drive("resolve nobody")["ok"])
        self.assertEqual(c.state("server"), "imaginary")

    def test_ping_wakes(self):
        c = self.cluster(SERVER).up()
        result = c.im("run", "--", "ping", "-c", "1", "-W", "10", "server")
        self.assertIn("1 received", result.stdout)
        self.assertEqual(c.state("server"), "running")
        self.assertIn("ping", c.ps()["server"]["cause_text"].lower())

    def test_connect_wakes_and_says_why(self):
        c = self.cluster(SERVER).up()
        drive = c.drive("caller")
        answer = drive("connect 1 server 7000")
        self.assertTrue(answer["ok"], answer)
        self.assertTrue(drive("ping 1 100000")["ok"])
        host = c.ps()["server"]
        self.assertEqual(host["state"], "running")
        self.assertEqual(host["wake_kind"], "cold")
        self.assertRegex(host["cause_text"], r"SYN from caller:\d+ to :7000")
        self.assertRegex(c.im("why", "server").stdout, r"SYN from caller:\d+ to :7000")

    def test_datagram_wakes_and_arrives(self):
        c = self.cluster(SERVER).up()
        answer = c.drive()("udp server 7002 20000")
        self.assertTrue(answer["ok"], answer)

    def test_unknown_address_of_the_network_is_refused_at_once(self):
        c = self.cluster(SERVER).up()
        answer = c.drive()("connect 1 10.77.0.200 7000")
        self.assertFalse(answer["ok"])
        self.assertLess(answer["us"], 1_000_000 * SLOW_FACTOR)

    def test_release_and_connect_never_fails(self):
        """Zero refused, zero reset, zero retransmissions waited for."""
        c = self.cluster(SERVER).up()
        drive = c.drive()
        rounds = 500 if LONG else 40
        slowest_us = 0
        for i in range(rounds):
            answer = drive("connect 1 server 7000")
            self.assertTrue(answer["ok"], f"round {i}: {answer}")
            self.assertEqual(answer["retransmits"], 0, f"round {i}: {answer}")
            slowest_us = max(slowest_us, answer["us"])
            pong = drive("ping 1 10")
            self.assertTrue(pong["ok"], f"round {i}: {pong}")
            drive("close 1")
            c.release("server")
        self.assertLess(slowest_us, 900_000 * SLOW_FACTOR)
        self.assertEqual(int(c.ps()["server"]["starts"]), rounds)

    def test_release_and_connect_never_fails_for_a_slow_server(self):
        """Each of many hosts listens 3 s after its start, over and over."""
        hosts, rounds = (50, 10) if LONG else (10, 2)
        latest_us = 3_000_000 + 900_000 * SLOW_FACTOR
        spec = f"""
network: {{cidr: 10.77.0.0/24}}
defaults: {{idle: {{after: 10m}}}}
hosts:
  slow:
    replicas: {hosts}
    command: [{PEER}, serve, --listen-after-ms, "3000", --echo, "7000"]
"""
        c = self.cluster(spec).up()
        failures = []

        def rounds_of(number):
            drive = c.drive(f"client-{number}")
            for i in range(rounds):
                answer = drive(f"connect 1 slow-{number} 7000")
                if not answer["ok"] or not 3_000_000 <= answer["us"] < latest_us:
                    failures.append((number, i, answer))
                if answer["ok"] and not drive("ping 1 10")["ok"]:
                    failures.append((number, i, "no answer"))
                drive("close 1")
                c.release(f"slow-{number}")

        threads = [threading.Thread(target=rounds_of, args=(n + 1,)) for n in range(hosts)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])


class Direct(ClusterTest):
    def through_gateway(self, c, drive, connection):
        """Bytes that the gateway forwarded while 4 MB went there and back."""
        before = c.gateway_bytes()
        answer = drive(f"ping {connection} 4000000")
        self.assertTrue(answer["ok"], answer)
        return c.gateway_bytes() - before

    def settle(self, c, drive, connection):
        wait_until(lambda: self.through_gateway(c, drive, connection) == 0,
                   "the two talk without the gateway")

    def test_hosts_talk_without_the_gateway(self):
        c = self.cluster(SERVER).up()
        drive = c.drive()
        self.assertTrue(drive("connect 1 server 7000")["ok"])
        self.settle(c, drive, 1)
        for _ in range(3):
            self.assertEqual(self.through_gateway(c, drive, 1), 0)

    def test_also_after_one_was_released(self):
        c = self.cluster(SERVER).up()
        drive = c.drive()
        for _ in range(3):
            self.assertTrue(drive("connect 1 server 7000")["ok"])
            self.settle(c, drive, 1)
            drive("close 1")
            c.release("server")

    def test_a_killed_instance_starts_again_on_the_next_packet(self):
        c = self.cluster(SERVER).up()
        drive = c.drive()
        self.assertTrue(drive("connect 1 server 7000")["ok"])
        self.settle(c, drive, 1)
        first = c.ps()["server"]
        os.kill(int(first["agent_pid"]), signal.SIGKILL)
        wait_until(lambda: c.state("server") == "imaginary", "the loss is noticed")
        self.assertFalse(os.path.exists(f"/proc/{first['program_pid']}/exe"))
        answer = drive("connect 2 server 7000")
        self.assertTrue(answer["ok"], answer)
        self.settle(c, drive, 2)
        self.assertGreater(int(c.ps()["server"]["incarnation"]), int(first["incarnation"]))


class GuestNames(ClusterTest):
    def test_a_guest_is_found_by_name_while_it_is_there(self):
        c = self.cluster(SERVER.replace("  other:", "  other:\n    attach: netstack")).up()
        guest = c.drive("driver")
        self.assertTrue(guest("connect 1 server 7000")["ok"])
        address = c.ps()["driver"]["address"]
        for where in ["exec", "server"], ["exec", "other"], ["run"], ["run", "--attach", "netstack"]:
            for name in "driver", "DRIVER.t.im":
                found = c.im(*where, "--", "getent", "hosts", name)
                self.assertEqual(found.stdout.split()[0], address, where)
        self.assertIn("driver.t.im", c.im("exec", "server", "--", "getent", "hosts", address).stdout)
        ping = c.im("exec", "server", "--", "ping", "-c", "1", "-W", "10", "driver")
        self.assertIn("1 received", ping.stdout)

        twice = c.im("run", "--name", "driver", "--", "true", check=False)
        self.assertEqual(twice.returncode, 1)
        self.assertIn("the name driver is taken: it is of a program by im run", twice.stderr)
        guest.close()
        wait_until(lambda: "driver" not in c.ps(), "the guest has left")
        for host in "server", "other":
            self.assertEqual(c.im("exec", host, "--", "getent", "hosts", "driver", check=False).returncode, 2)

    def test_to_ask_for_a_guest_is_no_use_of_a_host(self):
        asks = ("import select, socket\nwhile True:\n select.select([], [], [], .2)\n"
                " try: socket.gethostbyname('nobody')\n except OSError: pass")
        c = self.cluster(f"""
network: {{cidr: 10.77.0.0/24}}
hosts:
  asks:
    command: [{sys.executable}, -c, {json.dumps(asks)}]
    idle: {{after: 2s, timers: ignore, cpu_below: 50%}}
""").up()
        c.im("wake", "asks")
        c.wait_state("asks", "paused")


class Exec(ClusterTest):
    def test_wakes_and_passes_on_output_and_exit_code(self):
        c = self.cluster(SERVER).up()
        for code in (0, 7):
            result = c.im("exec", "other", "--", "sh", "-c", f"hostname; exit {code}", check=False)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (code, "other\n", ""))
        unknown = c.im("exec", "other", "--", "/no/such/program", check=False)
        self.assertEqual(unknown.returncode, 127)
        self.assertIn("/no/such/program", unknown.stderr)


class Idle(ClusterTest):
    def test_pauses_and_thaws_and_the_connection_lives(self):
        c = self.cluster(quick_idle(SERVER)).up()
        drive = c.drive()
        self.assertTrue(drive("connect 1 server 7000")["ok"])
        for _ in range(5):
            self.assertTrue(drive("ping 1 50000")["ok"])
            c.wait_state("server", "paused")
        self.assertTrue(drive("ping 1 1")["ok"])
        host = c.ps()["server"]
        self.assertEqual(host["wake_kind"], "thaw")
        self.assertEqual(int(host["starts"]), 1)

    def test_a_paused_host_answers_a_new_connection_and_a_datagram(self):
        c = self.cluster(quick_idle(SERVER)).up()
        drive = c.drive()
        self.assertTrue(drive("connect 1 server 7000")["ok"])
        c.wait_state("server", "paused")
        self.assertTrue(drive("connect 2 server 7000")["ok"])
        c.wait_state("server", "paused")
        self.assertTrue(drive("udp server 7002 20000")["ok"])
        self.assertEqual(int(c.ps()["server"]["starts"]), 1)

    def test_is_released_after_release_after_and_starts_again(self):
        c = self.cluster(quick_idle(SERVER, after="300ms", release_after="500ms")).up()
        drive = c.drive()
        for _ in range(3):
            self.assertTrue(drive("connect 1 server 7000")["ok"])
            self.assertTrue(drive("ping 1 10")["ok"])
            drive("close 1")
            c.wait_state("server", "imaginary")
        self.assertEqual(int(c.ps()["server"]["starts"]), 3)
        changes = [(e.get("from"), e.get("to")) for e in c.events() if e.get("host") == "server"]
        for change in (("imaginary", "starting"), ("starting", "running"), ("running", "paused"),
                       ("paused", "releasing"), ("releasing", "imaginary")):
            self.assertIn(change, changes)

    def test_a_busy_host_is_not_paused(self):
        spec = SERVER.replace(
            "  other:\n", "  spinner:\n    command: [sh, -c, 'while :; do :; done']\n  other:\n")
        c = self.cluster(quick_idle(spec)).up()
        c.im("wake", "spinner")
        c.im("wake", "other")
        c.wait_state("other", "paused")
        # The agent says what keeps it up with its next status.
        wait_until(lambda: "cpu" in c.im("why", "spinner").stdout.lower(), "why names the CPU")
        self.assertEqual(c.state("spinner"), "running")

    def test_suspend_by_hand(self):
        c = self.cluster(SERVER).up()
        c.im("wake", "server")
        c.im("suspend", "server")
        self.assertEqual(c.state("server"), "paused")
        self.assertTrue(c.drive()("connect 1 server 7000")["ok"])
        self.assertEqual(c.state("server"), "running")


class Lifetime(ClusterTest):
    def test_an_old_instance_is_replaced_and_no_caller_refused(self):
        """One host is always in use, the other sleeps and is to stay."""
        spec = SERVER.replace("idle: {after: 10m, release_after: 10m}",
                              "idle: {after: 1s, release_after: never}\n  max_lifetime: 10s")
        c = self.cluster(spec).up()
        drive = c.drive()
        c.im("wake", "other")
        cut = 0
        slowest_us = 0

        def ask_until_the_third():
            nonlocal cut, slowest_us
            for _ in range(20):
                answer = drive("connect 1 server 7000")
                self.assertTrue(answer["ok"], answer)
                slowest_us = max(slowest_us, answer["us"])
                # Its instance may just have been told to stop.
                cut += not drive("ping 1 10")["ok"]
                drive("close 1")
            return int(c.ps()["server"]["starts"]) >= 3

        wait_until(ask_until_the_third, "two lives are over")
        self.assertLessEqual(cut, 2)
        self.assertLess(slowest_us, 2_900_000 * SLOW_FACTOR)
        self.assertIn("max_lifetime: replaced by a fresh instance in", c.im("why", "server").stdout)
        wait_until(lambda: int(c.ps()["other"]["starts"]) >= 2, "who sleeps is started again")
        texts = {(e["host"], e["text"]) for e in c.events() if e.get("to") == "releasing"}
        self.assertTrue(any(h == "server" and t.endswith("max_lifetime of 10s") for h, t in texts), texts)
        self.assertTrue(any(h == "other" and t.endswith("max_lifetime of 10s is nearly over")
                            for h, t in texts), texts)
        self.assertFalse([e for e in c.events() if "refuse" in e["text"]])

    def test_a_job_that_lasts_longer_is_stopped_and_named(self):
        c = self.cluster("""
hosts:
  job: {command: &wait [python3, -c, "import signal; signal.pause()"], idle: {after: 5s}, max_lifetime: 10s}
  web: {command: *wait, depends_on: {job: {condition: service_completed_successfully}}}
""").up()
        why = "it did not complete within its max_lifetime of 10s"
        failed = c.im("wake", "web", check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn(f"it needs job to have completed: {why}", failed.stderr)
        self.assertIn(why, c.im("why", "job").stdout)
        self.assertEqual(int(c.ps()["job"]["starts"]), 1)
        self.assertTrue([e for e in c.events() if e["host"] == "job" and why in e["text"]])


if __name__ == "__main__":
    unittest.main(verbosity=2)
