"""A client that checks, for soak_test.py: soak_client.py SEED AFTER_MS RELEASE_MS HOST...

One thread a host. Each asks in bursts, every burst on a connection of its own: a numbered request,
its answer, a pause of random length, the next one. What comes back must be what was sent, once and in
order, and nothing else; a connection that is refused or closed, or an answer that does not come, is an
error. The pauses lie around AFTER_MS, when the host is paused, and between bursts now and then around
RELEASE_MS, when it is released (0: never waits so long). On a busy machine a client may be silent
for much longer than it means to, and find its host released and the connection closed: forgiven.

Runs until stdin ends. A line `go NAME` there makes it forgive what happens to host NAME; `ask NAME`
ends that again. At the end tells by one JSON object, by host: answers, datagrams, resent, forgiven,
errors.
"""

import json
import math
import random
import socket
import struct
import sys
import threading
import time

PATIENCE_S = 30
# A datagram is sent again, as all do who use them.
RESEND_S = 5
REQUESTS_PER_BURST = 6
# linux/tcp.h: tcpi_last_data_recv and tcpi_last_ack_recv.
TCP_INFO_LAST_RECEIVED, TCP_INFO_BYTES = 52, 60


def heard_at(connection):
    """When the last of the host's segments came, however much later we get to see it."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    ago_ms = min(struct.unpack_from("=II", info, TCP_INFO_LAST_RECEIVED))
    return time.monotonic() - ago_ms / 1e3


class Asker(threading.Thread):
    def __init__(self, host, seed, after_s, release_s, ending):
        super().__init__(daemon=True)
        self.host, self.after_s, self.release_s, self.ending = host, after_s, release_s, ending
        self.random = random.Random(f"{seed} {host}")
        self.number = 0
        self.forgiving = False
        self.heard_at = math.inf  # the host's last word on this connection
        self.told = {"answers": 0, "datagrams": 0, "resent": 0, "forgiven": 0, "errors": []}

    def run(self):
        while not self.ending.is_set():
            forgiving = self.forgiving
            try:
                if self.release_s and self.random.random() < 0.1:
                    self.datagram()
                else:
                    self.burst()
            except (OSError, AssertionError) as error:
                if forgiving or self.forgiving or (isinstance(error, ConnectionError) and self.silent()):
                    self.told["forgiven"] += 1
                    self.ending.wait(0.05)
                else:
                    ago_ms = (time.monotonic() - self.heard_at) * 1e3
                    self.told["errors"].append(f"request {self.number}: {error!r} at {time.time():.3f}, "
                                               f"{ago_ms:.0f} ms after the host's last word")
            self.rest_between_bursts()

    def silent(self):
        """For so long that the host may be on its way out, by our fault or by that of the machine."""
        return 0 < self.release_s / 2 < time.monotonic() - self.heard_at

    def burst(self):
        self.heard_at = math.inf
        with socket.create_connection((self.host, 7000), PATIENCE_S) as s:
            s.settimeout(PATIENCE_S)
            self.heard_at = heard_at(s)
            for _ in range(self.random.randint(1, REQUESTS_PER_BURST)):
                request = self.request()
                s.sendall(request)
                answer = b""
                while len(answer) < len(request):
                    part = s.recv(len(request) - len(answer))
                    if not part:
                        raise ConnectionResetError(f"closed after {answer!r}")
                    answer += part
                assert answer == request, f"{answer!r} instead of {request!r}"
                self.told["answers"] += 1
                self.heard_at = heard_at(s)
                if self.ending.is_set():
                    break
                self.rest(self.after_s, 0.5)
            s.shutdown(socket.SHUT_WR)
            more = s.recv(100)
            assert not more, f"{more!r} after the last answer"

    def datagram(self):
        self.heard_at = math.inf
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((self.host, 7001))
            s.settimeout(RESEND_S)
            request = self.request()
            resent_before = self.told["resent"]
            answer = b""
            while not answer:
                s.send(request)
                try:
                    answer = s.recv(100)
                except TimeoutError:
                    self.told["resent"] += 1
                    if self.told["resent"] - resent_before > PATIENCE_S / RESEND_S:
                        raise
            assert answer == request, f"{answer!r} instead of {request!r}"
            self.told["datagrams"] += 1
            if self.told["resent"] > resent_before:
                return  # the first one may have been late
            s.setblocking(False)
            try:
                raise AssertionError(f"{s.recv(100)!r} came, too")
            except BlockingIOError:
                pass

    def request(self):
        self.number += 1
        return f"{self.host} {self.number:09}\n".encode()

    def rest(self, around_s, spread):
        self.ending.wait(around_s * self.random.uniform(1 - spread, 1 + spread))

    def rest_between_bursts(self):
        if self.release_s and self.random.random() < 0.5:
            # The host is paused first.
            self.rest(self.after_s + self.release_s, 0.05)
        else:
            self.ending.wait(self.random.uniform(0, 2 * self.after_s))


def main():
    seed, after_ms, release_ms, *hosts = sys.argv[1:]
    ending = threading.Event()
    askers = {h: Asker(h, seed, int(after_ms) / 1e3, int(release_ms) / 1e3, ending) for h in hosts}
    for asker in askers.values():
        asker.start()
    print("asking", flush=True)
    for line in sys.stdin:
        word, host = line.split()
        askers[host].forgiving = word == "go"
    ending.set()
    end = time.monotonic() + PATIENCE_S + 5
    for asker in askers.values():
        asker.join(max(0, end - time.monotonic()))
        if asker.is_alive():
            asker.told["errors"].append("hangs")
    print(json.dumps({host: asker.told for host, asker in askers.items()}), flush=True)


main()
