"""A laptop for a test: a network namespace of its own with a stock WireGuard in it.

It is joined to the test's namespace by a pair of veth (192.0.2.1 there, 192.0.2.2 here), has
an /etc/resolv.conf of its own, and wg-quick, which uses wireguard-go where the kernel has no
WireGuard. All is gone with its processes.
"""

import os
import pathlib
import shutil
import subprocess

from cluster import DEADLINE_S

MACHINE, LAPTOP = "192.0.2.1", "192.0.2.2"

# What the packages openresolv and systemd-resolved do for wg-quick, for one interface.
RESOLVCONF = """#!/bin/sh
case $1 in
  -a) cat > /etc/resolv.conf ;;
  -d) : > /etc/resolv.conf ;;
esac
"""

# Connects, sends what stdin gives, half-closes, and prints what comes back.
TALK = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
import threading
data = sys.stdin.buffer.read()
def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
while True:
    got = s.recv(1 << 16)
    if not got: break
    sys.stdout.buffer.write(got)
t.join()
"""

# One datagram and its answer.
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[3]))
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(sys.stdin.buffer.read())
sys.stdout.buffer.write(s.recv(1 << 16))
"""


def missing():
    """What is not installed of what a laptop needs, or None."""
    for program in "wg", "wg-quick", "wireguard-go", "nsenter", "ping":
        if shutil.which(program) is None:
            return program
    return None


class Laptop:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir()
        (self.dir / "resolv.conf").write_text("")
        (self.dir / "resolvconf").write_text(RESOLVCONF)
        (self.dir / "resolvconf").chmod(0o755)
        self.holder = subprocess.Popen(
            ["unshare", "-n", "-m", "--propagation", "private", "sh", "-ec",
             'mount --bind "$1" "$(readlink -f /etc/resolv.conf)"\n'
             "mkdir -p /run/wireguard\nmount -t tmpfs none /run/wireguard\n"
             "ip link set lo up\necho ready\nexec cat", "sh", str(self.dir / "resolv.conf")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            raise AssertionError("no namespace for the laptop")
        for command in (f"ip link add to-laptop type veth peer name eth0 netns {self.holder.pid}",
                        f"ip address add {MACHINE}/24 dev to-laptop", "ip link set to-laptop up"):
            subprocess.run(command.split(), check=True)
        self.run("ip", "address", "add", f"{LAPTOP}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def run(self, *command, check=True, input=b"", timeout=DEADLINE_S, cwd=None):
        environment = dict(os.environ, PATH=f"{self.dir}:{os.environ['PATH']}",
                           WG_QUICK_USERSPACE_IMPLEMENTATION="wireguard-go")
        done = subprocess.run(["nsenter", "-t", str(self.holder.pid), "-n", "-m",
                               f"--wd={cwd or '/'}", *command],
                              input=input, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n"
                                 f"{done.stdout.decode(errors='replace')}"
                                 f"{done.stderr.decode(errors='replace')}")
        return done

    def talk(self, host, port, data=b"hello", timeout_s=DEADLINE_S):
        return self.run("python3", "-c", TALK, host, str(port), str(timeout_s), input=data).stdout

    def ask(self, host, port, data, timeout_s=DEADLINE_S):
        return self.run("python3", "-c", ASK, host, str(port), str(timeout_s), input=data).stdout

    def reaches(self, host, port, timeout_s):
        return self.run("python3", "-c", TALK, host, str(port), str(timeout_s),
                        input=b"hello", check=False).stdout == b"hello"

    def close(self):
        # wireguard-go is a daemon of its own: by the interface that it serves.
        for path in self.dir.glob("*.conf"):
            if path.name != "resolv.conf":
                self.run("wg-quick", "down", str(path), check=False)
        self.holder.stdin.close()
        self.holder.wait(DEADLINE_S)
        self.holder.stdout.close()
