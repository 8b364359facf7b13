"""im-bench: every scenario works and says what it measured. No timing is asserted."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from cluster import BIN, DEADLINE_S


class Bench(unittest.TestCase):
    def test_quick_run_of_all_scenarios(self):
        with tempfile.TemporaryDirectory() as directory:
            report = pathlib.Path(directory) / "report.json"
            subprocess.run([str(BIN / "im-bench"), "run", "--quick", "--json", str(report)], check=True,
                           timeout=4 * DEADLINE_S)
            results = json.loads(report.read_text())["results"]
        self.assertEqual({r["scenario"] for r in results}, {"tcp_stream", "cold_start", "thaw",
                                                             "tunnel", "hub", "netstack"})
        for result in results:
            self.assertGreater(result["min"], 0, result)
            self.assertLessEqual(result["min"], result["median"])
            self.assertLessEqual(result["median"], result["max"])
            self.assertIn(result["samples"], (1, 2))

    def test_an_unknown_scenario_is_named(self):
        result = subprocess.run([str(BIN / "im-bench"), "run", "nonsense"], stderr=subprocess.PIPE,
                                text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("nonsense", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
