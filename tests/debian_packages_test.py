#!/usr/bin/env python3
"""debian_packages_test.py BUILD: our Debian packages in a clean Debian.

One of the long cases (IM_LONG=1). Builds the packages, makes a minimal Debian of
this release with debootstrap, installs them there by apt with what they depend
on, and brings a cluster up inside. Everything happens in a mount, PID and
network namespace of its own: nothing is left, whatever happens.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "interop"))
import debian  # noqa: E402

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
DEADLINE_S = 900
SKIPPED = 77

CLUSTER = """
network: {cidr: 10.77.0.0/24}
defaults: {idle: {after: 1s}}
hosts:
  web:
    command: [perl, /srv/answer.pl]
"""

# A server out of what the smallest Debian has.
ANSWER = r"""
use Socket;
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die;
bind($listener, sockaddr_in(80, INADDR_ANY)) or die;
listen($listener, 8) or die;
while (accept(my $caller, $listener)) { print $caller "hello from $ENV{HOSTNAME}\n"; close $caller; }
"""

ASK = r"""
use Socket;
socket(my $caller, PF_INET, SOCK_STREAM, 0) or die;
connect($caller, sockaddr_in(80, inet_aton("web"))) or die "connect: $!";
print <$caller>;
"""


def codename():
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise debian.Missing("this Debian has no name")


def run(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=DEADLINE_S, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("cmake", "--build", BUILD, "--target", "debian_packages")
        cls.packages = sorted((BUILD / "packages").glob("*.deb"))
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="im-packages-", dir="/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.root = cls.folder / "debian"
        run("debootstrap", "--variant=minbase", codename(), cls.root, debian.mirror())
        # Packages come by this machine's own way to Debian.
        for name in ("sources.list", "sources.list.d", "apt.conf.d", "trusted.gpg.d"):
            source, target = pathlib.Path("/etc/apt", name), cls.root / "etc/apt" / name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.exists():
                shutil.copy(source, target)
        for keyring in debian.KEYRINGS:
            if os.path.exists(keyring):
                shutil.copy(keyring, cls.root / "usr/share/keyrings")
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", cls.root / "etc" / name)
        (cls.root / "debs").mkdir()
        for package in cls.packages:
            shutil.copy(package, cls.root / "debs")
        cls.inside("apt-get -q update && apt-get -q install -y --no-install-recommends /debs/imaginary-machines_*.deb",
                   network=True)

    @classmethod
    def inside(cls, script, network=False):
        """Runs a script as root of the clean Debian; without a network but its own loopback."""
        # recursive bind of /sys: the kernel's cgroups
        setup = f"""set -e
            mount -t proc proc {cls.root}/proc
            mount --rbind /sys {cls.root}/sys
            mount --rbind /dev {cls.root}/dev
            {'' if network else 'ip link set lo up'}
            exec chroot {cls.root} /bin/sh -ec "$1"
        """
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if network else ["--net"]),
                   "sh", "-c", setup, "sh", script, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                                         "DEBIAN_FRONTEND": "noninteractive"})

    def test_there_are_two(self):
        self.assertEqual([package.name.split("_")[0] for package in self.packages],
                         ["imaginary-machines", "libimnetstack-dev"])

    def test_programs_find_all_that_they_need(self):
        said = self.inside("for program in im imd im-agent im-tunnel im-up; do $program --version; done")
        self.assertEqual(len(said.splitlines()), 5)
        self.assertIn("im 0.", said)

    def test_a_cluster_lives_there(self):
        cluster = self.root / "etc/imaginary-machines/shop"
        cluster.mkdir(parents=True)
        (cluster / "cluster.yaml").write_text(CLUSTER)
        (self.root / "srv/answer.pl").write_text(ANSWER)
        (self.root / "srv/ask.pl").write_text(ASK)
        said = self.inside("""
            im up -d /etc/imaginary-machines/shop/cluster.yaml
            im run -- perl /srv/ask.pl
            im wait web --state paused --timeout 60s
            im run -- perl /srv/ask.pl
            im ps
            im down
        """)
        self.assertEqual(said.count("hello from web\n"), 2)
        self.assertIn("shop: ended", said)

    def test_the_units_command_brings_it_up_by_the_directorys_name(self):
        unit = (self.root / "usr/lib/systemd/system/imaginary-machines@.service").read_text()
        command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition("=")[2]
        cluster = self.root / "etc/imaginary-machines/unit"
        cluster.mkdir(parents=True)
        (cluster / "cluster.yaml").write_text(CLUSTER)
        said = self.inside(f"""
            mkdir -p /run/im
            mkfifo /ready
            {command.replace('%i', 'unit')} --ready-fd 3 3> /ready > /imd.log 2>&1 &
            imd=$!
            read -r word < /ready || {{ cat /imd.log; exit 1; }}
            im -c unit ps
            kill $imd
            wait $imd
        """)
        self.assertRegex(said, r"web +imaginary")

    def test_what_libraries_need_can_be_had(self):
        said = self.inside("apt-get -q install -y --simulate /debs/libimnetstack-dev_*.deb", network=True)
        self.assertIn("Inst libimnetstack-dev", said)


if __name__ == "__main__":
    if os.environ.get("IM_LONG") != "1":
        print("not run: it is one of the long cases (IM_LONG=1)")
        sys.exit(SKIPPED)
    for tool in ("debootstrap", "apt-get", "unshare"):
        if not shutil.which(tool):
            print(f"not run: {tool} is not installed")
            sys.exit(SKIPPED)
    if os.geteuid() != 0:
        print("not run: needs root (debootstrap)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
