#!/usr/bin/env python3
"""The component "programs" as it is installed: installed_programs_test.py BUILD"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = sys.argv.pop(1)
DEADLINE_S = 60


class Installed(unittest.TestCase):
    def test_programs_completions_and_manual_pages(self):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
            prefix = pathlib.Path(made)
            subprocess.run(["cmake", "--install", BUILD, "--component", "programs", "--prefix", made],
                           check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_S)
            for program in "im", "imd", "im-agent", "im-tunnel", "im-up":
                result = subprocess.run([str(prefix / "bin" / program), "--version"], text=True,
                                        stdout=subprocess.PIPE, timeout=DEADLINE_S)
                self.assertEqual(result.returncode, 0, program)
            share = prefix / "share"
            im = prefix / "bin/im"
            for shell, path in (("bash", "bash-completion/completions/im"), ("zsh", "zsh/site-functions/_im"),
                                ("fish", "fish/vendor_completions.d/im.fish")):
                script = subprocess.run([str(im), "completion", shell], text=True, stdout=subprocess.PIPE,
                                        timeout=DEADLINE_S).stdout
                self.assertEqual((share / path).read_text(), script)
            pages = sorted(p.name for p in (share / "man/man1").iterdir())
            help = subprocess.run([str(im), "--help"], text=True, stdout=subprocess.PIPE, timeout=DEADLINE_S).stdout
            for page in pages:
                if page != "im.1":
                    self.assertIn(f"\n  {page[3:-2]} ", help)
            self.assertIn("im-capture.1", pages)
            self.assertNotIn("im-__man.1", pages)
            if shutil.which("man"):
                for page in pages:
                    shown = subprocess.run(["man", "--warnings", "-l", str(share / "man/man1" / page)], text=True,
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                           env=dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="100"),
                                           timeout=DEADLINE_S)
                    self.assertEqual((shown.returncode, shown.stderr), (0, ""), page)
                    self.assertIn("SYNOPSIS", shown.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
