"""A small ensemble: members that take each other for dead when a beat is missed.

    ensemble.py NAME LEADER FOLLOWERS BEAT_S TIMEOUT_S

The leader sends each follower a beat every BEAT_S, which answers it. Whoever
hears nothing for TIMEOUT_S writes "MISSED ..." to its output; the connection is
lost then, as it would be in earnest. Everybody answers a line to port 7000 with
its name and the beats it has seen.
"""

import socket
import sys
import threading
import time

BEATS = 7001
CLIENTS = 7000


def say(*words):
    print(*words, flush=True)


def receive(conn, who, timeout_s):
    conn.settimeout(timeout_s)
    try:
        data = conn.recv(100)
    except TimeoutError:
        data = b""
        say("MISSED nothing from", who, "for", timeout_s, "s")
    if not data:
        say("LOST", who)
    return data


class Member:
    def __init__(self, name, beat_s, timeout_s):
        self.name, self.beat_s, self.timeout_s = name, beat_s, timeout_s
        self.beats = 0
        self.fellows = []

    def serve_clients(self):
        server = socket.create_server(("", CLIENTS))
        while True:
            conn, _ = server.accept()
            if conn.recv(100):
                conn.sendall(f"{self.name} {self.beats} {len(self.fellows)}\n".encode())
            conn.close()

    def lead(self, followers):
        server = socket.create_server(("", BEATS))
        while len(self.fellows) < followers:
            conn, peer = server.accept()
            self.fellows.append(conn)
            threading.Thread(target=self.hear_answers, args=(conn, peer[0]), daemon=True).start()
        while True:
            for conn in self.fellows:
                conn.sendall(b"beat")
            time.sleep(self.beat_s)

    def hear_answers(self, conn, who):
        while receive(conn, who, self.timeout_s):
            self.beats += 1

    def follow(self, leader):
        conn = socket.create_connection((leader, BEATS))
        self.fellows.append(conn)
        while receive(conn, leader, self.timeout_s):
            self.beats += 1
            conn.sendall(b"here")


def main(name, leader, followers, beat_s, timeout_s):
    member = Member(name, float(beat_s), float(timeout_s))
    threading.Thread(target=member.serve_clients, daemon=True).start()
    if name == leader:
        member.lead(int(followers))
    else:
        member.follow(leader)
    raise SystemExit("lost its leader")


main(*sys.argv[1:])
