"""Groups that are suspended together: nobody misses a beat."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

from cluster import BIN, DEADLINE_S, LONG, SLOW_FACTOR, ClusterTest, wait_until
from examples_test import ZK_CLIENT, ExampleCluster

HERE = pathlib.Path(__file__).resolve().parent
MEMBERS = ("m-1", "m-2", "m-3")
SERVERS = ("zk-1", "zk-2", "zk-3")
# So many rounds of sleep, instead of what is usual.
ROUNDS = int(os.environ.get("IM_GROUP_ROUNDS") or 0)


class Caller:
    """`im run -- caller.py`: a member of the network that is in no group."""

    def __init__(self, cluster):
        self.process = subprocess.Popen(
            [str(BIN / "im"), "run", "--name", "caller", "--", sys.executable, str(HERE / "caller.py")],
            env=cluster.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, host, port, text):
        self.say(host, port, text)
        return self.hear()

    def say(self, host, port, text):
        self.process.stdin.write(f"{host} {port} {text}\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the caller ended with {self.process.wait(DEADLINE_S)}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()


class GroupTest(ClusterTest):
    def caller(self, cluster):
        caller = Caller(cluster)
        self.addCleanup(caller.close)
        return caller

    def wait_all(self, cluster, hosts, state, deadline_s=DEADLINE_S * 2):
        wait_until(lambda: {cluster.ps()[host]["state"] for host in hosts} == {state},
                   f"all of {hosts} are {state}", deadline_s, pause_s=0.1)

    def skews(self, cluster, hosts):
        """Seconds from the first to the last change of the group, for each time all went there."""
        found = {"paused": [], "running": []}
        for state, skews in found.items():
            times = []
            for event in cluster.events():
                wanted = {"paused": "running", "running": "paused"}[state]
                if event.get("host") in hosts and event["to"] == state and event["from"] == wanted:
                    at = int(event["unix_nanos"]) / 1e9
                    # Of an attempt that ended before all were there.
                    if times and at - times[0] > 3:
                        times = []
                    times.append(at)
                    if len(times) == len(hosts):
                        skews.append(times[-1] - times[0])
                        times = []
        return found


class Ensemble(GroupTest):
    # A beat is missed after half a second; pauses are longer.
    BEAT_S, TIMEOUT_S = 0.1 * SLOW_FACTOR, 0.5 * SLOW_FACTOR

    def ensemble(self, release_after="never", more=""):
        return self.cluster(f"""
