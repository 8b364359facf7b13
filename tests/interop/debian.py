"""Packages of Debian's other suites, unpacked beside the system.

By apt's own means, from the mirror that this machine is configured with, in a
configuration of its own: the system's is read, never changed. Kept in .cache
between runs.
"""

import fcntl
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "debian"
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp")


class Missing(Exception):
    """It is not to be had here; the message says why."""


def mirror():
    """Where this machine gets Debian's main archive from."""
    out = subprocess.run(["apt-get", "indextargets", "--format",
                          "$(ORIGIN) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for line in out.splitlines():
        origin, component, *uri = line.split(" ")
        if (origin, component) == ("Debian", "main") and uri and "security" not in uri[0]:
            return uri[0]
    raise Missing("apt knows no Debian mirror (apt-get update)")


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=600)
    if done.returncode != 0:
        tail = done.stdout.strip().splitlines()
        raise Missing(f"{command[0]} failed: {tail[-1] if tail else done.returncode}")
    return done.stdout


def private_apt(suite):
    """Options that keep apt within CACHE; the suite's list is read."""
    keyring = next((k for k in KEYRINGS if os.path.exists(k)), None)
    if keyring is None:
        raise Missing("no keyring of the Debian archive")
    apt = CACHE / suite / "apt"
    for part in ("state/lists/partial", "cache/archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror()} {suite} main\n")
    options = [word for setting in (
        f"Dir::Etc::sourcelist={apt}/sources.list", "Dir::Etc::sourceparts=/dev/null",
        f"Dir::State={apt}/state", "Dir::State::status=/dev/null", f"Dir::Cache={apt}/cache",
        "APT::Sandbox::User=root", "Acquire::Languages=none") for word in ("-o", setting)]
    run("apt-get", "-q", *options, "update")
    return options


def unpacked(suite, package, version=None, stands_for=None):
    """The folder with the package's files: `version`, or what the suite has in
    its place by now. `stands_for`: not its files, but those of the package
    whose name begins so and that it depends on. Missing if it cannot be had."""
    if not all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "dpkg-deb")):
        raise Missing("this is no Debian")
    folder = CACHE / suite / package
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            fetch(suite, package, version, stands_for, folder)
    return folder / "root"


def fetch(suite, package, version, stands_for, folder):
    options = private_apt(suite)
    if stands_for:
        names = re.findall(r"Depends: (\S+)", run("apt-cache", *options, "depends", package))
        package = next((name for name in names if name.startswith(stands_for)), None)
        if package is None:
            raise Missing(f"nothing called {stands_for}… in {suite}")
    download = folder / "download"
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir()
    try:
        run("apt-get", "-q", *options, "download", f"{package}={version}" if version else package,
            cwd=download)
    except Missing:
        if not version:
            raise
        run("apt-get", "-q", *options, "download", package, cwd=download)
    archive = next(download.glob("*.deb"))
    shutil.rmtree(folder / "root", ignore_errors=True)
    run("dpkg-deb", "-x", str(archive), str(folder / "root"))
    (folder / "done").write_text(archive.name + "\n")
    shutil.rmtree(download)
