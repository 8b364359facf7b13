"""Groups with on_release: checkpoint: all members to disk, or none, and back as one. Nobody misses a
beat, and nothing is lost, whatever fails on the way."""

import os
import pathlib
import re
import signal
import sys
import time
import unittest

import checkpoint_test
import groups_test
from cluster import DEADLINE_S, LONG, SLOW_FACTOR, environment, wait_until
from examples_test import ZK_CLIENT, ExampleCluster

HERE = pathlib.Path(__file__).resolve().parent
MEMBERS = ("m-1", "m-2", "m-3")
LEADER, FOLLOWERS = MEMBERS[0], MEMBERS[1:]
# So many rounds, instead of what is usual.
ROUNDS = int(os.environ.get("IM_GROUP_ROUNDS") or 0)
NEVER_S = 600

# A CRIU that fails to dump host m-2 while a file is there, and waits in m-3 for as long as
# another is.
CRIU = """\
#!/bin/sh
if [ "$1 $(uname -n)" = "dump m-2" ] && [ -e @DIR@/fail ]; then exit 1; fi
if [ "$(uname -n)" = m-3 ] && [ -e @DIR@/wait-$1 ]; then
  touch @DIR@/begun
  while [ -e @DIR@/wait-$1 ]; do sleep 0.02; done
fi
exec @CRIU@ "$@"
"""


