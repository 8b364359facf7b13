"""Examples that take a minute each, and what their documents say: microservices, Spark, Drill. With IM_LONG=1 only."""

import os
import shutil
import sys
import unittest

from cluster import DEADLINE_S, LONG, ClusterTest
from document_case import DocumentCase, add_sessions
from example_cluster import EXAMPLES, ExampleCluster
from examples_test import debian_python_has

SPARK_HOME = next((EXAMPLES.parent / ".cache/spark").glob("lib/python3*/site-packages/pyspark"), None)
DRILL_HOME = EXAMPLES.parent / ".cache/drill"
MICROSERVICES_NEED = ["nginx", "memcached", "redis-server", "wrk", "thrift", "go", "javac", "g++"]
MICROSERVICES_FILES = ["/usr/include/" + header for header in ("thrift/Thrift.h", "boost/version.hpp",
                                                               "hiredis/hiredis.h")]
MICROSERVICES_FILES += ["/usr/share/gocode/src/github.com/" + library for library in ("apache/thrift",
                                                                                      "gomodule/redigo")]
MICROSERVICES_FILES += ["/usr/share/java/thrift.jar"]


def lacking_for_microservices():
    lacking = [program for program in MICROSERVICES_NEED if not shutil.which(program)]
    lacking += [path for path in MICROSERVICES_FILES if not os.path.exists(path)]
    return lacking + ([] if debian_python_has("thrift") else ["python3-thrift"])


class Scripts(ClusterTest):
    """Examples whose `run` does and checks all by itself."""

    def run_example(self, name, *arguments, release_after=None, **environment):
        def hurry(text):
            return text.replace("release_after: 1m", f"release_after: {release_after}") if release_after else text

        c = ExampleCluster(name, hurry)
        c.env.update(environment)
        self.addCleanup(self.assert_nothing_left, c)
        self.addCleanup(c.close)
        code, said = c.run_script(*arguments, timeout=10 * DEADLINE_S)
        self.assertEqual(code, 0, said)
        self.assertNotIn("FAILED", said)
        return said

    @unittest.skipIf(lacking_for_microservices(), f"not installed: {lacking_for_microservices()}")
    def test_microservices_come_with_a_burst_and_leave_after_it(self):
        said = self.run_example("microservices", "--quick", "--compare")
        for line in ("ok: 4 clients: one api is enough", "ok: 64 clients: api-2, api-3 and api-4 came with them",
                     "ok: all hosts have left", "read, 8 at a time, native", "write, 8 at a time, Imaginary Machines"):
            self.assertIn(line, said)

    @unittest.skipUnless(SPARK_HOME, "needs Spark, which examples/spark/get downloads (450 MB)")
    def test_spark_answers_from_nothing_and_sleeps_with_its_heartbeats(self):
        said = self.run_example("spark", "--quick", release_after="15s", SPARK_HOME=str(SPARK_HOME))
        for line in ("ok: from nothing: Q3", "ok: the cluster is paused", "ok: all have left"):
            self.assertIn(line, said)

    @unittest.skipUnless((DRILL_HOME / "done").exists(),
                         "needs Drill, which examples/drill/get downloads (170 MB)")
    def test_drill_answers_from_nothing_from_a_pause_and_anew(self):
        said = self.run_example("drill", release_after="15s", DRILL_HOME=str(DRILL_HOME))
        for line in ("ok: three drillbits have found each other", "ok: from the pause: Q1",
                     "ok: from nothing: Q1", "ok: all have left"):
            self.assertIn(line, said)


class Documents(DocumentCase):
    pass


add_sessions(Documents, long=True)

if __name__ == "__main__":
    if not LONG:
        print("not run: it is one of the long cases (IM_LONG=1)")
        sys.exit(77)
    unittest.main(verbosity=2)
