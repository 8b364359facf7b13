"""What a host's tunnel and the gateway's drop is counted by reason and shown, and nothing else
happens."""

import json
import re
import socket
import struct
import subprocess
import unittest

from cluster import TWO_HOSTS, ClusterTest, wait_until

TRANSPORT = 4  # the first byte of a WireGuard data message
INDEX = slice(4, 8)
COUNTER_AT = 8
FORGED = bytes([TRANSPORT, 0, 0, 0]) + bytes(60)


class Wire:
    """Sees all datagrams of the loopback interface, and sends some of its own."""

    def __init__(self, test):
        self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        self.tap.bind(("lo", 0))
        self.tap.settimeout(0.1)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        test.addCleanup(self.tap.close)
        test.addCleanup(self.sender.close)

    def data_to(self, port):
        """The next data message to that port, and the port it came from; None: none yet."""
        try:
            packet = self.tap.recv(65536)
        except TimeoutError:
            return None
        header = (packet[0] & 15) * 4
        source, destination = struct.unpack_from("!HH", packet, header)
        payload = packet[header + 8:]
        return (payload, source) if destination == port and payload[:1] == bytes([TRANSPORT]) else None

    def send(self, payload, port):
        self.sender.sendto(payload, ("127.0.0.1", port))


class Drops(ClusterTest):
    def gateway_port(self, c):
        text = subprocess.run(["ss", "-Hlunp"], stdout=subprocess.PIPE, text=True, check=True).stdout
        return int(re.search(rf":(\d+) .*pid={c.imd_pid()},", text).group(1))

    def shown(self, c):
        """As the table has it: {(host, reason): count}."""
        rows = [line.split() for line in c.im("ps", "--drops").stdout.splitlines()[1:]]
        return {(host, reason): int(count) for host, count, reason in rows}

    def test_each_reason_is_shown(self):
        c = self.cluster(TWO_HOSTS).up()
        wire = Wire(self)
        drive = c.drive()
        self.assertTrue(drive("connect 1 a 7000")["ok"])
        port = int(c.ps()["a"]["endpoint"].rsplit(":", 1)[1])

        def next_message():
            self.assertTrue(drive("ping 1 64")["ok"])
            return wire.data_to(port)
        message, sender_port = wait_until(next_message, "a data message to a")
        # Handshakes that crossed may have left a message for a session that was not kept.
        before = self.shown(c)
        for reason in ("replayed", "decrypt_failed", "malformed"):
            self.assertNotIn(("a", reason), before)

        flipped = bytearray(message)
        flipped[COUNTER_AT + 5] ^= 1  # a counter that is still to come
        stranger = bytearray(message)
        stranger[INDEX] = bytes(b ^ 0xff for b in message[INDEX])
        for datagram in (message, message, flipped, flipped[:-16], stranger, message[:20]):
            wire.send(datagram, port)
        expected = {("a", "replayed"): 2, ("a", "decrypt_failed"): 2,
                    ("a", "unknown_index"): before.get(("a", "unknown_index"), 0) + 1, ("a", "malformed"): 1}
        wait_until(lambda: self.shown(c).items() >= expected.items(), f"a to show {expected}")
        # Back to where it came from: no session of its own.
        sender = next((name for name, host in c.ps().items()
                       if host.get("endpoint", "").endswith(f":{sender_port}")), "(gateway)")
        wire.send(message, sender_port)
        wait_until(lambda: (sender, "unknown_index") in self.shown(c), f"{sender} to count it")

        wire.send(b"no message", self.gateway_port(c))
        wait_until(lambda: self.shown(c).get(("(gateway)", "malformed")), "the gateway to count it")
        cluster = json.loads(c.im("ps", "--json").stdout)
        self.assertEqual(int(cluster["cluster"]["drops"]["malformed"]), 1)
        self.assertEqual({h["name"]: h for h in cluster["hosts"]}["a"]["status"]["drops"]["replayed"], 2)
        # Nothing else happened: the same session, the same endpoint, one start.
        self.assertTrue(drive("ping 1 64")["ok"])
        host = c.ps()["a"]
        self.assertEqual((host["endpoint"].rsplit(":", 1)[1], host["starts"]), (str(port), 1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
