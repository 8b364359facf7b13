#!/usr/bin/env python3
"""The scripts at the top: package lists, steps, counting of test cases.

apt-get, dpkg-query and the like are stand-ins in a folder of their own, first
in PATH: nothing is installed.
"""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

import count_cases

ROOT = pathlib.Path(__file__).resolve().parent.parent


class CountTest(unittest.TestCase):

    def count(self, *tests):
        suite = "".join(
            f'<testcase name="{name}" status="{status}">{extra}<system-out>{output}</system-out></testcase>'
            for name, status, output, extra in tests)
        return count_cases.count(xml.etree.ElementTree.fromstring(f"<testsuite>{suite}</testsuite>"))

    def test_gtest_output_is_believed(self):
        output = ("[==========] 12 tests from 3 test suites ran. (5 ms total)\n"
                  "[  PASSED  ] 9 tests.\n[  SKIPPED ] 1 test, listed below:\n"
                  "[  FAILED  ] 2 tests, listed below:\n")
        self.assertEqual(self.count(("a", "fail", output, "<failure/>"))[:3], (9, 2, 1))

    def test_unittest_output_is_believed(self):
        output = ("x (A.x) ... skipped 'no tool'\nRan 7 tests in 0.1s\n\n"
                  "FAILED (failures=1, errors=1, skipped=2)\n")
        self.assertEqual(self.count(("a", "fail", output, "<failure/>")), (3, 2, 2, ["a: no tool"]))
        self.assertEqual(self.count(("a", "run", "Ran 4 tests in 0.1s\n\nOK\n", ""))[:3], (4, 0, 0))

    def test_a_silent_program_is_one_case(self):
        self.assertEqual(self.count(("a", "run", "", ""), ("b", "fail", "", "<failure/>"))[:3], (1, 1, 0))

    def test_a_crash_after_good_cases_is_a_failure(self):
        output = "[==========] 5 tests from 1 test suite ran. (1 ms total)\n[  PASSED  ] 5 tests.\n"
        self.assertEqual(self.count(("a", "fail", output, "<failure/>"))[:3], (5, 1, 0))

    def test_what_is_skipped_is_told_with_its_reason(self):
        skipped = ("a", "notrun", "not run: needs root\n", '<skipped message="SKIP_RETURN_CODE=77"/>')
        self.assertEqual(self.count(skipped), (0, 0, 1, ["a: needs root"]))

    def test_gtest_tells_reasons_too(self):
        output = ("[ RUN      ] A.b\n/x/a_test.cc:165: Skipped\nonly root can\n\n[  SKIPPED ] A.b (0 ms)\n"
                  "[==========] 3 tests from 1 test suite ran. (5 ms total)\n"
                  "[  PASSED  ] 2 tests.\n[  SKIPPED ] 1 test, listed below:\n")
        self.assertEqual(self.count(("a", "run", output, "")), (2, 0, 1, ["a: only root can"]))

    def test_a_program_that_is_not_there_is_a_failure(self):
        missing = ("a", "notrun", "", '<skipped message="Unable to find executable"/>')
        self.assertEqual(self.count(missing)[:3], (0, 1, 0))

    def test_failures_are_shown_with_what_stands_around_them(self):
        output = "".join(f"line {i}\n" for i in range(100)) + "x.cc:5: Failure\nwanted 1\n" + \
                 "".join(f"more {i}\n" for i in range(100))
        text = count_cases.excerpt(output)
        self.assertIn("x.cc:5: Failure\n  wanted 1", text)
        self.assertIn("more 99", text)
        self.assertNotIn("line 50", text)


class ScriptTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "bin").mkdir()
        # sudo is not asked, whoever runs this test.
        self.tool("sudo", 'exec "$@"')
        self.tool("id", '[ "$*" = -u ] && echo 0 || exec /usr/bin/id "$@"')

    def tool(self, name, script):
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def packages(self, installed, available):
        """Stand-ins that know these packages; apt-get writes what it is asked."""
        self.tool("dpkg-query", "\n".join(f"echo -n 'installed {p} '" for p in installed))
        self.tool("apt-cache", "case $2 in\n" + "\n".join(
            f"{p}) echo '  Candidate: 1' ;;" for p in available) + "\n*) echo '  Candidate: (none)' ;;\nesac")
        self.tool("apt-get", f'echo "$@" >> {self.folder}/asked')

    def asked(self):
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def bash(self, script, **variables):
        return subprocess.run(
            ["bash", "-c", f"set -u; cd {ROOT}; . scripts/steps.sh; . scripts/debian.sh; . scripts/report.sh\n"
             f"IM_LOGS={self.folder}; POLICY={self.folder}/policy-rc.d\n{script}"],
            env=dict(os.environ, PATH=f"{self.folder}/bin:{os.environ['PATH']}") | variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def test_every_script_parses(self):
        for path in [ROOT / "setup", ROOT / "run", ROOT / "test", ROOT / ".ci/run",
                     *ROOT.glob("scripts/*.sh"), *ROOT.glob("tests/**/*.sh")]:
            with self.subTest(path=path.name):
                self.assertEqual(subprocess.run(["bash", "-n", path]).returncode, 0)

    def test_nothing_missing_asks_nothing(self):
        self.packages(installed=["a", "c"], available=["a", "b", "c"])
        done = self.bash("install_packages a 'b|c'; echo done")
        self.assertEqual(done.stdout, "done\n")
        self.assertEqual(self.asked(), [])

    def test_the_first_alternative_that_is_there_is_taken(self):
        self.packages(installed=["a"], available=["a", "new"])
        done = self.bash("install_packages a 'old|new' '?nowhere'")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual([line.split()[-1] for line in self.asked()], ["new"])
        self.assertIn("install", self.asked()[0])

    def test_a_package_that_is_nowhere_is_named(self):
        self.packages(installed=[], available=["a"])
        done = self.bash("install_packages a nowhere; echo not reached")
        self.assertNotIn("not reached", done.stdout)
        self.assertIn("package lists: nowhere", done.stdout)
        self.assertEqual(self.asked(), ["update -q"])  # looked once more, installed nothing

    def test_a_failing_installation_is_tried_again_with_new_lists(self):
        self.packages(installed=[], available=["a"])
        self.tool("apt-get", f'echo "$@" >> {self.folder}/asked; [ "$1" = update ] || exit 100')
        done = self.bash("install_packages a; echo not reached")
        self.assertEqual([line.split()[0] for line in self.asked()], ["install", "update", "install"])
        self.assertIn("could not install: a", done.stdout)
        self.assertNotIn("not reached", done.stdout)
        self.assertFalse((self.folder / "policy-rc.d").exists())

    def test_what_is_not_needed_keeps_nothing_from_going_on(self):
        self.packages(installed=["a"], available=["a", "b", "fast"])
        self.tool("apt-get", f'echo "$@" >> {self.folder}/asked; case "$*" in *fast*) exit 100 ;; esac')
        done = self.bash("install_packages a '?fast'; echo reached; install_packages a b '?fast'; echo reached")
        self.assertEqual(done.stdout.count("reached"), 2, done.stdout)
        self.assertEqual(self.asked()[-1].split()[-1], "b")
        self.as_user("exit 1")  # nor is root asked for
        self.assertIn("Going on without", self.bash("install_packages a '?fast'").stdout)

    def test_new_services_are_not_started_and_known_ones_are_left_alone(self):
        self.packages(installed=[], available=["a"])
        self.tool("apt-get", f"""
            {self.folder}/policy-rc.d nginx.service start; echo "new $?" >> {self.folder}/asked
            {self.folder}/policy-rc.d --quiet ssh restart 2; echo "known $?" >> {self.folder}/asked""")
        done = self.bash("service_names() { echo ssh; }; install_packages a")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.asked(), ["new 101", "known 0"])
        self.assertFalse((self.folder / "policy-rc.d").exists())

    def test_a_policy_of_the_machines_own_stays(self):
        self.packages(installed=[], available=["a"])
        (self.folder / "policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        self.bash("install_packages a")
        self.assertEqual((self.folder / "policy-rc.d").read_text(), "#!/bin/sh\nexit 101\n")

    def as_user(self, sudo):
        self.tool("id", '[ "$*" = -u ] && echo 1000 || echo dev')
        self.tool("sudo", sudo)

    def test_without_sudo_a_user_is_told_so(self):
        self.as_user("exit 1")
        (self.folder / "bin/sudo").unlink()
        for name in ["dirname", "mkdir", "bash"]:
            (self.folder / "bin" / name).symlink_to(shutil.which(name))
        done = self.bash("need_root 'do it'; echo not reached", PATH=f"{self.folder}/bin")
        self.assertIn("Root is needed to do it, and there is no sudo here.", done.stdout)
        self.assertIn("adduser dev sudo", done.stdout)
        self.assertNotIn("not reached", done.stdout)

    def test_a_password_that_cannot_be_typed_is_said(self):
        self.as_user("exit 1")
        done = self.bash("need_root 'do it'; echo not reached")
        self.assertIn("sudo asks for a password, which cannot be typed here", done.stdout)
        self.assertNotIn("not reached", done.stdout)

    def test_packages_are_named_before_sudo_is_asked(self):
        self.packages(installed=[], available=["a"])
        self.as_user("exit 1")
        done = self.bash("install_packages a; echo not reached")
        self.assertRegex(done.stdout, "(?s)To be installed with apt-get: a.*Root is needed to install packages")
        self.assertEqual(self.asked(), [])

    def test_sudo_is_kept_fresh_and_asked_once(self):
        self.as_user(f'printf "%s\\n" "$*" >> {self.folder}/sudo; [ "$1" != -n ] || shift; [ "$1" = true ]')
        done = self.bash("need_root 'do it'; need_root 'do more'; kill $SUDO_REFRESH && echo kept")
        self.assertEqual(done.stdout, "kept\n")
        self.assertEqual((self.folder / "sudo").read_text(), "-n true\n" * 2)

    def test_what_did_not_run_is_told_by_its_reason(self):
        clusters = "FAILED=0; NOT_RUN=('e2e_a: needs root; x: y' 'unit: no tool' 'e2e_b: needs root; x: y')"
        done = self.bash(f"{clusters}; tell_not_run; echo failed $FAILED", CI="")
        self.assertIn("NOT EVERYTHING WAS TESTED", done.stdout)
        self.assertIn("  e2e_a, e2e_b\n    because: needs root; x: y\n  unit\n    because: no tool\n", done.stdout)
        self.assertIn("whole clusters", done.stdout)
        self.assertIn("failed 0", done.stdout)
        self.assertIn("failed 1", self.bash(f"{clusters}; tell_not_run; echo failed $FAILED", CI="true").stdout)

    def test_when_all_ran_nothing_is_told(self):
        self.assertEqual(self.bash("NOT_RUN=(); tell_not_run").stdout, "")

    def test_package_files_may_have_comments(self):
        (self.folder / "packages").write_text("# all\na|b  # why\n\n ?c\n")
        done = self.bash(f"read_packages {self.folder}/packages; printf '<%s>' \"${{ENTRIES[@]}}\"")
        self.assertEqual(done.stdout, "<a|b><?c>")

    def test_a_package_is_left_out_where_its_program_is_there_already(self):
        (self.folder / "packages").write_text("a\n?npm!npm\n?b!no-such-program\n")
        self.tool("npm", "true")
        done = self.bash(f"read_packages {self.folder}/packages; printf '<%s>' \"${{ENTRIES[@]}}\"")
        self.assertEqual(done.stdout, "<a><?b>")

    def test_a_step_that_fails_shows_the_end_of_its_log(self):
        done = self.bash(f"step 'Doing it' {self.folder}/log sh -c 'echo the reason; exit 3'; echo status $?")
        self.assertIn("Doing it: FAILED", done.stdout)
        self.assertIn("the reason", done.stdout)
        self.assertIn("status 3", done.stdout)

    def test_a_quick_step_is_silent(self):
        done = self.bash(f"step 'Doing it' {self.folder}/log true")
        self.assertEqual((done.stdout, done.returncode), ("", 0))

    def fuzz(self, script):
        (self.folder / "tests/corpus/x_fuzz").mkdir(parents=True)
        self.tool("x_fuzz", script)
        return subprocess.run([ROOT / "scripts/fuzz_target.sh", "bin/x_fuzz", "3"], cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def test_a_fuzz_target_gets_its_seeds(self):
        done = self.fuzz("echo $*")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        told = (self.folder / "build-fuzz/x_fuzz.log").read_text()
        self.assertIn("-max_total_time=3 ", told)
        self.assertIn(" build-fuzz/corpus/x_fuzz tests/corpus/x_fuzz\n", told)
        self.assertFalse((self.folder / "build-fuzz/x_fuzz.failed").exists())

    def test_a_fuzz_target_that_finds_something_shows_it(self):
        done = self.fuzz("echo heap-buffer-overflow; exit 77")
        self.assertEqual(done.returncode, 1)
        self.assertIn("heap-buffer-overflow", done.stdout)
        self.assertTrue((self.folder / "build-fuzz/x_fuzz.failed").exists())

    def test_run_without_a_cluster_says_how(self):
        done = subprocess.run([ROOT / "run"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("./run CLUSTER.YAML", done.stderr)

    def test_run_names_a_file_that_is_not_there(self):
        done = subprocess.run([ROOT / "run", "nowhere.yaml"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere.yaml", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