@unittest.skipUnless(checkpoint_test.find_criu(), "there is no CRIU (./setup --tests builds one)")
class GroupCheckpoint(groups_test.GroupTest):
    # A fellow is dead after a second; the group is away for longer.
    BEAT_S, MISSED_MAX = 0.2 * SLOW_FACTOR, 5
    AWAY_S = 2 * BEAT_S * MISSED_MAX

    def make(self):
        member = f"exec {sys.executable} {HERE}/heartbeats.py $$HOSTNAME {LEADER} {self.BEAT_S} {self.MISSED_MAX}"
        c = self.cluster(f"""
network: {{cidr: 10.77.0.0/24}}
groups: {{ensemble: {{suspend: together}}}}
hosts:
  m:
    replicas: 3
    group: ensemble
    on_release: checkpoint
    start_timeout: 60s
    command: [sh, -c, '{member}']
    idle: {{after: {int(3000 * SLOW_FACTOR)}ms, release_after: 1s}}
""", "disk")
        criu = c.dir / "criu"
        criu.write_text(CRIU.replace("@CRIU@", checkpoint_test.find_criu()).replace("@DIR@", str(c.dir)))
        criu.chmod(0o755)
        c.env["IM_CRIU"] = str(criu)
        return c

    def start(self):
        """All beat; the group's cluster, and a caller of its members."""
        c = self.make().up()
        call = self.caller(c)
        wait_until(lambda: len(self.beats(call, LEADER)) == 2, "both follow")
        self.use(c, call)
        return c, call

    @staticmethod
    def beats(call, member):
        answer = call(member, 7000, "?")
        if answer["error"]:
            raise AssertionError(f"{member}: {answer}")
        name, *counts = answer["answer"].split()
        assert name == member, answer
        return [int(count) for count in counts]

    def use(self, c, call, member=LEADER):
        """A packet to `member`; then all beat, until a datagram that was lost is known as such."""
        self.assertEqual(call(member, 7000, "?")["error"], "")
        for each in MEMBERS:
            c.wait_state(each, "running")
        before = self.beats(call, LEADER)
        wait_until(lambda: all(now >= was + 3 for now, was in zip(self.beats(call, LEADER), before, strict=True)),
                   "they go on")

    def all_on_disk(self, c):
        self.wait_all(c, MEMBERS, "checkpointed")
        for member in MEMBERS:
            self.assertEqual(c.ps()[member]["program_pid"], 0)
            self.assertTrue((self.checkpoint(c, member) / "manifest").exists())

    @staticmethod
    def checkpoint(c, host):
        return c.dir / "data" / c.name / "checkpoints" / host

    def stay_away(self):
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - since > self.AWAY_S, "a fellow's time passes", NEVER_S)

    def assert_all_well(self, c, members=MEMBERS, cold_starts=1):
        for member in members:
            self.assertNotRegex(c.im("logs", member).stdout, "DEAD|LOST|GAP|cannot send|Traceback", member)
            self.assertEqual(c.ps()[member]["starts"], cold_starts, member)

    def texts(self, c, host):
        return [e["text"] for e in c.events() if e.get("host") == host]

    # ---- rounds ----

    def test_nothing_is_lost_and_nobody_dies_over_rounds_on_disk(self):
        c, call = self.start()
        rounds = ROUNDS or (8 if LONG else 4 if SLOW_FACTOR == 1 else 2)
        for round in range(rounds):
            self.all_on_disk(c)
            self.stay_away()
            member = MEMBERS[round % 3]
            if round % 4 == 3:
                c.im("wake", member)
            self.use(c, call, member)
            self.assertEqual({c.ps()[m]["wake_kind"] for m in MEMBERS}, {"restore"})
            self.assert_all_well(c)
        print(f"{rounds} rounds, beats:", self.beats(call, LEADER), flush=True)

    def test_the_group_is_restored_under_a_new_imd(self):
        c, call = self.start()
        self.all_on_disk(c)
        self.kill_imd(c)
        c.up()
        self.assertEqual({c.state(m) for m in MEMBERS}, {"checkpointed"})
        self.use(c, call, "m-3")
        self.assert_all_well(c, cold_starts=0)  # that this one knows of

    # ---- what fails ----

    def test_one_that_cannot_be_dumped_leaves_all_paused(self):
        c, call = self.start()
        (c.dir / "fail").touch()
        wait_until(lambda: sum("not checkpointed: CRIU: " in t for t in self.texts(c, "m-2")) >= 2,
                   "it is tried again")
        self.assertIn("not checkpointed", c.im("why", "m-2").stdout)
        self.assertTrue(any("not to disk without m-2" in t for t in self.texts(c, "m-3")))
        self.assertFalse(any("checkpointed" in t.split() for t in self.texts(c, "m-1")))
        self.use(c, call, "m-3")
        self.assert_all_well(c)
        (c.dir / "fail").unlink()
        self.all_on_disk(c)
        self.stay_away()
        self.use(c, call)
        self.assert_all_well(c)

    # ---- in the midst of it ----

    def dumping(self):
        """m-3's dump waits for go(); those of the others are made, and do not count yet."""
        c, call = self.start()
        (c.dir / "wait-dump").touch()
        wait_until((c.dir / "begun").exists, "CRIU begins")
        for member in MEMBERS[:2]:
            wait_until((c.dir / "data" / c.name / "checkpoints" / f"{member}.new" / "manifest").exists,
                       f"{member} is prepared")
        self.assertEqual({c.state(m) for m in MEMBERS}, {"releasing"})
        return c, call

    @staticmethod
    def go(c, what="dump"):
        (c.dir / f"wait-{what}").unlink()

    def kill_imd(self, c):
        pid = c.imd_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not environment(pathlib.Path(f"/proc/{pid}")), "imd has ended")

    def test_a_wake_in_the_midst_of_it_calls_all_off(self):
        c, call = self.dumping()
        self.stay_away()
        call.say("m-2", 7000, "?")
        wait_until(lambda: not (c.dir / "data" / c.name / "checkpoints/m-1.new").exists(), "m-1 is called off")
        self.assertEqual({c.state(m) for m in MEMBERS}, {"releasing"})  # and has not run
        self.go(c)
        self.assertEqual(call.hear()["error"], "")
        self.use(c, call)
        self.assert_all_well(c)
        self.assertFalse(any("on disk" in t for m in MEMBERS for t in self.texts(c, m)))

    def test_imd_that_is_killed_between_prepare_and_commit_leaves_all_paused(self):
        c, call = self.dumping()
        self.kill_imd(c)
        self.go(c)
        wait_until((c.dir / "data" / c.name / "checkpoints/m-3.new/manifest").exists, "all are prepared")
        c.up()
        self.assertFalse(any(self.checkpoint(c, m).exists() for m in MEMBERS))
        self.all_on_disk(c)  # after another release_after
        self.stay_away()
        self.use(c, call, "m-2")
        self.assert_all_well(c)

    def test_an_agent_that_is_killed_between_prepare_and_commit_takes_its_host_along_alone(self):
        c, call = self.dumping()
        os.kill(c.ps()["m-2"]["agent_pid"], signal.SIGKILL)
        c.wait_state("m-2", "imaginary")
        self.go(c)
        for member in "m-1", "m-3":
            c.wait_state(member, "checkpointed")
        call("m-3", 7000, "?")  # starts m-2 anew
        for member in MEMBERS:
            c.wait_state(member, "running")
        self.assertEqual(c.ps()["m-2"]["starts"], 2)
        wait_until(lambda: len(self.beats(call, LEADER)) >= 2, "two follow")
        before = self.beats(call, "m-3")
        wait_until(lambda: self.beats(call, "m-3") > before, "m-3 goes on")
        self.assert_all_well(c, ["m-3"])
        self.assertEqual(c.ps()["m-1"]["starts"], 1)


    def restoring(self):
        """m-3's restore waits for go(); the others are back."""
        c, call = self.start()
        (c.dir / "wait-restore").touch()
        self.all_on_disk(c)
        call.say("m-1", 7000, "?")
        wait_until((c.dir / "begun").exists, "CRIU begins")
        for member in MEMBERS[:2]:
            wait_until(lambda: c.ps()[member]["program_pid"] != 0, f"{member} is restored")
        self.stay_away()
        self.assertEqual({c.state(m) for m in MEMBERS}, {"restoring"})
        self.assertIn("waits for m-3, which is restoring", c.im("why", "m-1").stdout)
        return c, call

    def test_nobody_runs_before_all_are_restored(self):
        c, call = self.restoring()
        self.go(c, "restore")
        self.assertEqual(call.hear()["error"], "")
        self.use(c, call)
        self.assert_all_well(c)

    def test_an_agent_that_is_killed_during_the_restore_takes_its_host_along_alone(self):
        c, call = self.restoring()
        os.kill(c.ps()["m-3"]["agent_pid"], signal.SIGKILL)
        self.go(c, "restore")
        self.assertEqual(call.hear()["error"], "")
        before = self.beats(call, "m-2")
        wait_until(lambda: self.beats(call, "m-2") > before, "m-2 goes on")
        self.assert_all_well(c, ["m-2"])
        self.assertEqual(c.ps()["m-1"]["starts"], 1)


