"""Hosts with on_release: checkpoint: to disk with their connections, and back without an error at
either end; and what happens when that fails, or somebody is killed in the midst of it."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

from cluster import BIN, DEADLINE_S, ClusterTest, environment, find_criu, wait_until
from counting import TALKER, counter

IDLE = "{after: 200ms, release_after: 200ms}"
PORT = 6400
POSTGRES_BIN = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))), None)
SBIN = os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin"

# Seconds that a host stays on disk at least, and is seen to.
AWAY_S = float(os.environ.get("IM_AWAY_S") or 0)
# A CRIU that says when it begins with $1 = @WHAT@, and waits until it may.
PATIENT_CRIU = """\
#!/bin/sh
if [ "$1" = @WHAT@ ] && [ -e @DIR@/wait ]; then
  touch @DIR@/begun
  while [ -e @DIR@/wait ]; do sleep 0.02; done
fi
exec @CRIU@ "$@"
"""


class Connection:
    """A client of a published port that says a line and gets one."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self.file = self.socket.makefile("rb")

    def say(self, text):
        self.socket.sendall(text + b"\r\n")

    def hear(self):
        return self.file.readline().strip()

    def ask(self, text):
        self.say(text)
        return self.hear()

    def close(self):
        self.file.close()
        self.socket.close()


