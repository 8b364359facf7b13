"""Users: what the one who brought a cluster up with sudo may do without, and
hosts whose programs run as somebody else."""

import os
import shutil
import subprocess
import unittest

from cluster import BIN, DEADLINE_S, PEER, ClusterTest, wait_until

# Users that need not exist.
OWNER, STRANGER = 64321, 64322
NOT_PERMITTED = 4

SPEC = f"""
network: {{cidr: 10.77.0.0/24}}
hosts:
  db: {{command: [{PEER}, serve, --echo, "7000"]}}
"""


class HostUserTest(ClusterTest):

    def test_a_program_works_in_a_folder_that_its_user_cannot_walk_to(self):
        # As below a home of mode 0700, Debian's default.
        c = self.cluster("""
network: {cidr: 10.77.0.0/24}
hosts:
  reader:
    user: nobody
    working_dir: inside
    command: [sh, -c, 'id -un; cat note; exec sleep 1000']
""")
        self.assertEqual(c.dir.stat().st_mode & 0o777, 0o700)
        (c.dir / "inside").mkdir(0o755)
        (c.dir / "inside/note").write_text("read by its user\n")
        c.up().im("wake", "reader")
        wait_until(lambda: c.im("logs", "reader").stdout == "nobody\nread by its user\n",
                   "the program reads a file beside it")


class SudoTest(ClusterTest):

    def setUp(self):
        self.shop = self.cluster(SPEC)
        # The build folder may be where others cannot look.
        self.im = self.shop.dir / "im"
        for name in "im", "im-agent":
            shutil.copy(BIN / name, self.shop.dir / name)
        os.chmod(self.shop.dir, 0o711)
        os.chmod(self.shop.spec, 0o644)

    def bring_up(self):
        self.shop.env["SUDO_UID"] = str(OWNER)
        self.shop.up()

    def as_user(self, user, *args):
        return subprocess.run([str(self.im), *args], env=self.shop.env, text=True, user=user,
                              group=user, extra_groups=[], cwd="/", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE_S)

    def assert_refused(self, result, reason):
        self.assertIn(reason, result.stderr)
        self.assertIn("sudo", result.stderr)
        self.assertEqual((result.returncode, result.stdout), (NOT_PERMITTED, ""))

    def test_who_brought_it_up_steers_it(self):
        self.bring_up()
        for command in [["wake", "db"], ["ps"], ["why", "db"], ["events"], ["suspend", "db"],
                        ["release", "db"], ["down"]]:
            with self.subTest(command=command[0]):
                result = self.as_user(OWNER, *command)
                self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_what_reaches_into_hosts_says_that_it_needs_root(self):
        self.bring_up()
        for command in [["run", "--attach", "tun", "--", "true"],
                        ["exec", "db", "--", "true"], ["logs", "db"]]:
            with self.subTest(command=command[0]):
                self.assert_refused(self.as_user(OWNER, *command), "root")
        self.assertEqual(self.shop.state("db"), "imaginary")  # nothing was started for it

    def test_a_program_of_theirs_joins_the_network(self):
        self.bring_up()
        result = self.as_user(OWNER, "run", "--", "getent", "ahosts", "db")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("10.", result.stdout)

    def test_another_user_is_told_whose_it_is(self):
        self.bring_up()
        self.assert_refused(self.as_user(STRANGER, "ps"), "was brought up by another user")
        again = self.as_user(STRANGER, "up", "-d", str(self.shop.spec))
        self.assertEqual(again.returncode, 3)
        self.assertIn("runs already", again.stderr)

    def test_a_user_cannot_bring_up_what_needs_namespaces(self):
        self.shop.spec.write_text(self.shop.spec.read_text().replace("{command", "{attach: tun, command"))
        self.assert_refused(self.as_user(OWNER, "up", "-d", str(self.shop.spec)),
                            "only root may make")

    def test_nothing_else_in_its_directory_is_open(self):
        self.bring_up()
        modes = {path.name: path.stat().st_mode & 0o777 for path in self.shop.state_dir.iterdir()}
        self.assertEqual({name: mode for name, mode in modes.items() if mode & 0o077}, {})
        owned = [path.name for path in self.shop.state_dir.iterdir() if path.stat().st_uid == OWNER]
        self.assertEqual(sorted(owned), ["api.sock", "metrics.sock"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