network: {{cidr: 10.77.0.0/24}}
groups: {{ensemble: {{suspend: together}}}}
hosts:
  m:
    replicas: 3
    group: ensemble
    command: [sh, -c, 'exec {sys.executable} {HERE}/ensemble.py $$HOSTNAME m-1 2 {self.BEAT_S} {self.TIMEOUT_S}']
    idle: {{after: {int(1500 * SLOW_FACTOR)}ms, release_after: {release_after}}}
{more}""", "group").up()

    def output(self, c):
        return {m: c.im("logs", m).stdout for m in MEMBERS}

    def beats(self, call, member):
        answer = call(member, 7000, "?")
        name, beats, fellows = answer["answer"].split()
        self.assertEqual(name, member)
        return int(beats), int(fellows)

    def test_one_packet_starts_all_and_they_are_frozen_and_thawed_as_one(self):
        c = self.ensemble()
        call = self.caller(c)
        self.assertEqual(call("m-2", 7000, "?")["error"], "")
        self.assertRegex(c.ps()["m-3"]["cause_text"], "group m-2")
        wait_until(lambda: self.beats(call, "m-1")[1] == 2, "both follow")
        rounds = ROUNDS or (20 if LONG else 6)
        for round in range(rounds):
            self.wait_all(c, MEMBERS, "paused")
            time_paused = time.monotonic()
            wait_until(lambda: time.monotonic() - time_paused > 2 * self.TIMEOUT_S, "a timeout passes")
            # To each of them in turn, the leader too.
            before = self.beats(call, MEMBERS[round % 3])[0]
            for member in MEMBERS:
                c.wait_state(member, "running")
            wait_until(lambda: self.beats(call, MEMBERS[round % 3])[0] > before + 3, "they go on")
        for member, text in self.output(c).items():
            self.assertNotIn("MISSED", text, member)
            self.assertNotIn("LOST", text, member)
        print(f"{rounds} rounds, seconds from first to last:", self.skews(c, MEMBERS))

    def test_use_of_one_keeps_all_up_and_why_says_so(self):
        c = self.ensemble()
        call = self.caller(c)
        wait_until(lambda: self.beats(call, "m-1")[1] == 2, "both follow")

        def kept():
            self.assertEqual(self.beats(call, "m-1")[1], 2)
            self.assertEqual({c.ps()[m]["state"] for m in MEMBERS}, {"running"})
            return "group ensemble: m-1 is not quiet" in c.im("why", "m-3").stdout

        wait_until(kept, "m-3 is quiet, and up for m-1")

    def test_a_group_is_suspended_by_hand_and_woken_by_hand(self):
        c = self.ensemble()
        call = self.caller(c)
        wait_until(lambda: self.beats(call, "m-1")[1] == 2, "both follow")
        self.wait_all(c, MEMBERS, "paused")  # as they are by themselves: the order is known now
        for _ in range(3):
            c.im("wake", "m-3")
            for member in MEMBERS:
                c.wait_state(member, "running")
            c.im("suspend", "m-1")
            self.wait_all(c, MEMBERS, "paused")
        c.im("wake", "m-2")
        for member in MEMBERS:
            c.wait_state(member, "running")
        for member, text in self.output(c).items():
            self.assertNotIn("MISSED", text, member)

    def test_a_group_is_released_and_started_again_as_one(self):
        c = self.ensemble(release_after="1s")
        call = self.caller(c)
        wait_until(lambda: self.beats(call, "m-1")[1] == 2, "both follow")
        for _ in range(3):
            self.wait_all(c, MEMBERS, "imaginary")
            # What the last of them sent wakes nobody.
            self.assertEqual({c.ps()[m]["state"] for m in MEMBERS}, {"imaginary"})
            self.assertEqual(call("m-3", 7000, "?")["error"], "")
            wait_until(lambda: self.beats(call, "m-1")[1] == 2, "both follow")

    def test_the_group_sleeps_and_wakes_under_a_new_imd(self):
        c = self.ensemble()
        call = self.caller(c)
        wait_until(lambda: self.beats(call, "m-1")[1] == 2, "both follow")
        self.wait_all(c, MEMBERS, "paused")
        os.kill(c.imd_pid(), 9)
        c.im("up", "-d", str(c.spec))
        self.wait_all(c, MEMBERS, "paused")
        thaws = {m: c.ps()[m].get("thaws", 0) for m in MEMBERS}
        self.assertEqual(thaws, {m: c.ps()[m].get("thaws", 0) for m in MEMBERS})
        c.im("wake", "m-1")
        for member in MEMBERS:
            c.wait_state(member, "running")
        self.wait_all(c, MEMBERS, "paused")
        for member, text in self.output(c).items():
            self.assertNotIn("MISSED", text, member)


class ZooKeeper(GroupTest):
    # Beyond tickTime * syncLimit of zoo.cfg, after which a member is dead to others.
    PAUSE_S = 11

    QUORUM = ["follower", "follower", "leader"]

    def up(self, idle):
        """The example with this `idle`, and its client; when the quorum is there."""
        def change(text):
            changed = text.replace("idle: {after: 10s}", f"idle: {idle}")
            self.assertNotEqual(changed, text)
            return changed

        c = ExampleCluster("zookeeper", change)
        self.addCleanup(self.assert_nothing_left, c)
        self.addCleanup(c.close)
        c.up()
        call = self.caller(c)
        wait_until(lambda: self.modes(call) == self.QUORUM, "a quorum", 3 * DEADLINE_S, 1)
        return c, call

    @staticmethod
    def mode(call, server):
        found = re.search(r"Mode: (\w+)", call(server, 2181, "srvr")["answer"])
        return found and found.group(1)

    @staticmethod
    def epoch(call, servers):
        """The newest in which one of `servers` leads: each election begins another. 0 if none does."""
        answers = [call(server, 2181, "srvr")["answer"] for server in servers]
        return max((int(re.search(r"Zxid: (0x\w+)", answer).group(1), 16) >> 32
                    for answer in answers if "Mode: leader" in answer), default=0)

    def modes(self, call):
        return sorted(self.mode(call, server) or "" for server in SERVERS)

    @unittest.skipUnless(os.path.exists(ZK_CLIENT), "Debian's zookeeper is not installed")
    def test_the_leader_is_killed_and_replaced(self):
        c, call = self.up("never")
        client = lambda server, *words: c.im("run", "--", ZK_CLIENT, "-waitforconnection", "-server",
                                             f"{server}:2181", *words, timeout=3 * DEADLINE_S).stdout
        client("zk-1", "create", "/kept", "yes")
        # A program's kernel still closes its connections. Of a host that vanishes with its
        # agent the others hear nothing, for tickTime * syncLimit.
        for victim in "program_pid", "agent_pid":
            leader = next(server for server in SERVERS if self.mode(call, server) == "leader")
            others = [server for server in SERVERS if server != leader]
            before, epoch = c.ps()[leader], self.epoch(call, SERVERS)
            os.kill(before[victim], signal.SIGKILL)
            killed = time.monotonic()
            # Another, or itself if it is back before they have voted. It is not asked
            # before it runs again: whoever asks starts it.
            there = lambda: [s for s in SERVERS if s in others or c.ps()[s]["starts"] > before["starts"]]
            try:
                wait_until(lambda: self.epoch(call, there()) > epoch, "one leads again", 3 * DEADLINE_S, 0.05)
            except AssertionError:
                print(c.ps(), *(c.im("logs", server).stdout[-3000:] for server in SERVERS), sep="\n")
                raise
            leads = time.monotonic() - killed
            # The others' packets start it anew, or else the client's.
            wait_until(lambda: self.modes(call) == self.QUORUM, "all three", 3 * DEADLINE_S, 0.05)
            self.assertGreater(c.ps()[leader]["starts"], before["starts"])
            print(f"{leader}'s {victim} was killed: one leads again after {leads:.1f} s, all three "
                  f"are there after {time.monotonic() - killed:.1f} s", flush=True)
            self.assertIn("\nyes\n", client(leader, "get", "/kept"))

    @unittest.skipUnless(os.path.exists(ZK_CLIENT), "Debian's zookeeper is not installed")
    def test_no_election_after_a_pause(self):
        c, call = self.up("{after: 4s, release_after: never}")
        logs = lambda: "".join(c.im("logs", server).stdout for server in SERVERS)
        elections = lambda: (logs().count("LOOKING"), logs().count("LEADING"))
        before = elections()
        self.assertGreater(before[0], 0)
        rounds = ROUNDS or (6 if LONG else 3)
        held = 0
        for round in range(rounds):
            self.wait_all(c, SERVERS, "paused", 5 * DEADLINE_S)
            paused = time.monotonic()
            wait_until(lambda: time.monotonic() - paused > self.PAUSE_S, "the limit passes")
            answer = call(SERVERS[round % 3], 2181, "srvr")
            self.assertIn("Mode:", answer["answer"])
            for server in SERVERS:
                c.wait_state(server, "running")
            held += elections() == before
            print(f"round {round + 1}: answered in {answer['seconds'] * 1000:.1f} ms, elections",
                  elections(), flush=True)
        self.assertEqual(self.modes(call), self.QUORUM)
        print("seconds from first to last:", self.skews(c, SERVERS))
        self.assertEqual(held, rounds)
        self.assertEqual(elections(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
