"""A member of an ensemble that counts beats, and takes a fellow for dead that misses some.

    heartbeats.py NAME LEADER BEAT_S MISSED_MAX

The leader sends each follower a numbered beat every BEAT_S over a connection and as a
datagram; the follower answers both. Whoever hears nothing of a fellow, on neither way,
for MISSED_MAX beats writes "DEAD ..." to its output, and has lost it. A number that is
lost or comes twice is a "GAP ...". A datagram may overtake another, as two may go by
different ways: one that is not there two beats later is lost. Port 7000 answers a line
with the member's name and how many beats it has had from each fellow.
"""

import select
import socket
import sys
import threading
import time

BEATS = 7001
CLIENTS = 7000


def say(*words):
    print(*words, flush=True)


class Fellow:
    def __init__(self, member, who, connection, datagrams):
        self.member, self.who = member, who
        self.connection, self.datagrams = connection, datagrams
        self.heard = {"tcp": 0, "udp": 0}
        self.overtaken = set()
        self.rest = b""
        self.sent = 0
        for way in connection, datagrams:
            way.setblocking(False)

    def send(self, number):
        self.connection.sendall(b"%d\n" % number)
        self.datagrams.send(b"%d" % number)
        self.sent = number

    def note(self, way, number):
        expected = self.heard[way] + 1
        if way == "udp" and number in self.overtaken:
            self.overtaken.remove(number)
            return
        if number < expected or (way == "tcp" and number > expected):
            say("GAP", way, "from", self.who, "expected", expected, "got", number)
        self.heard[way] = number
        if way == "udp":
            self.overtaken.update(range(expected, number))
            lost = {each for each in self.overtaken if each < number - 1}
            if lost:
                say("GAP udp from", self.who, "lost", *sorted(lost))
                self.overtaken -= lost

    def numbers(self):
        """What has come, as (way, number); None when the connection has ended."""
        try:
            data = self.connection.recv(4096)
            if not data:
                return None
            *lines, self.rest = (self.rest + data).split(b"\n")
            found = [("tcp", int(line)) for line in lines]
        except BlockingIOError:
            found = []
        while True:
            try:
                found.append(("udp", int(self.datagrams.recv(100))))
            except BlockingIOError:
                return found

    def listen(self, answers):
        waiting = select.poll()
        for way in self.connection, self.datagrams:
            waiting.register(way, select.POLLIN)
        while True:
            if not waiting.poll(self.member.beat_s * self.member.missed_max * 1000):
                say("DEAD", self.who, "after", self.heard)
                break
            found = self.numbers()
            if found is None:
                say("LOST", self.who, "after", self.heard)
                break
            for way, number in found:
                self.note(way, number)
                if answers and way == "tcp":
                    self.connection.sendall(b"%d\n" % number)
                elif answers:
                    self.datagrams.send(b"%d" % number)
        self.connection.close()
        self.datagrams.close()
        self.member.fellows.remove(self)


class Member:
    def __init__(self, name, beat_s, missed_max):
        self.name, self.beat_s, self.missed_max = name, beat_s, missed_max
        self.fellows = []

    def add(self, who, connection, datagrams):
        fellow = Fellow(self, who, connection, datagrams)
        self.fellows.append(fellow)
        return fellow

    def serve_clients(self):
        server = socket.create_server(("", CLIENTS))
        while True:
            connection, _ = server.accept()
            with connection:
                if connection.recv(100):
                    counts = [str(min(f.heard.values())) for f in self.fellows]
                    connection.sendall(" ".join([self.name, *counts]).encode() + b"\n")

    def accept_followers(self):
        server = socket.create_server(("", BEATS))
        while True:
            connection, (address, _) = server.accept()
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            datagrams.connect((address, BEATS))
            fellow = self.add(address, connection, datagrams)
            threading.Thread(target=fellow.listen, args=(False,), daemon=True).start()

    def lead(self):
        threading.Thread(target=self.accept_followers, daemon=True).start()
        while True:
            for fellow in list(self.fellows):
                try:
                    fellow.send(fellow.sent + 1)
                except OSError as error:
                    say("cannot send to", fellow.who, error)
            time.sleep(self.beat_s)

    def follow(self, leader):
        address = socket.gethostbyname(leader)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("", BEATS))
        connection = socket.create_connection((address, BEATS))
        # The leader's end sends from a port that its first datagram tells.
        first, sender = datagrams.recvfrom(100, socket.MSG_PEEK)
        datagrams.connect(sender)
        self.add(leader, connection, datagrams).listen(answers=True)
        raise SystemExit("lost its leader")


def main(name, leader, beat_s, missed_max):
    member = Member(name, float(beat_s), int(missed_max))
    threading.Thread(target=member.serve_clients, daemon=True).start()
    if name == leader:
        member.lead()
    else:
        member.follow(leader)


main(*sys.argv[1:])
