"""Seeing what happens: metrics, events and why as JSON."""

import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import unittest
import urllib.request

from cluster import BIN, DEADLINE_S, TWO_HOSTS, ClusterTest, wait_until


def samples(text):
    """{"im_hosts{state=\"running\"}": 1.0, …}"""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
            for line in text.splitlines() if line and not line.startswith("#")}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Metrics(ClusterTest):
    def metrics(self, cluster):
        return samples(cluster.im("metrics").stdout)

    def test_what_happened_is_counted(self):
        c = self.cluster(TWO_HOSTS).up()
        before = self.metrics(c)
        self.assertEqual(before['im_hosts{state="imaginary"}'], 2)
        self.assertEqual(before['im_wakes_total{kind="cold",cause="syn"}'], 0)
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        c.im("wake", "b")
        c.im("suspend", "b")
        c.im("wake", "b")
        after = self.metrics(c)
        self.assertEqual(after['im_hosts{state="running"}'], 3, "im run's own too")
        self.assertEqual(after["im_hosts_configured"], 2)
        self.assertEqual(after['im_wakes_total{kind="cold",cause="syn"}'], 1)
        self.assertEqual(after['im_wakes_total{kind="cold",cause="user"}'], 1)
        self.assertEqual(after['im_wakes_total{kind="thaw",cause="user"}'], 1)
        self.assertEqual(after["im_start_seconds_count"], 2)
        self.assertEqual(after["im_thaw_seconds_count"], 1)
        self.assertGreaterEqual(after["im_hold_seconds_count"], 1)
        self.assertGreaterEqual(after['im_held_packets_total{outcome="delivered"}'], 1)
        self.assertGreater(after["im_start_seconds_sum"], 0)
        self.assertGreater(after["process_resident_memory_bytes"], 1 << 20)
        self.assertGreater(after['im_tunnel_bytes_total{direction="receive"}'], 0)
        self.assertGreater(after['im_host_cpu_seconds_total{host="a"}'], -1)
        self.assertIn('im_host_state{host="b",state="running"}', after)
        self.assertGreater(after['im_host_seconds_total{state="running"}'], 0)
        c.release("b")
        self.assertNotIn('im_host_state{host="b",state="running"}', self.metrics(c))
        self.assertEqual(self.metrics(c)["im_releases_total"], 1)

    def test_over_http_for_prometheus(self):
        c = self.cluster(TWO_HOSTS)
        port = free_port()
        c.im("up", "-d", "--metrics", f"127.0.0.1:{port}", str(c.spec))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE_S) as answer:
            self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
            self.assertEqual(samples(answer.read().decode())["im_hosts_configured"], 2)
        second = self.cluster(TWO_HOSTS, name="u")
        result = second.im("up", "-d", "--metrics", f"127.0.0.1:{port}", str(second.spec), check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"127.0.0.1:{port} is in use", result.stderr)
        for text in ("9600", "localhost", "127.0.0.1:99999", ""):
            result = second.im("up", "-d", f"--metrics={text}", str(second.spec), check=False)
            self.assertEqual(result.returncode, 2, text)

    def test_the_socket_is_the_owners(self):
        c = self.cluster(TWO_HOSTS).up()
        path = c.state_dir / "metrics.sock"
        mode = path.stat().st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        os.kill(c.imd_pid(), signal.SIGKILL)
        wait_until(lambda: "does not run" in c.im("metrics", check=False).stderr, "imd is gone")
        c.up()
        self.assertEqual(self.metrics(c)["im_hosts_configured"], 2)
        c.im("down")
        self.assertFalse(path.exists())

    def test_rude_clients_disturb_nobody(self):
        c = self.cluster(TWO_HOSTS)
        port = free_port()
        c.im("up", "-d", "--metrics", f"127.0.0.1:{port}", str(c.spec))
        rude = []
        for i in range(100):
            client = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
            self.addCleanup(client.close)
            try:
                client.sendall(b"GET /metrics HTTP/1.1\r\n" if i % 2 else b"\x16\x03\x01" * 4096)
            except OSError:
                pass  # it was cut off already
            rude.append(client)
        self.assertEqual(self.metrics(c)["im_hosts_configured"], 2)
        self.assertTrue(c.drive()("connect 1 a 7000")["ok"])
        wait_until(lambda: len(list(pathlib.Path(f"/proc/{c.imd_pid()}/fd").iterdir())) < 60, "they are forgotten")


