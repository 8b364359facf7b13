"""Does the commands of a document, one after the other in one shell, as who reads it.

They begin in what looks like the root of the tree: the tree's own files, a copy of the examples, and stand-ins for the
scripts that install packages and build (STAND_INS). /etc, /usr/local and /run/wireguard are the session's own. Ctrl-C is
pressed where a document says so.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess

from cluster import BIN, DEADLINE_S, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])
CTRL_C = pathlib.Path(__file__).with_name("ctrl_c.py")
SESSION_S = 10 * DEADLINE_S

# What is done instead of a program that changes the machine, or is not on it.
STAND_INS = {
    "setup": "exit 0",  # the programs are there
    "run": 'exec im up "$@"',  # what it does after ./setup and the packages
    "tshark": "head -c 24 | wc -c; cat > /dev/null",  # a capture's header, where there is no tshark
}

PRELUDE = """
mount -t tmpfs none own
for folder in /etc /usr/local; do
  mkdir -p own$folder/upper own$folder/work
  mount -t overlay none -o lowerdir=$folder,upperdir=$PWD/own$folder/upper,workdir=$PWD/own$folder/work $folder
done
mkdir -p /run/wireguard
mount -t tmpfs none /run/wireguard
sudo() { env "$@"; }
until_ctrl_c() { "$IM_PYTHON" "$CTRL_C" "$@" < /dev/null; }
beside() { until_ctrl_c beside "$HOME/beside" "$1"; }
end_beside() {
  while read -r group; do kill -INT -- "-$group"; done < "$HOME/beside"
  while im ps > /dev/null 2>&1; do :; done
  rm "$HOME/beside"
}
export -f sudo
cd tree
set -x
"""


@dataclasses.dataclass
class Session:
    """What stands around a document's commands. Keys of `before`, `until` and `shorter` are commands as they are
    (`normal`), and each has to be one of the document's."""
    before: dict = dataclasses.field(default_factory=dict)   # a command: what is done before it
    until: dict = dataclasses.field(default_factory=dict)    # one that goes on: what it prints before Ctrl-C
    written: dict = dataclasses.field(default_factory=dict)  # the same: the file that has contents then
    shorter: dict = dataclasses.field(default_factory=dict)  # a command: the same, in less time
    prepare: object = None    # is called with the folder where the commands begin
    needs: tuple = ()         # programs; files, if with a slash
    says: tuple = ()          # regular expressions (multi-line) of what was printed, in this order
    long: bool = False        # in examples_long_test.py


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.S | re.M)


def normal(line):
    """A command without its comment and its spaces."""
    return " ".join(shlex.split(line, comments=True))


def commands(path):
    """Its shell commands, continued lines as one. Those behind a $ in blocks that show output, too."""
    text = path.read_text()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if language == "sh":
            lines = block.replace("\\\n", " ").splitlines()
        else:
            lines = [line[2:] for line in block.splitlines() if line.startswith("$ ") and not language]
        yield from (line for line in lines if normal(line))


def lacking(session):
    """What is not installed of what a session needs, or None."""
    for need in session.needs:
        if not (os.path.exists(need) if "/" in need else shutil.which(need)):
            return need
    return None


def lay_out(home):
    tree = home / "tree"
    tree.mkdir()
    (home / "own").mkdir()
    (home / "stand-ins").mkdir()
    for path in ROOT.iterdir():
        if path.name not in ("build", "examples", "test", *STAND_INS):
            (tree / path.name).symlink_to(path)
    (tree / "build").symlink_to(BIN.parent)
    shutil.copytree(ROOT / "examples", tree / "examples", ignore=shutil.ignore_patterns("build", "__pycache__"))
    for name, script in STAND_INS.items():
        place = tree if (ROOT / name).exists() else home / "stand-ins"
        if place == tree or shutil.which(name) is None:
            (place / name).write_text(f"#!/bin/sh\n{script}\n")
            (place / name).chmod(0o755)
    return tree


def script(path, session, left_out):
    """One shell's work: all commands but those of `left_out`."""
    text = PRELUDE
    for line in commands(path):
        key = normal(line)
        if key in left_out:
            continue
        text += session.before.get(key, "") + "\n"
        line = session.shorter.get(key, line)
        if key in session.until:
            text += f"until_ctrl_c until {shlex.quote(session.until[key])} {shlex.quote(line)}\n"
        elif key in session.written:
            text += f"until_ctrl_c written {shlex.quote(session.written[key])} {shlex.quote(line)}\n"
        elif re.match(r"\./run |im up(?! -d)", key):
            text += f"beside {shlex.quote(line)}\n"
        else:
            text += line + "\n"
    return text


class DocumentRunner:
    def __init__(self, home):
        self.home = self.dir = pathlib.Path(home)
        self.home.chmod(0o755)  # for hosts with a `user:`
        self.tree = lay_out(self.home)
        self.env = dict(os.environ, HOME=str(self.home), IM_STATE_DIR=f"{home}/run", IM_DATA_DIR=f"{home}/data",
                        PATH=f"{BIN}:{os.environ['PATH']}:{self.home}/stand-ins", NO_COLOR="1", CTRL_C=str(CTRL_C),
                        IM_PYTHON=shutil.which("python3"), IM_SKIP_PACKAGES="1")

    def do(self, text):
        """Its exit code, what it printed, and the end of that with all commands."""
        with open(self.home / "output", "w+") as output, open(self.home / "trace", "w+") as trace:
            process = subprocess.Popen(["unshare", "-m", "--propagation", "private", "bash", "-ec", text], cwd=self.home,
                                       env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=trace,
                                       start_new_session=True)
            try:
                code = process.wait(SESSION_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = f"not within {SESSION_S} s"
            output.seek(0)
            trace.seek(0)
            said = output.read()
            return code, said, f"{said[-6000:]}\n{trace.read()[-6000:]}"

    def clusters(self):
        return [path.parent.name for path in (self.home / "run").glob("*/api.sock")]

    def end(self):
        """All clusters are down, and what goes on beside has ended."""
        groups = self.home / "beside"
        for group in groups.read_text().split() if groups.exists() else []:
            try:
                os.killpg(int(group), signal.SIGINT)
            except ProcessLookupError:
                continue
            wait_until(lambda: not alive(int(group)), "what goes on beside the session has ended")
        for name in self.clusters():
            subprocess.run([str(BIN / "im"), "-c", name, "down"], env=self.env, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=DEADLINE_S)


def alive(process):
    try:
        return " Z " not in pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
