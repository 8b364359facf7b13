"""A real cluster for a test: `im up` in a state directory of its own.

Every test file runs in a fresh network namespace (tests/CMakeLists.txt), with
nothing but loopback. Waiting is for an event with a deadline, never a sleep.
"""

import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

BIN = pathlib.Path(os.environ["IM_BIN"])
LONG = os.environ.get("IM_LONG") == "1"
PEER = str(BIN / "im-peer")
NOBODY = 65534  # user and group without a right

# Two hosts that answer, and stay up.
TWO_HOSTS = f"""
network: {{cidr: 10.77.0.0/24}}
defaults: {{idle: {{after: 10m, release_after: 10m}}}}
hosts:
  a: {{command: [{PEER}, serve, --echo, "7000"]}}
  b: {{command: [{PEER}, serve, --echo, "7000"]}}
"""

# How long anything may take before the test gives up, in seconds. Generous:
# sanitizer builds on a shared machine are slow.
DEADLINE_S = 60

# By how much programs under test are slower than the release build: 1 for that
# one, more for sanitizer builds (./test sets it). What a test demands of the
# programs' own speed is multiplied by it; times that somebody configured, and
# the order and number of things, are not.
SLOW_FACTOR = float(os.environ.get("IM_SLOW_FACTOR") or 1)


