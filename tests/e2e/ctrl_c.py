"""Commands that go on until Ctrl-C, for tests of documents, which do all else in one shell.

ctrl_c.py until TEXT LINE   runs LINE until it has printed what the regular expression TEXT matches; then Ctrl-C.
ctrl_c.py written FILE LINE the same until FILE has contents.
ctrl_c.py beside PIDS LINE  runs LINE beside what follows, until its cluster answers. Its number goes to the file PIDS, its
                            output to PIDS.log; whoever ends it sends Ctrl-C to that group of processes.

Fails if LINE ends by itself, or not well after Ctrl-C.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

DEADLINE_S = 60


def start(line, **more):
    return subprocess.Popen(["bash", "-c", line], start_new_session=True, text=True, stderr=subprocess.STDOUT, **more)


def ctrl_c(process):
    os.killpg(process.pid, signal.SIGINT)
    code = process.wait(DEADLINE_S)
    if code not in (0, -signal.SIGINT, 128 + signal.SIGINT):
        sys.exit(f"after Ctrl-C: exit code {code}")


def until(line, done):
    """`done` is told all that was said so far, again and again."""
    process = start(line, stdout=subprocess.PIPE)
    said = []

    def read():
        while text := os.read(process.stdout.fileno(), 1 << 16):
            said.append(text.decode(errors="replace"))
            sys.stdout.write(said[-1])
            sys.stdout.flush()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    wait(process, lambda: done("".join(said)))
    ctrl_c(process)
    reader.join(DEADLINE_S)


def wait(process, done):
    end = time.monotonic() + DEADLINE_S
    while not done():
        if process.poll() is not None:
            sys.exit(f"ended by itself, with exit code {process.returncode}")
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            sys.exit(f"not within {DEADLINE_S} s")
        threading.Event().wait(0.02)


def beside(line, pids):
    pids = pathlib.Path(pids)
    with open(f"{pids}.log", "a") as log:
        process = start(line, stdout=log, stdin=subprocess.DEVNULL)
    with pids.open("a") as file:
        print(process.pid, file=file)
    # With several clusters up that of this directory counts.
    wait(process, lambda: subprocess.run(["im", "ps"], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL).returncode == 0)


if __name__ == "__main__":
    how, what, line = sys.argv[1:]
    if how == "until":
        until(line, lambda said: re.search(what, said))
    elif how == "written":
        until(line, lambda _: os.path.exists(what) and os.path.getsize(what) > 0)
    else:
        beside(line, what)
