"""healthcheck and the conditions of depends_on, from a Compose file."""

import os
import signal
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

from cluster import ClusterTest, wait_until
from compose_cluster import ComposeCluster

# Each program writes what it does into one file, in the order in which it is done. `db` listens when
# it was tested twice, and its test succeeds at the third time after that.
DB = """
import os, socket, sys
order = open("order", "a", buffering=1)
print("db begins", file=order)
tests = os.open("tests", os.O_RDWR)  # a fifo: a byte for each test, and never its end
for _ in range(2): os.read(tests, 1)
listener = socket.create_server(("", 5432))
print("db listens", file=order)
for _ in range(3): os.read(tests, 1)
print("db is healthy", file=order)
open("healthy", "w").close()
while True:
    client, address = listener.accept()
    client.sendall(b"row\\n")
    client.close()
"""
CLIENT = """
import http.server, os, socket, sys
name = sys.argv[1]
def say(what):
    with open("order", "a") as order: print(name, what, file=order)
say("begins")
def ask():
    with socket.create_connection(("db", 5432)) as db: return db.makefile().readline().strip()
if name == "migrate":
    say("got " + ask())
    sys.exit(int(os.environ.get("CODE", 0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(ask().encode())
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
# Is healthy when it has called its fellow and was called by it.
MEMBER = """
import socket, sys
listener = socket.create_server(("", 7000))
socket.create_connection((sys.argv[2], 7000))
listener.accept()
open(sys.argv[1] + ".healthy", "w").close()
while True: listener.accept()
"""
ENSEMBLE = """
defaults: {working_dir: %(here)s, healthcheck: {test: test -e $$HOSTNAME.healthy, start_interval: 20ms}}
hosts:
  a: {command: [python3, member.py, a, b]}
  b: {command: [python3, member.py, b, a]}
"""
COMPOSE = """
x-here: &here {working_dir: %(here)s, stop_grace_period: 1s}
services:
  web:
    <<: *here
    command: [python3, client.py, web]
    ports: ["127.0.0.1:18080:8080"]
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  migrate:
    <<: *here
    command: [python3, client.py, migrate]
    environment: {CODE: "%(code)s"}
    depends_on: {db: {condition: service_healthy}}
  db:
    <<: *here
    command: [python3, db.py]
    healthcheck: {test: 'echo -n . > tests; test -e healthy || { echo not yet; exit 1; }', start_interval: 20ms, %(check)s}
"""


class Readiness(ClusterTest):
    def compose(self, code=0, check="timeout: 20s"):
        cluster = self.ends_with_test(ComposeCluster(""))
        home = cluster.spec.parent
        cluster.spec.write_text(COMPOSE % {"here": home, "code": code, "check": check})
        (home / "db.py").write_text(DB)
        (home / "client.py").write_text(CLIENT)
        os.mkfifo(home / "tests")
        self.order = home / "order"
        return cluster

    def said(self):
        return self.order.read_text().splitlines() if self.order.exists() else []

    def get(self):
        return urllib.request.urlopen("http://127.0.0.1:18080/", timeout=60).read().decode()

    def test_who_needs_others_is_started_after_them(self):
        cluster = self.compose()
        up = cluster.im("up", "-d", str(cluster.spec))
        self.assertNotIn("warning", up.stderr)
        self.assertEqual(self.said(), [], "nobody has called yet")
        self.assertEqual(self.get(), "row")
        first = ["db begins", "db listens", "db is healthy", "migrate begins", "migrate got row", "web begins"]
        self.assertEqual(self.said(), first)
        events = cluster.im("events").stdout
        self.assertRegex(events, r"web .*waits: it needs db to be up")
        self.assertRegex(events, r"migrate .*waits: it needs db to be up")

        # The job is not run again, whoever starts anew, nor under another imd.
        cluster.release("web")
        cluster.wait_state("web", "imaginary")
        os.kill(cluster.imd_pid(), signal.SIGKILL)
        wait_until(lambda: cluster.im("ps", check=False).returncode == 3, "imd is dead")
        cluster.im("up", "-d", str(cluster.spec))
        self.assertEqual(self.get(), "row")
        self.assertEqual(self.said(), first + ["web begins"])
        self.assertEqual(cluster.ps()["migrate"]["state"], "imaginary")

        # After `im down` it is.
        cluster.im("down")
        (self.order.parent / "healthy").unlink()
        cluster.im("up", "-d", str(cluster.spec))
        self.assertEqual(self.get(), "row")
        self.assertEqual(self.said(), first + ["web begins"] + first)

    def test_members_that_need_each_other_to_be_healthy_become_so(self):
        cluster = self.cluster("")
        (cluster.dir / "member.py").write_text(MEMBER)
        cluster.spec.write_text(f"name: {cluster.name}\n" + ENSEMBLE % {"here": cluster.dir})
        cluster.up()
        cluster.im("wake", "a")
        self.assertEqual(cluster.state("a"), "running")
        cluster.wait_state("b", "running")

    def test_a_job_that_fails_is_named(self):
        cluster = self.compose(code=3)
        cluster.im("up", "-d", str(cluster.spec))
        failed = cluster.im("wake", "web", check=False)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("it needs migrate to have completed: exited with status 3", failed.stderr)
        self.assertNotIn("web begins", self.said())
        with self.assertRaises((urllib.error.URLError, ConnectionError)):
            self.get()

    def test_a_host_that_does_not_become_healthy_is_named(self):
        cluster = self.compose(check="interval: 30ms, retries: 1")
        cluster.im("up", "-d", str(cluster.spec))
        failed = cluster.im("wake", "web", check=False)
        self.assertNotEqual(failed.returncode, 0, cluster.im("events").stdout)
        self.assertIn("it needs db to be up: start failed: its healthcheck failed: exit code 1: not yet", failed.stderr)
        self.assertIn("its healthcheck failed", cluster.im("why", "db").stdout)
        self.assertNotIn("web begins", self.said())

    def test_what_convert_writes_is_the_same(self):
        cluster = self.compose()
        converted = cluster.im("convert", str(cluster.spec))
        self.assertEqual(converted.stderr, "")
        again = cluster.dir / "cluster.yaml"
        again.write_text(converted.stdout)
        self.assertIn("{condition: service_completed_successfully}", converted.stdout)
        self.assertEqual(cluster.im("convert", str(again)).stdout, converted.stdout)
        cluster.spec = again
        cluster.up()
        self.assertEqual(self.get(), "row")
        self.assertEqual(self.said()[-2:], ["migrate got row", "web begins"])

    def test_how_it_stands_is_told_while_it_is_waited_for(self):
        cluster = self.compose()
        test = cluster.spec.read_text().replace("test -e healthy", "test -e never")
        cluster.spec.write_text(test)
        cluster.im("up", "-d", str(cluster.spec))
        caller = subprocess.Popen([sys.executable, "-c", "import urllib.request; urllib.request.urlopen("
                                   "'http://127.0.0.1:18080/')"], stderr=subprocess.DEVNULL)
        self.addCleanup(caller.wait)
        self.addCleanup(caller.kill)
        wait_until(lambda: "not yet" in cluster.im("why", "db").stdout, "why db")
        why = cluster.im("why", "web").stdout
        self.assertRegex(why, r"not started yet: it needs db to be up \(its healthcheck failed: exit code 1: not yet\)")
        self.assertEqual({name: host["state"] for name, host in cluster.ps().items()},
                         {"web": "imaginary", "migrate": "imaginary", "db": "starting"})


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
