"""Hosts of `attach: netstack`: beside others, and in a cluster of an ordinary user."""

import os
import signal
import unittest

from cluster import DEADLINE_S, PEER, ClusterTest, wait_until

# Says to whoever connects what it is told, and who else it reached.
RELAY = """\
import socket, sys
own = sys.argv[1]
listener = socket.create_server(("", 7000))
while True:
    caller, _ = listener.accept()
    answer = own
    if len(sys.argv) > 2:
        with socket.create_connection((sys.argv[2], 7000)) as other:
            answer += " " + other.makefile().read()
    caller.sendall(answer.encode())
    caller.close()
"""

# Asks from the same port each time that it is started, and then keeps the connection.
CALLER = """\
import signal, socket
own = socket.socket()
own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
own.bind(("", 5000))
own.connect(("server", 7000))
own.sendall(b"x")
print("heard", own.recv(1), flush=True)
signal.pause()
"""


class NetstackTest(ClusterTest):

    def set_up_in(self, cluster):
        self.shop = cluster
        self.relay = self.shop.dir / "relay.py"
        self.relay.write_text(RELAY)
        os.chmod(self.shop.dir, 0o755)

    def specify(self, hosts):
        self.shop.spec.write_text(f"name: {self.shop.name}\nnetwork: {{cidr: 10.77.0.0/24}}\n"
                                  f"defaults: {{idle: {{after: 300ms, release_after: 10m}}}}\n"
                                  f"hosts:\n{hosts}")

    def host(self, name, attach, *other):
        words = ", ".join(["python3", str(self.relay), name, *other])
        return f"  {name}: {{attach: {attach}, command: [{words}]}}\n"

    def ask(self, host):
        script = (f"import socket; s = socket.create_connection(('{host}', 7000)); "
                  "print(s.makefile().read())")
        return self.shop.im("run", "--", "python3", "-c", script).stdout.strip()

    def test_hosts_of_both_kinds_talk_by_name(self):
        self.set_up_in(self.cluster(""))
        self.specify(self.host("front", "netstack", "back") + self.host("back", "tun", "last") +
                     self.host("last", "netstack"))
        self.assertIn("netstack", self.shop.im("validate", str(self.shop.spec)).stdout)
        self.shop.up()
        self.assertEqual(self.ask("front"), "front back last")
        for host in "front", "back", "last":
            self.shop.wait_state(host, "paused")
        # The program sleeps in accept: a packet wakes it.
        self.assertEqual(self.ask("front"), "front back last")
        self.shop.release("last")
        self.shop.wait_state("last", "imaginary")
        self.assertEqual(self.ask("front"), "front back last")

    def test_who_was_killed_takes_its_old_port_again(self):
        c = self.cluster("hosts: {}\n")
        (c.dir / "caller.py").write_text(CALLER)
        c.spec.write_text(f"""
name: {c.name}
network: {{cidr: 10.77.0.0/24}}
defaults: {{idle: never}}
hosts:
  server: {{attach: netstack, command: [{PEER}, serve, --echo, "7000"]}}
  caller: {{attach: tun, command: [python3, {c.dir}/caller.py]}}
""")
        c.up()
        # The server still has the connections of those that vanished; the number of the
        # next one's SYN is any.
        for heard in range(1, 6):
            c.im("wake", "caller")
            wait_until(lambda: c.im("logs", "caller").stdout.count("heard") == heard, "an answer")
            os.kill(c.ps()["caller"]["agent_pid"], signal.SIGKILL)
            c.wait_state("caller", "imaginary")

    def test_an_ordinary_user_has_a_cluster(self):
        self.set_up_in(self.user_cluster(""))
        c = self.shop
        self.specify(self.host("front", "auto", "back") + self.host("back", "netstack"))

        def im(*args):
            result = c.im(*args)
            self.assertEqual(result.stderr, "", args)
            return result.stdout

        im("up", "-d", str(c.spec))
        self.addCleanup(im, "down")
        im("wake", "front")
        script = ("import socket; s = socket.create_connection(('front', 7000)); "
                  "print(s.makefile().read())")
        self.assertEqual(im("exec", "front", "--", "python3", "-c", script).strip(), "front back")
        self.assertEqual(im("run", "--", "python3", "-c", script).strip(), "front back")
        for host in "front", "back":
            im("wait", host, "--state", "paused", "--timeout", f"{DEADLINE_S}s")
        im("release", "back")
        im("wait", "back", "--state", "imaginary", "--timeout", f"{DEADLINE_S}s")
        self.assertEqual(im("exec", "front", "--", "python3", "-c", script).strip(), "front back")


if __name__ == "__main__":
    unittest.main(verbosity=2)