def wait_until(condition, what, deadline_s=DEADLINE_S, pause_s=0.01):
    """Polls `condition` until it is true; its last value is returned."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        threading.Event().wait(pause_s)


@functools.cache
def find_criu():
    """A CRIU that works here, which is built if need be; None where it cannot be."""
    if path := os.environ.get("IM_CRIU"):
        return path
    script = pathlib.Path(__file__).parents[2] / "scripts/criu"
    return subprocess.run([script], stdout=subprocess.PIPE, text=True).stdout.strip() or None


class Cluster:
    """One cluster: brought up by the constructor's owner, ended by close()."""

    def __init__(self, spec, name="t", state_root=None):
        # cgroups are the machine's: another run of this test may be under way.
        self.name = name = f"{name}-{os.getpid()}"
        # Not in /tmp: hosts may have a /tmp of their own.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="im-e2e-", dir="/var/tmp"))
        self.state_root = pathlib.Path(state_root or self.dir / "run")
        self.spec = self.dir / "cluster.yaml"
        self.spec.write_text(f"name: {name}\n" + spec)
        self.env = dict(os.environ, IM_STATE_DIR=str(self.state_root), IM_CLUSTER=name, NO_COLOR="1",
                        IM_DATA_DIR=str(self.dir / "data"))
        self.front = None
        self.drivers = []

    # ---- commands ----

    def im(self, *args, check=True, timeout=DEADLINE_S, input=None, cwd=None):
        result = subprocess.run([str(BIN / "im"), *args], env=self.env, text=True, input=input, cwd=cwd,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        if check and result.returncode != 0:
            raise AssertionError(f"im {' '.join(args)}: exit {result.returncode}\n"
                                 f"{result.stdout}{result.stderr}\n{self.log()}")
        return result

    def up(self):
        self.im("up", "-d", str(self.spec))
        return self

    def up_in_front(self):
        """`im up` in the foreground; its output lines are collected."""
        self.front = subprocess.Popen([str(BIN / "im"), "up", str(self.spec)], env=self.env, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.front_lines = []

        def collect():
            for line in self.front.stdout:
                self.front_lines.append(line.rstrip("\n"))

        self.front_reader = threading.Thread(target=collect, daemon=True)
        self.front_reader.start()
        wait_until(lambda: (self.state_dir / "api.sock").exists() and
                   self.im("ps", "--json", check=False).returncode == 0, "im up is ready")
        return self

    @property
    def state_dir(self):
        return self.state_root / self.name

    def ps(self):
        return {h["name"]: h for h in json.loads(self.im("ps", "--json").stdout)["hosts"]}

    def state(self, host):
        return self.ps()[host]["state"]

    def wait_state(self, host, state, deadline_s=DEADLINE_S):
        self.im("wait", host, "--state", state, "--timeout", f"{deadline_s}s", timeout=deadline_s + 10)

    def release(self, host):
        self.im("release", host)

    def events(self):
        return [json.loads(line) for line in self.im("events", "--json").stdout.splitlines()]

    def wakes(self, host):
        """How it came up each time that imd knows of: cold, thaw, restore."""
        kinds = {"starting": "cold", "paused": "thaw", "restoring": "restore"}
        return [kinds[e["from"]] for e in self.events()
                if e.get("host") == host and e.get("to") == "running" and e["from"] in kinds]

    def imd_pid(self):
        return int(json.loads(self.im("ps", "--json").stdout)["cluster"]["pid"])

    def gateway_bytes(self):
        return int(json.loads(self.im("ps", "--json").stdout)["cluster"].get("gateway_bytes", 0))

    def log(self):
        path = self.state_dir / "imd.log"
        return "".join(path.read_text(errors="replace").splitlines(True)[-40:]) if path.exists() else ""

    def drive(self, name="client"):
        driver = Driver(self, name)
        self.drivers.append(driver)
        return driver

    # ---- end ----

    def close(self):
        for driver in self.drivers:
            driver.close()
        if (self.state_dir / "api.sock").exists():
            self.im("down", check=False)
        if self.front:
            if self.front.poll() is None:
                self.front.send_signal(signal.SIGINT)
            try:
                self.front.wait(DEADLINE_S)
            finally:
                if self.front.poll() is None:
                    self.front.kill()
            self.front_reader.join(DEADLINE_S)
            self.front.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class UserCluster(Cluster):
    """A cluster of an ordinary user: nobody runs im, imd and the agents, from copies of them."""

    def __init__(self, spec, name="t"):
        super().__init__(spec, name)
        # Programs where an ordinary user may walk to.
        self.programs = self.dir / "bin"
        self.programs.mkdir()
        for program in "im", "imd", "im-agent":
            shutil.copy(BIN / program, self.programs / program)
        self.state_root.mkdir()
        for path in self.dir, self.state_root, self.programs:
            os.chmod(path, 0o755)
        os.chmod(self.spec, 0o644)
        os.chown(self.state_root, NOBODY, NOBODY)
        self.env["HOME"] = "/"

    def im(self, *args, check=True, timeout=DEADLINE_S, input=None):
        result = subprocess.run([str(self.programs / "im"), *args], env=self.env, text=True,
                                input=input or "", user=NOBODY, group=NOBODY, extra_groups=[],
                                cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                timeout=timeout)
        if check and result.returncode != 0:
            raise AssertionError(f"im {' '.join(args)}: exit {result.returncode}\n"
                                 f"{result.stdout}{result.stderr}\n{self.log()}")
        return result


class Driver:
    """`im run -- im-peer drive`: a client that is a member of the network."""

    def __init__(self, cluster, name):
        self.name = name
        self.process = subprocess.Popen([str(BIN / "im"), "run", "--name", name, "--", PEER, "drive"],
                                        env=cluster.env, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def __call__(self, command):
        self.send(command)
        return self.answer()

    def send(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.name} ended with {self.process.wait(DEADLINE_S)}")
        return json.loads(line)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()


class ClusterTest(unittest.TestCase):
    """A test whose clusters end with it, and leave nothing behind."""

    def cluster(self, spec, name="t", **kwargs):
        return self.ends_with_test(Cluster(spec, name, **kwargs))

    def user_cluster(self, spec, name="t"):
        return self.ends_with_test(UserCluster(spec, name))

    def ends_with_test(self, made):
        self.addCleanup(self.assert_nothing_left, made)
        self.addCleanup(made.close)
        return made

    def assert_nothing_left(self, cluster):
        self.assertEqual(agents_of(cluster), [], "agents are left")
        self.assertEqual(cgroups_of(cluster.name), [], "cgroups are left")


def agents_of(cluster):
    """Processes whose state lies in the cluster's directory."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if (b"im-agent" in words or b"imd\0" in words) and str(cluster.dir).encode() in \
                words + environment(path.parent):
            found.append((int(path.parent.name), words))
    return found


def environment(process):
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def cgroups_of(name):
    # Those of others come and go meanwhile, which walk bears.
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if folder.endswith(f"/im/{name}")]