@unittest.skipUnless(find_criu(), "there is no CRIU (./setup --tests builds one)")
class CheckpointTest(ClusterTest):

    def make(self, hosts, criu=None):
        c = self.cluster("hosts: {}\n")
        c.env["IM_DATA_DIR"] = str(c.dir / "data")
        c.env["IM_CRIU"] = criu or find_criu()
        (c.dir / "counter.py").write_text(counter("0.0.0.0"))
        self.write(c, hosts)
        return c

    @staticmethod
    def write(c, hosts):
        c.spec.write_text(f"name: {c.name}\nnetwork: {{cidr: 10.77.0.0/24}}\ndefaults: "
                          f"{{on_release: checkpoint, idle: {IDLE}, start_timeout: 60s}}\n"
                          f"hosts:\n{hosts.replace('@DIR@', str(c.dir))}")

    COUNT = (f"  count: {{command: [{sys.executable}, @DIR@/counter.py], "
             f"ports: ['127.0.0.1:{PORT}:7000']}}\n")

    def connect(self, port=PORT):
        connection = Connection(port)
        self.addCleanup(connection.close)
        return connection

    @staticmethod
    def checkpoint(c, host):
        return c.dir / "data" / c.name / "checkpoints" / host

    def to_disk(self, c, host):
        c.wait_state(host, "checkpointed")
        self.assertTrue((self.checkpoint(c, host) / "manifest").exists())
        self.assertEqual(c.ps()[host]["program_pid"], 0)
        self.images = os.open(self.checkpoint(c, host), os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, self.images)
        self.wakes_before = len(c.wakes(host))
        since = time.monotonic()
        while time.monotonic() - since < AWAY_S:
            threading.Event().wait(min(5, AWAY_S))
            self.assertEqual(c.ps()[host]["state"], "checkpointed")

    # It was seen to be on disk; by now it may have been paused, or be on its way there again.
    def assert_restored(self, c, host):
        self.assertEqual(c.wakes(host)[self.wakes_before], "restore")
        wait_until(lambda: os.fstat(self.images).st_nlink == 0, "what is used up is removed")

    def texts(self, c, host):
        return [e["text"] for e in c.events() if e.get("host") == host]

    # ---- programs ----

    def test_redis_with_50_idle_connections(self):
        c = self.make("  db: {command: [redis-server, --save, '', --protected-mode, 'no'], "
                      f"ports: ['127.0.0.1:{PORT}:6379']}}\n").up()
        clients = [self.connect() for _ in range(50)]
        for n, client in enumerate(clients):
            self.assertEqual(client.ask(b"CLIENT SETNAME c%02d" % n), b"+OK")
        self.assertEqual(clients[0].ask(b"SET key value"), b"+OK")
        for _ in range(2):
            self.to_disk(c, "db")
            self.assertEqual(clients[7].ask(b"EXISTS key"), b":1")
            self.assert_restored(c, "db")
            for n, client in enumerate(clients):
                self.assertEqual(client.ask(b"CLIENT GETNAME"), b"$3")
                self.assertEqual(client.hear(), b"c%02d" % n)

    def test_asyncio_with_connections_from_another_host_and_from_outside(self):
        c = self.make(self.COUNT).up()
        outside = [self.connect() for _ in range(5)]
        talker = subprocess.Popen(
            [str(BIN / "im"), "run", "--", sys.executable, "-c", TALKER, "count"], env=c.env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (talker.stdin.close(), talker.wait(DEADLINE_S), talker.stdout.close()))

        def ask_from_host(text):
            talker.stdin.write(text + b"\n")
            talker.stdin.flush()
            return talker.stdout.readline()

        self.assertEqual(ask_from_host(b"a"), b"1 a\n")
        self.assertEqual([o.ask(b"b") for o in outside], [b"%d b" % n for n in range(2, 7)])
        self.to_disk(c, "count")
        self.assertEqual(ask_from_host(b"c"), b"7 c\n")
        self.assert_restored(c, "count")
        self.to_disk(c, "count")
        self.assertEqual(self.connect().ask(b"d"), b"8 d")  # a new one
        self.assertEqual(outside[3].ask(b"e"), b"9 e")
        self.assertEqual(ask_from_host(b"f"), b"10 f\n")
        answered = lambda: int(re.search(r"^im_keepalives_answered_total (\d+)",
                                         c.im("metrics").stdout, re.MULTILINE)[1])
        before = answered()
        # Each is a second after the last: a host that woke for them would be seen to.
        self.to_disk(c, "count")
        wait_until(lambda: answered() >= before + 3, "keepalives are answered")
        self.to_disk(c, "count")
        c.im("wake", "count")
        self.assertEqual(ask_from_host(b"g"), b"11 g\n")
        self.assertEqual(c.ps()["count"]["starts"], 1)  # cold ones

    def test_a_host_in_use_moves_when_it_has_lived_long_enough(self):
        c = self.make(self.COUNT.replace("{command", "{max_lifetime: 10s, idle: {after: 5s}, command")).up()
        client, other = self.connect(), self.connect()
        asked = 0

        def ask_until(text, to):
            def seen():
                nonlocal asked
                for each in client, other:
                    asked += 1
                    self.assertEqual(each.ask(b"a"), b"%d a" % asked)
                return any(e.get("host") == "count" and e.get("to") == to and text in e["text"]
                           for e in c.events())
            wait_until(seen, f"{to}: {text}")

        ask_until("max_lifetime of 10s", "releasing")
        ask_until("", "restoring")
        wait_until(lambda: c.wakes("count") == ["cold", "restore"], "it is back")
        wait_until(lambda: not self.checkpoint(c, "count").exists(), "what is used up is removed")
        # A command in the host cannot go along.
        command = subprocess.Popen([str(BIN / "im"), "exec", "count", "--", "cat"], env=c.env,
                                   stdin=subprocess.PIPE)
        self.addCleanup(lambda: (command.stdin.close(), command.wait(DEADLINE_S)))
        ask_until("release refused", "running")
        self.assertEqual(c.ps()["count"]["starts"], 1)  # cold ones
        command.stdin.close()
        self.assertEqual(command.wait(DEADLINE_S), 0)

    @unittest.skipIf(POSTGRES_BIN is None, "not installed: postgresql")
    def test_postgresql_with_an_open_transaction(self):
        start = (f"{POSTGRES_BIN}/initdb --no-locale -A trust -U shop -N -D @DIR@/pg/data > /dev/null && "
                 "echo host all all all trust >> @DIR@/pg/data/pg_hba.conf && "
                 f"exec {POSTGRES_BIN}/postgres -D @DIR@/pg/data -F -h 0.0.0.0 -k @DIR@/pg")
        c = self.make(f"  db: {{command: [sh, -c, '{start}'], user: postgres, "
                      "idle: {after: 200ms, release_after: 200ms, timers: ignore}, "
                      f"ports: ['127.0.0.1:{PORT}:5432']}}\n")
        c.dir.chmod(0o755)
        (c.dir / "pg").mkdir()
        shutil.chown(c.dir / "pg", "postgres", "postgres")
        c.up()

        def psql(*args, **kwargs):
            return [f"{POSTGRES_BIN}/psql", "-h", "127.0.0.1", "-p", str(PORT), "-U", "shop", "-qtA",
                    *args, "postgres"]

        wait_until(lambda: subprocess.run(psql("-c", "CREATE TABLE t (n int)"), env=c.env,
                                          stderr=subprocess.DEVNULL).returncode == 0, "it is ready")
        session = subprocess.Popen(psql(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.addCleanup(lambda: (session.stdin.close(), session.wait(DEADLINE_S), session.stdout.close()))
        session.stdin.write("BEGIN; INSERT INTO t VALUES (42); SELECT n FROM t;\n")
        self.assertEqual(session.stdout.readline(), "42\n")
        self.to_disk(c, "db")
        session.stdin.write("INSERT INTO t VALUES (43); COMMIT; SELECT sum(n) FROM t;\n")
        self.assertEqual(session.stdout.readline(), "85\n")
        self.assert_restored(c, "db")
        self.assertEqual(subprocess.run(psql("-c", "SELECT count(*) FROM t"), text=True,
                                        stdout=subprocess.PIPE).stdout, "2\n")

    @unittest.skipUnless(shutil.which("sshd", path=SBIN) and shutil.which("ssh"), "not installed: ssh")
    def test_ssh_with_an_open_shell(self):
        sshd = shutil.which("sshd", path=SBIN)
        options = ("-o PidFile=none -o UsePAM=no -o StrictModes=no -o PermitRootLogin=yes "
                   "-o AuthorizedKeysFile=@DIR@/key.pub -h @DIR@/hostkey")
        c = self.make(f"  shell: {{command: [sh, -c, 'mkdir -p /run/sshd; exec {sshd} -D -p 22 {options}'], "
                      f"ports: ['127.0.0.1:{PORT}:22']}}\n")
        for key in "key", "hostkey":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", c.dir / key], check=True)
        c.up()
        shell = subprocess.Popen(
            ["ssh", "-tt", "-p", str(PORT), "-i", c.dir / "key", "-o", "StrictHostKeyChecking=no",
             "-o", f"UserKnownHostsFile={c.dir}/known", "-o", "LogLevel=ERROR", "root@127.0.0.1",
             "env -i TERM=dumb PS1= sh +m"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.addCleanup(lambda: (shell.stdin.close(), shell.wait(DEADLINE_S), shell.stdout.close()))

        def say(text, until):
            shell.stdin.write(text + "\n")
            for line in shell.stdout:
                if line.strip() == until:
                    return
            self.fail(f"ssh ended with {shell.wait(DEADLINE_S)}")

        say("n=40; tty; echo $((n + 1)).", "41.")
        self.to_disk(c, "shell")
        say("echo $((n + 2)).", "42.")
        self.assert_restored(c, "shell")
        say("exit 0", "exit 0")
        self.assertEqual(shell.wait(DEADLINE_S), 0)

    # ---- what fails ----

    def test_who_cannot_go_to_disk_stays_up_and_says_why(self):
        c = self.make(self.COUNT.replace(
            f"[{sys.executable},", f"[sh, -c, 'sleep 1000 & exec {sys.executable} $$0',")).up()
        client = self.connect()
        self.assertEqual(client.ask(b"a"), b"1 a")
        wait_until(lambda: any("not checkpointed: sleep: sleeps" in t for t in self.texts(c, "count")),
                   "an event says why")
        self.assertIn("not checkpointed", c.im("why", "count").stdout)
        self.assertEqual(client.ask(b"b"), b"2 b")
        self.assertEqual(c.ps()["count"]["starts"], 1)
        self.assertFalse(any(self.checkpoint(c, "").iterdir()))

    def test_a_full_disk_loses_nothing(self):
        c = self.make(self.COUNT)
        data = c.dir / "data"
        data.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", data], check=True)
        self.addCleanup(subprocess.run, ["umount", data], check=True)
        c.up()
        client = self.connect()
        self.assertEqual(client.ask(b"a"), b"1 a")
        wait_until(lambda: any("not checkpointed: CRIU: " in t for t in self.texts(c, "count")),
                   "an event says why")
        self.assertEqual(client.ask(b"b"), b"2 b")
        subprocess.run(["mount", "-o", "remount,size=100M", data], check=True)
        self.to_disk(c, "count")
        self.assertEqual(client.ask(b"c"), b"3 c")
        c.close()

    def test_a_checkpoint_that_cannot_be_restored_is_thrown_away(self):
        c = self.make(self.COUNT).up()
        client = self.connect()
        self.assertEqual(client.ask(b"a"), b"1 a")
        self.to_disk(c, "count")
        for core in self.checkpoint(c, "count").glob("core-*.img"):
            os.truncate(core, 8)
        self.assertEqual(c.im("wake", "count", check=False).returncode, 1)
        self.assertTrue(any("restore failed: CRIU: " in t for t in self.texts(c, "count")))
        wait_until(lambda: not any(self.checkpoint(c, "").iterdir()), "it is gone")
        c.im("wake", "count")
        self.assertEqual(self.connect().ask(b"b"), b"1 b")
        self.assertEqual(c.wakes("count").count("cold"), 2)

    # ---- in the midst of it ----

    def patient(self, what):
        """A cluster whose CRIU waits for go(), and the host's one client."""
        c = self.make(self.COUNT)
        criu = c.dir / "patient-criu"
        criu.write_text(PATIENT_CRIU.replace("@CRIU@", find_criu()).replace("@WHAT@", what)
                        .replace("@DIR@", str(c.dir)))
        criu.chmod(0o755)
        c.env["IM_CRIU"] = str(criu)
        (c.dir / "wait").touch()
        c.up()
        client = self.connect()
        self.assertEqual(client.ask(b"a"), b"1 a")
        return c, client

    @staticmethod
    def begun(c):
        wait_until((c.dir / "begun").exists, "CRIU begins")

    @staticmethod
    def go(c):
        (c.dir / "wait").unlink()

    def agent(self, c):
        return c.ps()["count"]["agent_pid"]

    def test_data_that_come_during_the_dump_are_answered(self):
        c, client = self.patient("dump")
        self.begun(c)
        client.say(b"b")
        other = self.connect()
        other.say(b"c")
        c.im("ps")  # they were read by now
        self.go(c)
        self.assertEqual({client.hear()[2:], other.hear()[2:]}, {b"b", b"c"})
        self.assertIn("restore", c.wakes("count"))
        # Whoever has just answered is not on disk again.
        wait_until(lambda: client.ask(b"d") and not self.checkpoint(c, "count").exists(),
                   "what is used up is removed")

    def test_an_agent_that_is_killed_during_the_dump_takes_its_host_along(self):
        c, client = self.patient("dump")
        self.begun(c)
        os.kill(self.agent(c), signal.SIGKILL)
        c.wait_state("count", "imaginary")
        self.go(c)
        self.assertEqual(self.connect().ask(b"b"), b"1 b")
        self.to_disk(c, "count")  # in spite of what the other left
        self.assertEqual(self.connect().ask(b"c"), b"2 c")

    def test_an_agent_that_is_killed_during_the_restore_takes_its_host_along(self):
        c, client = self.patient("restore")
        self.to_disk(c, "count")
        client.say(b"b")
        self.begun(c)
        os.kill(self.agent(c), signal.SIGKILL)
        c.wait_state("count", "imaginary")
        self.go(c)
        wait_until(lambda: not any(self.checkpoint(c, "").iterdir()), "it is used up")
        c.im("wake", "count")
        self.assertEqual(self.connect().ask(b"b"), b"1 b")

    def kill_imd(self, c):
        pid = c.imd_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not environment(pathlib.Path(f"/proc/{pid}")), "imd has ended")

    def test_a_restarted_imd_takes_back_who_was_on_its_way_to_disk_and_who_is_there(self):
        c, client = self.patient("dump")
        self.begun(c)
        self.kill_imd(c)
        self.go(c)
        wait_until((self.checkpoint(c, "count") / "manifest").exists, "it is on disk")
        c.up()
        c.wait_state("count", "checkpointed")
        self.kill_imd(c)
        c.up()
        self.assertEqual(c.state("count"), "checkpointed")
        self.assertEqual(self.connect().ask(b"b"), b"2 b")
        # Another command is another program.
        self.to_disk(c, "count")
        self.kill_imd(c)
        self.write(c, self.COUNT.replace("counter.py]", "counter.py, more]"))
        c.up()
        self.assertEqual(c.state("count"), "imaginary")
        self.assertEqual(self.connect().ask(b"c"), b"1 c")
        # And im down leaves none.
        self.to_disk(c, "count")
        c.im("down")
        wait_until(lambda: not any(self.checkpoint(c, "").iterdir()), "it is gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
