"""The sanitizer of this build reports faults, with the suppressions that the
tests run with: canary_test.py IM_CANARY address,undefined|thread.
"""

import os
import subprocess
import sys
import unittest

CANARY, SANITIZERS = sys.argv[1], sys.argv[2].split(",")
FAULTS = {
    "thread": {"race_in_plain_field": "data race", "race_in_map": "data race",
               "race_in_handler": "data race"},
    "address": {"overflow": "heap-buffer-overflow", "leak": "detected memory leaks"},
    "undefined": {"undefined": "signed integer overflow"},
}


def run(fault):
    # Not among the reports of what was not on purpose.
    options = {name: os.environ.get(name, "") + ":log_path=stderr:halt_on_error=1"
               for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")}
    return subprocess.run([CANARY, fault], env={**os.environ, **options}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Canary(unittest.TestCase):
    def test_each_fault_is_reported(self):
        for sanitizer in SANITIZERS:
            for fault, report in FAULTS[sanitizer].items():
                with self.subTest(fault):
                    result = run(fault)
                    self.assertIn(report, result.stderr)
                    self.assertNotEqual(result.returncode, 0)

    def test_nothing_is_reported_without_a_fault(self):
        result = run("none")
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
