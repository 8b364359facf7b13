#!/usr/bin/env python3
"""Each rule of check_layout.py finds what it is for, and nothing else."""

import pathlib
import tempfile
import unittest

import check_headers
import check_layout


class LayoutTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def rules_broken(self):
        return [(b.path, b.rule) for b in check_layout.check(self.root)]

    def including(self, path, name):
        self.write(path, f"#include <vector>\n{name}\n")
        return self.rules_broken()

    def test_a_clean_tree_breaks_nothing(self):
        self.write("base/x.cc", '#include "base/y.h"\nint x;\n')
        self.write("tunnel/x.cc", '#include "base/y.h"\n#include "tunnel/x.h"\n')
        self.write("orchestrator/agent/x.cc", '#include "tunnel/x.h"\n#include "proto/agent.pb.h"\n')
        self.write("orchestrator/x.cc", '#include "netstack/net.h"\n#include "proto/api.grpc.pb.h"\n')
        self.write("orchestrator/cli/x.cc", '#include "orchestrator/spec/x.h"\n')
        self.write("tests/x.cc", '#include "orchestrator/agent/x.h"\n')
        self.write("base/x.h", "// What it is.\n\n#ifndef IM_BASE_X_H_\n#define IM_BASE_X_H_\n#endif\n")
        self.assertEqual(self.rules_broken(), [])

    def test_forbidden_directions(self):
        for path, name in [
                ("base/a.cc", "tunnel/device.h"),
                ("base/a.h.cc", "netstack/net.h"),
                ("tunnel/a.cc", "netstack/net.h"),
                ("tunnel/a.cc", "proto/agent.pb.h"),
                ("tunnel/a.cc", "orchestrator/host.h"),
                ("netstack/a.cc", "tunnel/device.h"),
                ("netstack/lwip/a.c", "tunnel/device.h"),
                ("orchestrator/agent/a.cc", "orchestrator/host.h"),
                ("orchestrator/agent/a.cc", "orchestrator/spec/x.h"),
                ("orchestrator/a.cc", "orchestrator/agent/agent.h"),
                ("orchestrator/providers/a.cc", "orchestrator/agent/agent.h"),
                ("orchestrator/a.cc", "orchestrator/cli/verb.h"),
                ("orchestrator/a.cc", "tests/x.h"),
                ("base/a.cc", "bench/x.h"),
                ("netstack/a.cc", "examples/embed/x.h"),
                ("examples/embed/a.cc", "orchestrator/host.h"),
        ]:
            with self.subTest(path=path, name=name):
                self.assertEqual(self.including(path, f'#include "{name}"'), [(path, "direction")])
                (self.root / path).unlink()

    def test_the_agent_stays_small(self):
        for name in ['<grpcpp/grpcpp.h>', '"proto/agent.grpc.pb.h"', '"proto/api.pb.h"',
                     '<google/protobuf/text_format.h>']:
            with self.subTest(name=name):
                self.assertEqual(self.including("orchestrator/agent/a.cc", f"#include {name}"),
                                 [("orchestrator/agent/a.cc", "agent")])

    def test_long_files(self):
        self.write("base/long.cc", "\n" * check_layout.LINES_MAX)
        self.assertEqual(self.rules_broken(), [])
        self.write("base/long.cc", "\n" * (check_layout.LINES_MAX + 1))
        self.assertEqual(self.rules_broken(), [("base/long.cc", "size")])

    def test_unfinished_work(self):
        for word in ("TO" + "DO", "FIX" + "ME"):
            with self.subTest(word=word):
                self.write("docs/a.md", f"Fine.\n{word}: more\n")
                self.assertEqual(self.rules_broken(), [("docs/a.md", "finished")])

    def test_sleeping_tests(self):
        for call in ("std::this_thread::sleep_for(x)", "usleep(5)", "sleep (1)", "absl::SleepFor(d)"):
            with self.subTest(call=call):
                self.write("base/a_test.cc", f"void F() {{ {call}; }}\n")
                self.assertEqual(self.rules_broken(), [("base/a_test.cc", "sleep")])
        self.write("base/a_test.cc", "// no sleep() here\nvoid asleep();\n")
        self.assertEqual(self.rules_broken(), [])

    def test_tests_that_run_nothing(self):
        self.write("tests/e2e/a_test.py", "import unittest\n\n\nclass A(unittest.TestCase):\n    pass\n")
        self.assertEqual(self.rules_broken(), [("tests/e2e/a_test.py", "main")])
        main = 'import unittest\n\nif __name__ == "__main__":\n    unittest.main(verbosity=2)\n'
        self.write("tests/e2e/a_test.py", main)
        self.assertEqual(self.rules_broken(), [])
        self.write("tests/e2e/a_test.py", main.replace("verbosity=2", ""))
        self.assertEqual(self.rules_broken(), [("tests/e2e/a_test.py", "main")])

    def test_wrong_guards(self):
        self.write("tunnel/peer.h", "#ifndef IM_PEER_H\n#define IM_PEER_H\n#endif\n")
        self.assertEqual(self.rules_broken(), [("tunnel/peer.h", "guard")])

    def test_what_builds_leave_is_not_looked_at(self):
        for folder in ("build", "build-asan", ".cache", "tests/__pycache__", "examples/a/build"):
            self.write(f"{folder}/a.cc", "// TO" + "DO\n")
        self.assertEqual(self.rules_broken(), [])
        self.write("base/build/a.cc", "// TO" + "DO\n")
        self.assertEqual(self.rules_broken(), [("base/build/a.cc", "finished")])

    def test_a_header_that_leans_on_others_is_found(self):
        self.write("base/good.h", "#include <vector>\ninline std::vector<int> F() { return {}; }\n")
        self.write("base/bad.h", "inline std::vector<int> F() { return {}; }\n")
        self.assertEqual(check_headers.compile_alone(self.root, "base/good.h", ["c++", "-std=c++20"])[1], 0)
        self.assertNotEqual(check_headers.compile_alone(self.root, "base/bad.h", ["c++", "-std=c++20"])[1], 0)

    def test_breaches_name_file_and_line(self):
        self.write("base/a.cc", '\n#include "tunnel/device.h"\n')
        self.assertEqual(str(check_layout.check(self.root)[0]),
                         "base/a.cc:2: direction: base/ must not include tunnel/ (tunnel/device.h)")


if __name__ == "__main__":
    unittest.main(verbosity=2)
