"""The same processes without Imaginary Machines, for comparison: each in a network namespace of its own, all on one
bridge, as containers on one machine are. Nothing is encrypted, nothing sleeps.

native.py CLUSTER.JSON (what `im validate --json` says), as root in fresh network and mount namespaces. Reads lines
"KIND CONNECTIONS SECONDS", and answers each with wrk's figures as JSON.
"""

import json
import os
import signal
import subprocess
import sys

import load

LOG = open("build/native.log", "w")  # what the services say
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}  # as hosts have it


def sh(command):
    subprocess.run(command, shell=True, check=True)


class Host:
    """A process in a network namespace of its own."""

    def __init__(self, name, address, command):
        # It waits for a line, which comes when its network is there.
        self.process = subprocess.Popen(["unshare", "-n", "sh", "-c", 'read go; exec "$@" < /dev/null', "sh", *command],
                                        stdin=subprocess.PIPE, stdout=LOG, stderr=LOG, env=ENVIRONMENT,
                                        start_new_session=True)
        self.enter = ["nsenter", "-t", str(self.process.pid), "-n"]
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.process.pid}/ns/net") == own:
            os.sched_yield()
        last = address.split(".")[-1]
        sh(f"ip link add v{last} type veth peer name eth0 netns {self.process.pid} && "
           f"ip link set v{last} master br0 up && "
           f"{' '.join(self.enter)} sh -c 'ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up'")

    def begin(self):
        self.process.stdin.close()

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # nginx has a worker
        self.process.wait()

    def listens(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.process.args} has ended; see build/native.log")
        return subprocess.run([*self.enter, "ss", "-Hltn"], stdout=subprocess.PIPE).stdout


def main():
    hosts = json.load(open(sys.argv[1]))["cluster"]["hosts"]
    sh("mount -t tmpfs tmpfs /var/lib/redis && mount -t tmpfs tmpfs /tmp")
    with open("/tmp/hosts", "w") as names:
        names.writelines(f"{host['address']} {host['name']}\n" for host in hosts)
    sh("mount --bind /tmp/hosts /etc/hosts && ip link set lo up && ip link add br0 type bridge && "
       "ip addr add 10.81.0.1/24 dev br0 && ip link set br0 up")
    running = [Host(host["name"], host["address"], host["command"]) for host in hosts]
    client = Host("client", "10.81.0.200", ["sleep", "infinity"])
    try:
        for host in running:
            host.begin()
        for host in running:
            while not host.listens():
                pass
        load.seed("http://front")
        print("ready", flush=True)
        for line in sys.stdin:
            kind, connections, seconds = line.split()
            print(json.dumps(load.wrk(kind, connections, seconds, client.enter)), flush=True)
    finally:
        for host in [*running, client]:
            host.end()


if __name__ == "__main__":
    main()
