"""im top on a terminal (a pty), and for scripts."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from cluster import BIN, DEADLINE_S, TWO_HOSTS, ClusterTest, wait_until

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"
FRAME = "\x1b[H"


class Terminal:
    """A program on a terminal of its own, whose master is ours."""

    def __init__(self, cluster, *args, rows=24, columns=100):
        self.master, slave = pty.openpty()
        self.resize(rows, columns, slave)
        self.before = termios.tcgetattr(slave)
        env = dict(cluster.env, TERM="xterm", LC_ALL="C.UTF-8")
        env.pop("NO_COLOR")
        self.process = subprocess.Popen([str(BIN / "im"), *args], env=env, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave  # kept: its settings are looked at afterwards
        self.text = ""

    def resize(self, rows, columns, fd=None):
        fcntl.ioctl(self.master if fd is None else fd, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0.01)[0]:
            data = os.read(self.master, 65536)
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    def frame(self):
        """The last whole frame's lines, without escape sequences."""
        frames = self.read().split(FRAME)[1:]
        if not frames:
            return []
        text = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", frames[-1])
        return [line.rstrip("\r") for line in text.split("\n")]

    def await_frame(self, condition, what):
        wait_until(lambda: condition(self.frame()), what)

    def press(self, keys):
        os.write(self.master, keys.encode())

    def end(self):
        """Its exit code, once it is gone."""
        end = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            self.read()  # or it would wait for us
            if time.monotonic() > end:
                raise AssertionError("im top does not end")
        self.read()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class OnATerminal(ClusterTest):
    def terminal(self, *args, **kwargs):
        made = Terminal(self.c, *args, **kwargs)
        self.addCleanup(made.close)
        return made

    def setUp(self):
        self.c = self.cluster(TWO_HOSTS).up()

    def assert_restored(self, terminal):
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)
        text = terminal.read()
        self.assertGreater(text.rfind(NORMAL), text.rfind(ALTERNATE))
        self.assertGreater(text.rfind("\x1b[?25h"), text.rfind("\x1b[?25l"), "the cursor is back")

    def test_shows_hosts_as_they_come_and_go(self):
        t = self.terminal("top", "--interval", "100ms")
        t.await_frame(lambda f: len(f) > 2 and "no host is up" in f[1], "nothing is up")
        self.c.im("wake", "a")
        t.await_frame(lambda f: any(re.search(r"^a +running +\d", line) for line in f), "a runs, with its CPU")
        t.await_frame(lambda f: any("im wake" in line and "cold" in line for line in f), "why it is up")
        self.c.im("suspend", "a")
        t.await_frame(lambda f: any(re.search(r"^a +paused.*released in", line) for line in f), "a is paused")
        t.press("a")
        t.await_frame(lambda f: any(re.search(r"^b +imaginary", line) for line in f), "all hosts")
        t.press("q")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)

    def test_the_terminal_is_restored_however_it_ends(self):
        for end in ("\x03", signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            t = self.terminal("top", "--interval", "100ms")
            t.await_frame(lambda f: len(f) > 2, "a frame")
            self.assertNotEqual(termios.tcgetattr(t.slave), t.before)
            if isinstance(end, str):
                t.press(end)
            else:
                t.process.send_signal(end)
            self.assertEqual(t.end(), 0, end)
            self.assert_restored(t)

    def test_any_size_and_other_sizes_later(self):
        self.c.im("wake", "a", "b")
        t = self.terminal("top", "--interval", "100ms", rows=5, columns=30)
        t.await_frame(lambda f: len(f) == 5, "five rows")
        self.assertTrue(all(len(line) <= 30 for line in t.frame()), t.frame())
        t.resize(40, 160)
        t.await_frame(lambda f: any("LAST WAKE" in line for line in f), "the wide one")
        t.resize(1, 1)
        t.await_frame(lambda f: len(f) == 1, "the smallest one")
        t.press("q")
        self.assertEqual(t.end(), 0)

    def test_stopped_and_continued(self):
        t = self.terminal("top", "--interval", "100ms")
        t.await_frame(lambda f: len(f) > 2, "a frame")
        t.process.send_signal(signal.SIGTSTP)
        status = f"/proc/{t.process.pid}/stat"
        wait_until(lambda: open(status).read().rsplit(")", 1)[1].split()[0] == "T", "it is stopped")
        self.assert_restored(t)
        t.process.send_signal(signal.SIGCONT)
        wait_until(lambda: t.read().rfind(ALTERNATE) > t.text.rfind(NORMAL), "the screen is back")
        t.press("q")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)

    def test_an_imd_that_hangs_keeps_nobody_from_leaving(self):
        t = self.terminal("top", "--interval", "100ms")
        t.await_frame(lambda f: len(f) > 2, "a frame")
        pid = self.c.imd_pid()
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        t.press("q")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)

    def test_the_cluster_ends(self):
        t = self.terminal("top", "--interval", "100ms")
        t.await_frame(lambda f: len(f) > 2, "a frame")
        self.c.im("down")
        self.assertEqual(t.end(), 0)
        self.assert_restored(t)
        self.assertIn("the cluster has ended", t.text)


class ForScripts(ClusterTest):
    def test_once(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        text = c.im("top", "--once", "--interval", "100ms").stdout
        self.assertRegex(text.splitlines()[0], r"^t-\d+ +10\.77\.0\.0/24 +1 running, 1 imaginary$")
        self.assertRegex(text, r"(?m)^a +running +[\d.]+%")
        self.assertNotIn("\x1b", text)
        self.assertNotIn("imaginary ", text.split("\n", 1)[1])
        self.assertRegex(c.im("top", "--once", "--all").stdout, r"(?m)^b +imaginary")

    def test_json_frames(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        lines = c.im("top", "--json", "-n", "3", "--interval", "100ms").stdout.splitlines()
        frames = [json.loads(line) for line in lines]
        self.assertEqual(len(frames), 3)
        self.assertIsNone(frames[0]["hosts"][0]["cpu_percent"], "one look knows no rates")
        self.assertGreaterEqual(frames[2]["hosts"][0]["cpu_percent"], 0)
        self.assertEqual(frames[2]["hosts"][0]["state"], "running")
        self.assertLess(frames[0]["unix_nanos"], frames[2]["unix_nanos"])

    def test_traffic_is_seen(self):
        c = self.cluster(TWO_HOSTS).up()
        client = c.drive()
        self.assertTrue(client("connect 1 a 7000")["ok"])
        watch = subprocess.Popen([str(BIN / "im"), "top", "--json", "--interval", "200ms"], env=c.env,
                                 text=True, stdout=subprocess.PIPE)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            frame = json.loads(watch.stdout.readline())
            client("ping 1 1000")
            rates = {h["name"]: h["in_bytes_per_s"] for h in frame["hosts"]}
            if (rates.get("a") or 0) > 0:
                return
        self.fail("no traffic was seen")

    def test_bad_words(self):
        c = self.cluster(TWO_HOSTS).up()
        for args in (["--sort", "size"], ["--interval", "1ms"], ["--interval", "x"], ["-n", "-1"]):
            self.assertEqual(c.im("top", *args, check=False).returncode, 2, args)


if __name__ == "__main__":
    unittest.main(verbosity=2)
