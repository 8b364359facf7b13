"""The examples, as they are, on real programs."""

import os
import pathlib
import re
import subprocess
import unittest
import urllib.request

from cluster import DEADLINE_S, ClusterTest, find_criu
from example_cluster import EXAMPLES, ExampleCluster

POSTGRES_BIN = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))), None)
ZK_CLIENT = "/usr/share/zookeeper/bin/zkCli.sh"


class Quickstart(ClusterTest):
    def get(self):
        with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=DEADLINE_S) as answer:
            self.assertEqual(answer.status, 200)
            return int(re.search(r"visitor (\d+)", answer.read().decode()).group(1))

    def test_one_request_starts_all_three_by_their_own_packets(self):
        def hurry(text):
            changed = text.replace("{after: 5s, release_after: 15s}", "{after: 1s, release_after: 1s}")
            self.assertNotEqual(changed, text)
            return changed

        c = ExampleCluster("quickstart", hurry)
        self.addCleanup(self.assert_nothing_left, c)
        self.addCleanup(c.close)
        c.up_in_front()
        self.assertEqual({h["state"] for h in c.ps().values()}, {"imaginary"})
        first = self.get()
        self.assertEqual(self.get(), first + 1)
        for host in ("web", "app", "db"):
            c.wait_state(host, "paused")
        self.assertEqual(self.get(), first + 2)
        for round in range(2):
            for host in ("web", "app", "db"):
                c.wait_state(host, "imaginary")
            self.assertEqual(self.get(), first + 3 + round)
        lines = "\n".join(c.front_lines)
        for pattern in (r"web +imaginary (→|->) starting +.*127\.0\.0\.1:8080",
                        r"app +imaginary (→|->) starting +SYN from web:\d+ to :8000",
                        r"db +imaginary (→|->) starting +SYN from app:\d+ to :6379",
                        r"db +running (→|->) paused"):
            self.assertRegex(lines, pattern)


def debian_python_has(module):
    """Hosts run the system's Python, which need not be ours."""
    return subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], stderr=subprocess.DEVNULL).returncode == 0


@unittest.skipUnless(POSTGRES_BIN and debian_python_has("psycopg2"), "not installed: postgresql, python3-psycopg2")
class Database(ClusterTest):
    CONNECTIONS = 50

    def visit(self):
        with urllib.request.urlopen("http://127.0.0.1:8081/", timeout=DEADLINE_S) as answer:
            told = re.fullmatch(r"Hello, visitor (\d+); (\d+) connections were made so far\.\n",
                                answer.read().decode())
        return tuple(map(int, told.groups()))

    def database(self, **environment):
        def hurry(text):
            changed = text.replace("{after: 5s,", "{after: 1s,")
            self.assertNotEqual(changed, text)
            return changed

        c = ExampleCluster("database", hurry)
        c.env.update(environment)
        self.addCleanup(self.assert_nothing_left, c)
        self.addCleanup(c.close)
        return c

    def test_a_pool_of_open_connections_outlasts_pauses_and_the_data_a_release(self):
        c = self.database()
        c.up()
        for visitor in 1, 2, 3:
            self.assertEqual(self.visit(), (visitor, self.CONNECTIONS))
            for host in "app", "db":
                c.wait_state(host, "paused")
        bench = (f"{POSTGRES_BIN}/pgbench", "-h", "db", "-U", "postgres")
        c.im("run", "--", *bench, "-i", "-q", "postgres")
        said = c.im("run", "--", *bench, "-c", "4", "-t", "25", "postgres").stdout
        self.assertIn("number of failed transactions: 0 ", said)
        self.assertEqual(self.visit(), (4, self.CONNECTIONS))
        c.im("release", "app", "db")
        self.assertEqual(self.visit(), (5, self.CONNECTIONS))  # the application is a new one, too

    @unittest.skipUnless(find_criu(), "there is no CRIU (scripts/criu)")
    def test_the_pool_outlasts_the_disk(self):
        c = self.database(IM_CRIU=find_criu(), ON_RELEASE="checkpoint", RELEASE_AFTER="1s")
        c.up()
        for visitor in 1, 2, 3:
            self.assertEqual(self.visit(), (visitor, self.CONNECTIONS))
            for host in "app", "db":
                c.wait_state(host, "checkpointed")

    def test_its_script_does_and_checks_all_of_it(self):
        criu = find_criu()
        code, said = self.database(**({"IM_CRIU": criu} if criu else {})).run_script(timeout=3 * DEADLINE_S)
        self.assertEqual(code, 0, said)
        lines = ["both are paused, with 50 open connections", "pgbench: ", "both are released", "started anew"]
        lines += ["both are on disk", "restored", "the 50 connections are still the same"] if criu else []
        for line in lines:
            self.assertIn("ok: " + line, said)
        self.assertEqual("left out: on_release: checkpoint" in said, not criu)


class ZooKeeper(ClusterTest):
    @unittest.skipUnless(os.path.exists(ZK_CLIENT), "Debian's zookeeper is not installed")
    def test_a_client_wakes_one_server_and_with_it_its_group(self):
        c = ExampleCluster("zookeeper")
        self.addCleanup(self.assert_nothing_left, c)
        self.addCleanup(c.close)
        c.up()
        self.assertEqual({h["state"] for h in c.ps().values()}, {"imaginary"})
        made = c.im("run", "--", ZK_CLIENT, "-waitforconnection", "-server", "zk-1:2181", "create",
                    "/a", "b", timeout=3 * DEADLINE_S)
        self.assertIn("Created /a", made.stdout + made.stderr)
        read = c.im("run", "--", ZK_CLIENT, "-waitforconnection", "-server", "zk-3:2181", "get", "/a",
                    timeout=3 * DEADLINE_S)
        self.assertIn("\nb\n", read.stdout)
        causes = {name: host["cause_text"] for name, host in c.ps().items()}
        self.assertEqual((causes["zk-2"], causes["zk-3"]), ("group zk-1", "group zk-1"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
