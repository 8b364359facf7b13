"""im cp, and im logs of several hosts."""

import os
import pty
import re
import subprocess
import unittest

from cluster import BIN, PEER, ClusterTest

TWO_WITH_FILES = f"""
network: {{cidr: 10.77.0.0/24}}
defaults: {{idle: {{after: 10m, release_after: 10m}}, tmpfs: [/mnt]}}
hosts:
  a: {{command: [{PEER}, serve, --echo, "7000"]}}
  b: {{command: [{PEER}, serve, --echo, "7000"]}}
"""


class Copy(ClusterTest):
    def setUp(self):
        self.c = self.cluster(TWO_WITH_FILES).up()
        self.here = self.c.dir / "here"
        (self.here / "tree/deep").mkdir(parents=True)
        (self.here / "tree/deep/file").write_text("deep\n")
        (self.here / "tree/link").symlink_to("deep/file")
        (self.here / "script").write_text("#!/bin/sh\necho it runs\n")
        (self.here / "script").chmod(0o755)
        (self.here / "big").write_bytes(os.urandom(5_000_000))

    def cp(self, *args, check=True):
        return self.c.im("cp", *args, check=check)

    def inside(self, host, *command):
        return self.c.im("exec", host, "--", *command).stdout

    def test_into_a_host_and_out_of_it(self):
        self.assertEqual(self.c.state("a"), "imaginary")
        self.cp(str(self.here / "tree"), "a:/mnt")
        self.assertEqual(self.inside("a", "cat", "/mnt/tree/link"), "deep\n")
        self.cp(str(self.here / "script"), "a:/mnt/renamed")
        self.assertEqual(self.inside("a", "/mnt/renamed"), "it runs\n")
        self.assertFalse(os.path.exists("/mnt/renamed"), "it is the host's own /mnt")
        self.cp(str(self.here / "big"), "a:/mnt/")
        self.cp("a:/mnt/big", str(self.here / "back"))
        self.assertEqual((self.here / "back").read_bytes(), (self.here / "big").read_bytes())
        self.cp("a:/mnt/tree/", str(self.here / "tree-again"))
        self.assertEqual((self.here / "tree-again/deep/file").read_text(), "deep\n")
        self.assertTrue((self.here / "tree-again/link").is_symlink())

    def test_from_one_host_to_another(self):
        self.cp(str(self.here / "script"), "a:/mnt")
        self.cp("a:/mnt/script", "b:/mnt/script")
        self.assertEqual(self.inside("b", "/mnt/script"), "it runs\n")

    def test_a_file_is_replaced_as_a_whole_or_not_at_all(self):
        self.cp(str(self.here / "script"), "a:/mnt/file")
        result = self.cp(str(self.here / "missing"), "a:/mnt/file", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("missing", result.stderr)
        self.assertEqual(self.inside("a", "/mnt/file"), "it runs\n")
        result = self.cp(str(self.here / "script"), "a:/no/such/place", check=False)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.inside("a", "ls", "-A", "/mnt"), "file\n", "nothing else is left")

    def test_bad_words(self):
        for args, word in ((["x", "y"], "HOST:PATH"), (["a:", "y"], "HOST:PATH"), (["a:/", "y"], "name"),
                           (["nobody:/x", "y"], "nobody"), (["x"], "DESTINATION")):
            result = self.cp(*args, check=False)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(word, result.stderr)


class Logs(ClusterTest):
    def test_several_hosts_in_colours_of_their_own(self):
        c = self.cluster("""
network: {cidr: 10.77.0.0/24}
hosts:
  one: {command: [sh, -c, "echo first; exec sleep 1000"], idle: {policy: never}}
  other: {command: [sh, -c, "echo second; exec sleep 1000"], idle: {policy: never}}
""").up()
        c.im("wake", "one", "other")
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        env = dict(c.env, TERM="xterm")
        env.pop("NO_COLOR")
        follow = subprocess.Popen([str(BIN / "im"), "logs", "-f"], env=env, stdin=subprocess.DEVNULL,
                                  stdout=slave, stderr=slave)
        os.close(slave)
        self.addCleanup(follow.wait)
        self.addCleanup(follow.kill)
        text = ""
        while "first" not in text or "second" not in text:
            text += os.read(master, 4096).decode()
        colours = dict(re.findall(r"\x1b\[(\d+)m(one|other) *\x1b\[0m \| ", text))
        self.assertEqual(sorted(colours.values()), ["one", "other"], "each has its colour")
        self.assertEqual(c.im("logs").stdout.splitlines(), ["one   | first", "other | second"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