class ZooKeeper(groups_test.GroupTest):
    # Beyond tickTime * syncLimit of zoo.cfg, after which a member is dead to others.
    AWAY_S = 11

    @unittest.skipUnless(os.path.exists(ZK_CLIENT), "Debian's zookeeper is not installed")
    @unittest.skipUnless(checkpoint_test.find_criu(), "there is no CRIU (./setup --tests builds one)")
    def test_no_election_over_rounds_on_disk(self):
        servers = groups_test.SERVERS

        def to_disk(text):
            changed = text.replace("idle: {after: 10s}",
                                   "idle: {after: 4s, release_after: 2s}\n    on_release: checkpoint")
            # A file in /tmp that any other JVM takes for a dead one's, and removes.
            without = changed.replace("JVM_FLAGS: ", "JVM_FLAGS: -XX:-UsePerfData ")
            self.assertNotIn(text, (changed, without))
            self.assertNotEqual(changed, without)
            return without

        os.environ["IM_CRIU"] = checkpoint_test.find_criu()
        c = ExampleCluster("zookeeper", to_disk)
        self.addCleanup(self.assert_nothing_left, c)
        self.addCleanup(c.close)
        c.up()
        call = self.caller(c)

        def modes():
            found = [re.search(r"Mode: (\w+)", call(s, 2181, "srvr")["answer"]) for s in servers]
            return sorted(m[1] for m in found if m)

        wait_until(lambda: modes() == ["follower", "follower", "leader"], "a quorum", 3 * DEADLINE_S, 1)
        logs = lambda: "".join(c.im("logs", server).stdout for server in servers)
        elections = lambda: (logs().count("LOOKING"), logs().count("LEADING"))
        before = elections()
        self.assertGreater(before[0], 0)
        for round in range(ROUNDS or (3 if LONG else 2 if SLOW_FACTOR == 1 else 1)):
            self.wait_all(c, servers, "checkpointed", 5 * DEADLINE_S)
            away = time.monotonic()
            wait_until(lambda: time.monotonic() - away > self.AWAY_S, "the limit passes")
            answer = call(servers[round % 3], 2181, "srvr")
            self.assertIn("Mode:", answer["answer"])
            for server in servers:
                c.wait_state(server, "running")
            print(f"round {round + 1}: answered in {answer['seconds'] * 1000:.1f} ms, elections",
                  elections(), flush=True)
            self.assertEqual(elections(), before)
        self.assertEqual(modes(), ["follower", "follower", "leader"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
