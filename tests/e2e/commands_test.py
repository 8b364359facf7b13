"""The command line: bad input, clusters that are not there, pipes that break."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from cluster import BIN, DEADLINE_S, PEER, TWO_HOSTS, Cluster, ClusterTest, wait_until

DONE, FAILED, BAD_INPUT, NOT_RUNNING, NO_SUCH_PROGRAM = 0, 1, 2, 3, 127

# Every verb that talks to a cluster, with what it needs.
VERBS = (["ps"], ["why", "a"], ["logs"], ["events"], ["exec", "a", "--", "true"], ["wake", "a"],
         ["suspend", "a"], ["release", "a"], ["wait", "a"], ["metrics"], ["dashboard"], ["top", "--once"],
         ["capture", "a"], ["cp", "a:/etc/hostname", "x"], ["run", "--", "true"], ["down"])


class Words(unittest.TestCase):
    """Without any cluster."""

    def setUp(self):
        made = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(made.cleanup)
        self.dir = pathlib.Path(made.name)
        self.env = dict(os.environ, IM_STATE_DIR=str(self.dir / "run"), NO_COLOR="1")
        self.env.pop("IM_CLUSTER", None)

    def im(self, *args, **kwargs):
        return subprocess.run([str(BIN / "im"), *args], env=self.env, text=True, cwd=self.dir,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE_S, **kwargs)

    def refused(self, args, code, *words):
        result = self.im(*args)
        self.assertEqual(result.returncode, code, f"{args}: {result.stderr}")
        for word in words:
            self.assertIn(word, result.stderr, args)
        self.assertEqual(result.stdout, "", args)
        return result.stderr

    def test_bad_words(self):
        for args, word in (([], "im up"), (["pss"], "im ps"), (["nonsense-of-mine"], "nonsense-of-mine"),
                           (["ps", "--nonsense"], "--nonsense"), (["why"], "HOST"),
                           (["why", "a", "b"], "b"), (["exec"], "HOST"), (["exec", "a"], "command"),
                           (["run"], "command"), (["wait", "a", "--state", "flying"], "flying"),
                           (["wait", "a", "--timeout", "3parsecs"], "3parsecs"),
                           (["logs", "-n", "many"], "many"), (["logs", "-n", "-1"], "-1"),
                           (["events", "-n", "x"], "x"), (["-c"], "-c")):
            self.refused(args, BAD_INPUT, word)

    def test_help_says_the_exit_codes(self):
        help = self.im("--help")
        self.assertEqual(help.returncode, DONE)
        for code in ("0 done", "1 failed", "2 bad input", "3 ", "4 "):
            self.assertIn(code, help.stdout)
        for verb in (*(v[0] for v in VERBS), "up", "validate", "doctor", "completion"):
            result = self.im(verb, "--help")
            self.assertEqual(result.returncode, DONE, result.stderr)
            self.assertIn("Usage", result.stdout)
            self.assertNotIn("A first look", result.stdout, "the verb's own help, not everybody's")
            self.assertIn(verb, help.stdout)

    def test_no_cluster_is_up(self):
        for args in VERBS:
            self.refused(args, NOT_RUNNING, "im up")
            self.refused(["-c", "shop", *args], NOT_RUNNING, "shop", "im up")

    def test_names_that_lead_elsewhere(self):
        for name in ("../shop", "a/b", "/etc", "", "x" * 200):
            result = self.im("-c", name, "ps")
            self.assertIn(result.returncode, (BAD_INPUT, NOT_RUNNING), name)
            self.assertTrue(result.stderr.startswith("im: "), result.stderr)

    def test_files_that_are_none(self):
        binary = self.dir / "binary.yaml"
        binary.write_bytes(bytes(range(256)) * 100)
        empty = self.dir / "empty.yaml"
        empty.write_text("")
        for file in ("/no/such/file.yaml", str(self.dir), str(binary), str(empty), "/dev/null"):
            for args in (["validate", file], ["up", "-d", file]):
                self.assertIn(file, self.refused(args, BAD_INPUT))
            found = self.im("validate", "--json", file)
            self.assertEqual(found.returncode, BAD_INPUT)
            self.assertFalse(json.loads(found.stdout)["valid"])
        self.refused(["validate"], BAD_INPUT, "cluster.yaml")
        self.assertFalse((self.dir / "run").exists(), "nothing was started")

    def test_a_file_that_may_not_be_read(self):
        file = self.dir / "secret.yaml"
        file.write_text("hosts: {}\n")
        file.chmod(0)
        self.dir.chmod(0o755)
        result = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", str(BIN / "im"), "validate",
                                 str(file)], env=self.env, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=DEADLINE_S)
        if "failed to execute" in result.stderr:
            self.skipTest("the build folder is not for other users")
        self.assertEqual(result.returncode, BAD_INPUT, result.stderr)
        self.assertIn("Permission denied", result.stderr)

    def test_output_that_goes_nowhere(self):
        file = self.dir / "cluster.yaml"
        file.write_text("hosts: {a: {command: [x]}}\n")
        with open("/dev/full", "w") as full:
            result = subprocess.run([str(BIN / "im"), "validate", str(file)], env=self.env, text=True,
                                    stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE_S)
        self.assertEqual(result.returncode, FAILED)
        self.assertIn("No space left", result.stderr)


class Started(ClusterTest):
    def start(self, cluster, *args):
        """A command that goes on beside the test; it ends with it."""
        process = subprocess.Popen([str(BIN / "im"), *args], env=cluster.env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def end():
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
            process.stderr.close()

        self.addCleanup(end)
        return process


class Running(Started):
    def test_unknown_hosts_are_named(self):
        c = self.cluster(TWO_HOSTS).up()
        for args in (["ps", "nobody"], ["why", "nobody"], ["logs", "nobody"], ["events", "nobody"],
                     ["exec", "nobody", "--", "true"], ["wake", "nobody"], ["suspend", "nobody"],
                     ["release", "nobody"], ["wait", "nobody"], ["wake", "a", "nobody"]):
            result = c.im(*args, check=False)
            self.assertEqual(result.returncode, BAD_INPUT, f"{args}: {result.stderr}")
            self.assertIn("nobody", result.stderr)
        self.assertEqual(c.im("wake", check=False).returncode, BAD_INPUT)
        self.assertEqual(c.im("run", "--name", "a", "--", "true", check=False).returncode, FAILED)
        self.assertEqual(c.im("run", "--name", "no good", "--", "true", check=False).returncode, BAD_INPUT)

    def test_what_a_host_is_not(self):
        c = self.cluster(TWO_HOSTS).up()
        for args, words in ((["suspend", "a"], ("a is imaginary",)),
                            (["wait", "a", "--timeout", "100ms"], ("a is imaginary", "100ms"))):
            result = c.im(*args, check=False)
            self.assertEqual(result.returncode, FAILED, result.stderr)
            for word in words:
                self.assertIn(word, result.stderr)
        self.assertEqual(c.im("release", "a").returncode, DONE)
        self.assertEqual(c.im("wait", "a", "--state", "imaginary").returncode, DONE)

    def test_programs_own_exit_codes(self):
        c = self.cluster(TWO_HOSTS).up()
        for verb in (["exec", "a", "--"], ["run", "--"]):
            for command, code in ((["true"], 0), (["sh", "-c", "exit 7"], 7),
                                  (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM)):
                self.assertEqual(c.im(*verb, *command, check=False).returncode, code, (verb, command))
            result = c.im(*verb, "/no/such/program", check=False)
            self.assertEqual(result.returncode, NO_SUCH_PROGRAM)
            self.assertIn("/no/such/program: No such file", result.stderr)

    def test_nohup_has_its_effect(self):
        c = self.cluster(TWO_HOSTS).up()
        for words, ignored in ((["nohup"], True), ([], False)):
            text = subprocess.run([*words, str(BIN / "im"), "run", "--", "grep", "SigIgn", "/proc/self/status"],
                                  env=c.env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=DEADLINE_S, check=True).stdout
            self.assertEqual(bool(int(text.split()[1], 16) & 1 << signal.SIGHUP - 1), ignored, text)

    def test_exec_in_a_host_that_is_killed(self):
        c = self.cluster(TWO_HOSTS).up()
        session = self.start(c, "exec", "a", "--", "sh", "-c", "echo up; exec sleep 1000")
        self.assertEqual(session.stdout.readline(), "up\n")
        os.kill(int(c.ps()["a"]["agent_pid"]), signal.SIGKILL)
        output = session.communicate(timeout=DEADLINE_S)
        self.assertEqual(session.returncode, FAILED)
        self.assertIn("the host went away", output[1])

    def test_json_of_everything_parses(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("exec", "a", "--", "printf", "a \"quote\", a \\, a \t and \x7f")
        hosts = json.loads(c.im("ps", "--json").stdout)["hosts"]
        self.assertEqual([h["name"] for h in hosts], ["a", "b"])
        self.assertEqual([h["name"] for h in json.loads(c.im("ps", "--json", "b").stdout)["hosts"]], ["b"])
        self.assertEqual(json.loads(c.im("why", "--json", "a").stdout)["host"]["state"], "running")
        self.assertTrue(all(json.loads(line) for line in c.im("events", "--json").stdout.splitlines()))
        self.assertTrue(json.loads(c.im("validate", "--json", str(c.spec)).stdout)["valid"])

    def test_figures_are_of_this_moment(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        before = int(c.ps()["a"]["cpu_ns"])
        burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
        c.im("exec", "a", "--", "sh", "-c", burn)
        self.assertGreater(int(c.ps()["a"]["cpu_ns"]), before)
        self.assertIn("payload" if c.drive()("connect 1 a 7000")["ok"] else "?", c.im("why", "a").stdout)

    def test_a_reader_that_goes_away(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        follow = self.start(c, "events", "-f")
        self.assertIn("starting", follow.stdout.readline())
        follow.stdout.close()
        c.im("wake", "b")  # the next line has no reader
        self.assertEqual(follow.wait(DEADLINE_S), -signal.SIGPIPE)
        self.assertEqual(follow.stderr.read(), "")
        pipe = subprocess.run(f"{BIN / 'im'} events | head -1", shell=True, env=c.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE_S)
        self.assertEqual((pipe.stdout.count("\n"), pipe.stderr), (1, ""))
        for args in ("ps", "why a", "events"):
            closed = subprocess.run(f"{BIN / 'im'} {args} >&-", shell=True, env=c.env, text=True,
                                    stderr=subprocess.PIPE, timeout=DEADLINE_S)
            self.assertEqual(closed.returncode, FAILED, args)
        self.assertEqual(c.state("a"), "running")


class Lost(Started):
    def test_an_imd_that_was_killed(self):
        c = self.cluster(TWO_HOSTS).up()
        c.im("wake", "a")
        agent = c.ps()["a"]["agent_pid"]
        follow = self.start(c, "events", "-f")
        follow.stdout.readline()
        os.kill(c.imd_pid(), signal.SIGKILL)
        self.assertIn("the cluster has ended", follow.communicate(timeout=DEADLINE_S)[1])
        self.assertTrue((c.state_dir / "api.sock").exists(), "the socket is stale")
        for args in VERBS:
            result = c.im(*args, check=False)
            self.assertEqual(result.returncode, NOT_RUNNING, f"{args}: {result.stderr}")
            self.assertIn("does not run", result.stderr)
        c.up()
        wait_until(lambda: c.state("a") == "running", "a is taken back")
        self.assertEqual(c.ps()["a"]["agent_pid"], agent)

    def test_an_imd_that_does_not_answer(self):
        c = self.cluster(TWO_HOSTS).up()
        pid = c.imd_pid()
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        waiting = [(args, self.start(c, *args)) for args in VERBS]
        for args, process in waiting:
            output = process.communicate(timeout=DEADLINE_S)
            self.assertNotEqual(process.returncode, DONE, args)
            self.assertRegex(output[1], "did not answer in time|ended or went away", args)
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(c.state("a"), "imaginary")

    def test_a_damaged_state_file(self):
        c = self.cluster(TWO_HOSTS).up()
        os.kill(c.imd_pid(), signal.SIGKILL)
        wait_until(lambda: "does not run" in c.im("ps", check=False).stderr, "imd is gone")
        state = c.state_dir / "state.pb"
        whole = state.read_bytes()
        state.write_bytes(whole[:-1])
        result = c.im("up", "-d", str(c.spec), check=False)
        self.assertEqual(result.returncode, FAILED)
        self.assertIn("state.pb is damaged", result.stderr)
        state.write_bytes(whole)
        c.up()


if __name__ == "__main__":
    unittest.main(verbosity=2)
