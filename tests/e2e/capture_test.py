"""im capture: packets of a host as a pcap file."""

import os
import signal
import struct
import subprocess
import unittest

from cluster import BIN, DEADLINE_S, PEER, TWO_HOSTS, ClusterTest, wait_until

NETSTACK = f"""
network: {{cidr: 10.77.0.0/24}}
defaults: {{idle: {{after: 10m, release_after: 10m}}}}
hosts:
  a: {{command: [{PEER}, serve, --echo, "7000"], attach: netstack}}
"""


def packets(data):
    """[(time, bytes)] of a pcap file, which must be whole."""
    magic, _, _, _, _, _, linktype = struct.unpack_from("=IHHIIII", data)
    assert (magic, linktype) == (0xa1b23c4d, 101), (hex(magic), linktype)
    at, found = 24, []
    while at < len(data):
        seconds, nanoseconds, size, original = struct.unpack_from("=IIII", data, at)
        at += 16
        assert size == original and at + size <= len(data), "a record is not whole"
        found.append((seconds + nanoseconds * 1e-9, data[at:at + size]))
        at += size
    return found


def tcp(packet):
    """(source port, destination port, flags) of an IPv4 TCP packet, or None."""
    if packet[0] >> 4 != 4 or packet[9] != 6:
        return None
    at = (packet[0] & 15) * 4
    return struct.unpack_from("!HH", packet, at) + (packet[at + 13],)


class Capture(ClusterTest):
    def capture(self, cluster, *args):
        """Begun: its header is there."""
        file = cluster.dir / "capture.pcap"
        process = subprocess.Popen([str(BIN / "im"), "capture", *args, "-w", str(file)], env=cluster.env,
                                   text=True, stderr=subprocess.PIPE)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: file.exists() and file.stat().st_size >= 24 or process.poll() is not None,
                   "the capture has begun")
        return process, file

    def check_a_conversation(self, spec):
        c = self.cluster(spec).up()
        c.im("wake", "a")
        process, file = self.capture(c, "a")
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        self.assertTrue(client("ping 1 10000")["ok"])
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE_S), 0)
        found = packets(file.read_bytes())
        self.assertIn(f"{len(found)} packets captured", process.stderr.read())
        segments = [tcp(p) for _, p in found if tcp(p)]
        self.assertEqual(len([s for s in segments if s[1] == 7000 and s[2] & 0x12 == 0x02]), 1, "one SYN")
        self.assertEqual(len([s for s in segments if s[0] == 7000 and s[2] & 0x12 == 0x12]), 1, "its answer")
        sent = sum(len(p) for _, p in found if tcp(p) and tcp(p)[0] == 7000)
        self.assertGreater(sent, 10000, "what was echoed")
        times = [t for t, _ in found]
        self.assertEqual(times, sorted(times))
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        self.assertEqual(c.state("a"), "running")

    def test_a_conversation(self):
        self.check_a_conversation(TWO_HOSTS)

    def test_a_conversation_of_a_host_without_privileges(self):
        self.check_a_conversation(NETSTACK)

    def test_so_many_packets_to_stdout(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        process = subprocess.Popen([str(BIN / "im"), "capture", "a", "-n", "3"], env=c.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        head = process.stdout.read(24)
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        self.assertTrue(client("ping 1 1000")["ok"])
        data, errors = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(len(packets(head + data)), 3)
        self.assertIn(b"3 packets captured", errors)

    def test_a_reader_that_does_not_read_delays_nobody(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        process = subprocess.Popen([str(BIN / "im"), "capture", "a"], env=c.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        head = process.stdout.read(24)
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        for _ in range(30):  # 60 MB, of which nobody reads a byte
            self.assertTrue(client("ping 1 1000000")["ok"])
        process.send_signal(signal.SIGINT)
        data, errors = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 0, errors)
        self.assertRegex(errors.decode(), r"\d+ packets captured, [1-9]\d* lost")
        packets(head + data)  # whole all the same

    def test_it_keeps_no_host_up(self):
        c = self.cluster(f"""
network: {{cidr: 10.77.0.0/24}}
hosts:
  a: {{command: [{PEER}, serve, --echo, "7000"], idle: {{after: 500ms, release_after: 500ms}}}}
""").up()
        c.im("wake", "a")
        process, file = self.capture(c, "a")
        c.wait_state("a", "imaginary")
        self.assertEqual(process.wait(DEADLINE_S), 0)
        self.assertIn("the host went away", process.stderr.read())
        packets(file.read_bytes())
        result = c.im("capture", "a", "-w", str(file), check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("a is imaginary", result.stderr)
        self.assertIn("im wake a", result.stderr)

    def test_files_that_cannot_be(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        result = c.im("capture", "a", "-w", "/no/such/directory/file", check=False)
        self.assertEqual(result.returncode, 2)
        self.assertIn("/no/such/directory/file", result.stderr)
        self.assertEqual(c.im("capture", "nobody", check=False).returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
