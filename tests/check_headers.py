#!/usr/bin/env python3
"""Each header compiles alone: check_headers.py ROOT BUILD.

A header borrows the compiler and the include paths of a source in its folder,
out of BUILD/compile_commands.json. Takes a minute or two: ./test --full.
"""

import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

import check_layout

# Made for lwIP's sources; built by the example's own `run`.
ELSEWHERE = ("netstack/lwip/", "examples/microservices/")

# Of files that include several sources (cmake/targets.cmake).
UNITED = "united"

# Of a source, and of the headers in its folder.
LANGUAGES = {".cc": "c++", ".c": "c"}


def flags_by_folder(root, build):
    """Folder → the compile command of one of its sources, without output."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = pathlib.Path(entry["file"])
        words = shlex.split(entry["command"])
        if "ccache" in words[0]:
            words = words[1:]
        if file.parent.name == UNITED:  # it stands for what it includes
            file = root / file.read_text().splitlines()[0].split('"')[1]
        if not file.is_relative_to(root) or file.suffix not in LANGUAGES:
            continue
        kept = [words[0]]
        takes_next = False
        for word in words[1:]:
            if takes_next or word.startswith(("-I", "-D", "-std", "-isystem")):
                kept.append(word)
            takes_next = word in ("-I", "-isystem", "-D")
        folder = file.parent.relative_to(root).as_posix()
        kept += ["-x", LANGUAGES[file.suffix]]
        # Tests see the most include paths, and C++ more than C.
        if folder not in found or file.name.endswith("_test.cc") or (
                file.suffix == ".cc" and found[folder][-1] == "c"):
            found[folder] = kept
    return found


def compile_alone(root, header, command):
    done = subprocess.run(command + ["-fsyntax-only", "-Wall", "-Wextra", str(root / header)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return header, done.returncode, done.stdout


def main():
    root, build = (pathlib.Path(arg).resolve() for arg in sys.argv[1:3])
    flags = flags_by_folder(root, build)
    headers = [p for p in check_layout.files(root)
               if p.endswith(".h") and check_layout.component(p) and not p.startswith(ELSEWHERE)]
    jobs, failed = [], 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header in headers:
            folder = pathlib.PurePosixPath(header).parent.as_posix()
            while folder not in flags and folder != ".":
                folder = pathlib.PurePosixPath(folder).parent.as_posix()
            if folder == ".":
                print(f"{header}: no source in its folder tells how to compile it")
                failed += 1
                continue
            jobs.append(pool.submit(compile_alone, root, header, flags[folder]))
        for job in jobs:
            header, code, output = job.result()
            if code != 0:
                failed += 1
                print(f"{header} does not compile alone:\n{output}")
    print(f"{len(headers)} headers, {failed} do not compile alone")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
