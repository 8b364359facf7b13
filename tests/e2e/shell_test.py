"""What surrounds the command line: doctor, completion."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from cluster import BIN, DEADLINE_S, NOBODY, TWO_HOSTS, ClusterTest

TUN, NETSTACK_ONLY = 0, 5


class Doctor(unittest.TestCase):
    def test_what_root_may(self):
        result = subprocess.run([str(BIN / "im"), "doctor", "--json"], text=True, stdout=subprocess.PIPE,
                                timeout=DEADLINE_S)
        report = json.loads(result.stdout)
        self.assertEqual(result.returncode, TUN, "these tests would not run elsewhere")
        self.assertTrue(report["tun"])
        for finding in report["findings"]:
            self.assertEqual(set(finding), {"name", "state", "found", "costs", "remedy"})
            self.assertIn(finding["state"], ("ok", "lacking", "missing", "unknown", "info"))
            self.assertTrue(finding["found"])
            if finding["state"] in ("lacking", "missing"):
                self.assertTrue(finding["costs"] and finding["remedy"], finding)

    def test_what_a_user_may(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
            os.chmod(made, 0o755)
            im = shutil.copy(BIN / "im", made)
            result = subprocess.run([im, "doctor"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", timeout=DEADLINE_S)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.returncode, NETSTACK_ONLY, result.stdout)
        self.assertIn("attach: netstack", result.stdout.splitlines()[-1])
        self.assertRegex(result.stdout, r"TUN devices +missing")
        self.assertIn("to do: run im with sudo", result.stdout)

    def test_nothing_is_left_of_it(self):
        def groups():
            return [p for p in pathlib.Path("/sys/fs/cgroup").glob("**/im-doctor-*")]
        subprocess.run([str(BIN / "im"), "doctor"], stdout=subprocess.DEVNULL, check=True, timeout=DEADLINE_S)
        self.assertEqual(groups(), [])


def bash_offers(line, env):
    """What bash would offer behind `line`, by the functions that completion uses."""
    script = f"""
source <("{BIN}/im" completion bash)
COMP_LINE=$1 COMP_POINT=${{#1}}
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
compopt() {{ echo "compopt $*"; }}
_im
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p im
"""
    result = subprocess.run(["bash", "--norc", "-c", script, "bash", line], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=dict(env, PATH=f"{BIN}:{env['PATH']}"), timeout=DEADLINE_S)
    assert result.returncode == 0 and not result.stderr, result.stderr
    lines = [text for text in result.stdout.splitlines() if text]
    assert lines[-1] == "complete -F _im im", lines
    return lines[:-1]


class Completion(ClusterTest):
    def test_bash(self):
        c = self.cluster(TWO_HOSTS).up()
        self.assertIn("ps", bash_offers("im ", c.env))
        self.assertEqual(bash_offers("im wa", c.env), ["wake", "wait"])
        self.assertEqual(bash_offers("im why ", c.env), ["a", "b"])
        self.assertEqual(bash_offers("im exec b", c.env), ["b"])
        self.assertEqual(bash_offers("im logs -f a b", c.env), ["b"])
        self.assertIn("--follow", bash_offers("im events --", c.env))
        self.assertEqual(bash_offers("im wait a --state ru", c.env), ["running"])
        self.assertEqual(bash_offers("im -c ", dict(c.env, IM_CLUSTER="")), [c.name])
        self.assertEqual(bash_offers("im up ", c.env), ["compopt -o default"])
        self.assertEqual(bash_offers("im run -- l", c.env), ["compopt -o default"])
        c.im("down")
        self.assertEqual(bash_offers("im why ", c.env), [], "and no complaint")

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self):
        c = self.cluster(TWO_HOSTS).up()
        script = f"""
_describe() {{ eval 'print -l -- "${{'$4'[@]}}"'; }}
compdef() {{ print "compdef $*"; }}
source <("{BIN}/im" completion zsh)
words=({BIN}/im why "") CURRENT=3
_im
"""
        result = subprocess.run(["zsh", "-f", "-c", script], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=c.env, timeout=DEADLINE_S)
        self.assertEqual((result.stdout.splitlines(), result.stderr), (["compdef _im im", "a", "b"], ""))

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish(self):
        c = self.cluster(TWO_HOSTS).up()
        env = dict(c.env, PATH=f"{BIN}:{c.env['PATH']}", HOME=str(c.dir))

        def offers(line):
            return subprocess.run(["fish", "--no-config", "-c", f"im completion fish | source; complete -C '{line}'"],
                                  text=True, stdout=subprocess.PIPE, env=env, timeout=DEADLINE_S).stdout.splitlines()
        self.assertEqual(offers("im why "), ["a", "b"])
        self.assertTrue(offers("im wa")[0].startswith("wait\t") or offers("im wa")[0].startswith("wake\t"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
