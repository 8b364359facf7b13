"""Seeing what happens: metrics."""

import os
import pathlib
import signal
import socket
import stat
import unittest
import urllib.request

from cluster import DEADLINE_S, TWO_HOSTS, ClusterTest, wait_until


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


if __name__ == "__main__":
    unittest.main(verbosity=2)
