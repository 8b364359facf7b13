#!/usr/bin/env python3
"""im-tunnel against newer versions of others. One of the long cases.

wireguard-go as Debian's backports and sid have it, and boringtun and gotatun
where cargo can install them. What cannot be had is skipped, with the reason.

Usage: versions_test.py IM_TUNNEL [UNITTEST ARGUMENTS]
"""

import contextlib
import fcntl
import re
import shutil
import subprocess
import unittest

import debian
import lab
import wireguard_go_test
from lab import PROGRAMS, run

# Package, version, program.
BORINGTUN = ("boringtun-cli", "0.7.1", "boringtun-cli")
GOTATUN = ("gotatun-cli", "0.5.1", "gotatun")


class Other(wireguard_go_test.Pair):
    """The tests of wireguard_go_test, and these, with another program."""

    program = None  # where it is
    cases = "^(?!.*(itself|slow_path|the_mtu))"
    sizes = (576, 1280, 1420, 8920, 65000)

    def run(self, result=None):
        # What is of im-tunnel alone was tested there.
        if self.program and re.search(self.cases, self._testMethodName):
            PROGRAMS["wireguard-go"] = self.program
            return super().run(result)
        return result

    def check_mtu(self, first, second):
        a, b = self.start(first, second)
        for mtu in self.sizes:
            with self.subTest(mtu=mtu):
                for tunnel in (a, b):
                    run("ip", "link", "set", f"v{tunnel.namespace}", "mtu",
                        str(max(1280, mtu + 80)), namespace=tunnel.namespace)
                    run("ip", "link", "set", tunnel.interface, "mtu", str(mtu),
                        namespace=tunnel.namespace)
                for one, other in ((a, b), (b, a)):
                    one.ping(other.inner4, "-M", "do", "-s", str(mtu - 28))

    def test_every_size_to_it(self):
        self.check_mtu("im-tunnel", "wireguard-go")

    def test_every_size_from_it(self):
        self.check_mtu("wireguard-go", "im-tunnel")

    def reach(self, tunnel, address):
        """Pings until one comes back: others lose what comes while they bind anew."""
        lab.wait_until(f"{address} to answer", lambda: subprocess.run(
            ["ip", "netns", "exec", tunnel.namespace, "ping", "-c", "1", "-W", "1", address],
            stdout=subprocess.DEVNULL).returncode == 0)

    def check_roaming(self, first, second):
        a, b = self.start(first, second)
        self.reach(a, b.inner4)
        for tunnel, number in ((a, 1), (b, 2)):
            run("ip", "address", "add", f"2001:db8::{number}/64", "dev", f"v{tunnel.namespace}",
                "nodad", namespace=tunnel.namespace)
        a.wg("peer", b.public_key, "endpoint", "[2001:db8::2]:51820")
        self.reach(a, b.inner6)
        self.assertEqual(b.show("endpoints")[a.public_key], "[2001:db8::1]:51820")
        a.wg("listen-port", "51999")
        self.reach(a, b.inner4)
        self.assertEqual(b.show("endpoints")[a.public_key], "[2001:db8::1]:51999")
        self.reach(b, a.inner4)

    def test_it_is_followed_when_it_roams(self):
        self.check_roaming("wireguard-go", "im-tunnel")

    def test_it_follows_when_im_tunnel_roams(self):
        self.check_roaming("im-tunnel", "wireguard-go")


class FromDebian(Other):
    suite = version = None

    @classmethod
    def setUpClass(cls):
        if cls.suite:
            cls.program = wireguard_go(cls.suite, cls.version)


class Backports(FromDebian):
    suite, version = "bookworm-backports", "0.0.20231211-1~bpo12+1"


class Sid(FromDebian):
    suite, version = "sid", "0.0.20260522-1"


class FromCargo(Other):
    package = None

    @classmethod
    def setUpClass(cls):
        if cls.package:
            cls.program = from_cargo(*cls.package)


class Boringtun(FromCargo):
    package = BORINGTUN
    # What it answers: it lost packets of 8920 bytes, and refused a new endpoint.
    cases = "opens_to|taken_back|preshared|every_size"
    sizes = (576, 1280, 1420)


class Gotatun(FromCargo):
    package = GOTATUN
    sizes = Boringtun.sizes  # likewise, above 4 KB


def wireguard_go(suite, version):
    """The program; SkipTest says why it cannot be had."""
    try:
        root = debian.unpacked(suite, "wireguard-go", version)
    except debian.Missing as missing:
        raise unittest.SkipTest(f"wireguard-go of {suite}: {missing}") from None
    return str(root / "usr/bin/wireguard-go")


def from_cargo(package, version, name):
    """The same."""
    folder = debian.CACHE.parent / package
    program = folder / "bin" / name
    if not shutil.which("cargo"):
        raise unittest.SkipTest(f"{name} needs cargo")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            try:
                done = subprocess.run(
                    ["cargo", "install", "--quiet", "--locked", "--version", version, "--root",
                     str(folder), package], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    text=True, timeout=600)
            except subprocess.TimeoutExpired:
                raise unittest.SkipTest(f"{name} was not built within ten minutes") from None
            if done.returncode != 0:
                raise unittest.SkipTest(f"{name}: " + done.stdout.strip().splitlines()[-1])
    return str(program)


def fetch():
    for suite in (Backports, Sid):
        with contextlib.suppress(unittest.SkipTest):
            wireguard_go(suite.suite, suite.version)
    for package in (BORINGTUN, GOTATUN):
        with contextlib.suppress(unittest.SkipTest):
            from_cargo(*package)


if __name__ == "__main__":
    lab.main(long_only=True, fetch=fetch)