# docs/operations.md promises these; more may come, none may go or change.
EVENT_FIELDS = {"sequence": int, "unix_nanos": int, "host": str, "from": str, "to": str, "text": str,
                "cause": dict, "duration_ns": int, "error": bool}
CAUSE_FIELDS = {"kind": str, "source": str, "source_port": int, "destination": str,
                "destination_port": int, "protocol": int, "detail": str}
WHY_FIELDS = {"name": str, "address": str, "state": str, "cause": dict, "cause_text": str,
              "wake_kind": str, "wake_ns": int, "busy": str, "pause_in_ms": int, "release_in_ms": int,
              "starts": int, "thaws": int, "last_error": str, "memory_bytes": int, "cpu_ns": int}


class Json(ClusterTest):
    def has_fields(self, value, fields):
        for name, kind in fields.items():
            self.assertIs(type(value.get(name)), kind, f"{name} of {value}")

    def test_events_are_as_documented(self):
        c = self.cluster(TWO_HOSTS).up()
        follow = subprocess.Popen([str(BIN / "im"), "events", "--follow", "--json"], env=c.env, text=True,
                                  stdout=subprocess.PIPE)
        self.addCleanup(follow.stdout.close)
        self.addCleanup(follow.wait)
        self.addCleanup(follow.kill)
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        address = c.ps()[client.name]["address"]
        events = []
        while not any(e["host"] == "a" and e["to"] == "running" for e in events):
            events.append(json.loads(follow.stdout.readline()))
            self.has_fields(events[-1], EVENT_FIELDS)
        woken = next(e for e in events if e["host"] == "a" and e["to"] == "starting")
        self.has_fields(woken["cause"], CAUSE_FIELDS)
        self.assertEqual(woken["cause"]["kind"], "SYN")
        self.assertEqual(woken["cause"]["source"], address)
        self.assertEqual(woken["cause"]["destination_port"], 7000)
        self.assertEqual([e["sequence"] for e in events], sorted({e["sequence"] for e in events}))

    def test_why_tells_cause_kind_duration_and_what_comes(self):
        c = self.cluster(TWO_HOSTS).up()
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        why = json.loads(c.im("why", "a", "--json").stdout)
        self.has_fields(why["host"], WHY_FIELDS)
        self.has_fields(why["host"]["cause"], CAUSE_FIELDS)
        self.assertEqual((why["host"]["cause"]["kind"], why["host"]["wake_kind"]), ("SYN", "cold"))
        self.assertGreater(why["host"]["wake_ns"], 0)
        self.assertTrue(why["keeps_up"])
        self.assertTrue(why["events"])
        c.im("suspend", "a")
        self.assertTrue(client("connect 2 a 7000")["ok"])
        text = c.im("why", "a").stdout
        self.assertRegex(text, rf"woken by +SYN from {client.name}:\d+ to :7000")
        self.assertRegex(text, r"how +thaw \d")
        c.im("suspend", "a")
        why = json.loads(c.im("why", "a", "--json").stdout)
        self.assertGreater(why["host"]["release_in_ms"], 0)

    def test_the_document_names_every_field(self):
        text = (pathlib.Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()
        for name in (*EVENT_FIELDS, *CAUSE_FIELDS, *WHY_FIELDS):
            self.assertIn(f"`{name}`", text)
        c = self.cluster(TWO_HOSTS).up()
        for name in re.findall("^# TYPE (im_\\S+)", c.im("metrics").stdout, re.M):
            self.assertTrue(f"`{name}" in text or name.endswith("_packets_total"), name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
