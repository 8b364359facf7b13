#!/usr/bin/env python3
"""Checks what the tree promises about itself: check_layout.py [ROOT].

Prints each breach as "file:line: rule: what" and exits with 1 if there is any.
Each rule is a function from a tree to breaches; check_layout_test.py shows
that each can fail.
"""

import dataclasses
import pathlib
import re
import sys

# Who may include whom (ARCHITECTURE.md). The longest folder that fits counts.
# What stands here may also include itself.
MAY_INCLUDE = {
    "base": set(),
    "tunnel": {"base"},
    "netstack": {"base"},
    "netstack/c": {"base", "tunnel", "netstack"},
    "proto": set(),
    "orchestrator": {"base", "tunnel", "netstack", "proto", "orchestrator/names"},
    "orchestrator/names": {"base", "proto"},
    "orchestrator/agent": {"base", "tunnel", "netstack", "proto", "orchestrator/names"},
    "orchestrator/cli": {"base", "tunnel", "netstack", "proto", "orchestrator"},
    "bench": {"base", "tunnel", "netstack", "proto", "orchestrator"},
    "tests": {"base", "tunnel", "netstack", "proto", "orchestrator", "orchestrator/agent",
              "orchestrator/cli", "bench"},
    "examples": {"base", "tunnel", "netstack"},  # what others may embed
}

# im-agent starts in a millisecond and stays small: protobuf's lite runtime only.
AGENT_MUST_NOT_INCLUDE = re.compile(r"grpc|proto/(?!agent\.pb\.h)|google/protobuf/(util|text_format)")

LINES_MAX = 500
SOURCES = {".cc", ".h", ".c", ".cpp"}
PAGE = {".ts", ".tsx", ".mjs", ".css"}
CHECKED = SOURCES | PAGE | {".py", ".sh", ".cmake", ".proto", ".md", ".yaml", ".txt", ""}
SKIPPED_FOLDERS = {".git", ".cache", "__pycache__", "corpus", "node_modules"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
# Spelled so that this file does not contain them.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
SLEEP = re.compile(r"\b(?:u?sleep|nanosleep|clock_nanosleep|sleep_for|sleep_until|SleepFor)\s*\(")


@dataclasses.dataclass(frozen=True)
class Breach:
    path: str
    line: int
    rule: str
    what: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.what}"


def files(root):
    """The tree's own files, relative: not what builds and fetches leave."""
    root = pathlib.Path(root)

    def built(folder, name):
        return folder in (root, *(root / "examples").glob("*")) and re.fullmatch(r"build(-.*)?", name)

    def walk(folder):
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                continue
            if path.is_dir():
                if path.name not in SKIPPED_FOLDERS and not built(folder, path.name):
                    yield from walk(path)
            elif path.suffix in CHECKED:
                yield path.relative_to(root).as_posix()
    return list(walk(root))


def component(path):
    """The folder of MAY_INCLUDE that `path` lies in, or None."""
    parts = path.split("/")[:-1]
    for n in range(len(parts), 0, -1):
        if "/".join(parts[:n]) in MAY_INCLUDE:
            return "/".join(parts[:n])
    return None


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) or match.group(2), match.group(1) is not None


def check_includes(path, text):
    own = component(path)
    if pathlib.PurePosixPath(path).suffix not in SOURCES or own is None:
        return
    for line, name, quoted in includes(text):
        other = component(name)
        if quoted and other is not None and other != own and other not in MAY_INCLUDE[own]:
            yield Breach(path, line, "direction", f"{own}/ must not include {other}/ ({name})")
        if own == "orchestrator/agent" and AGENT_MUST_NOT_INCLUDE.search(name):
            yield Breach(path, line, "agent", f"{own}/ must stay small: no {name}")


def check_size(path, text):
    lines = text.count("\n")
    if lines > LINES_MAX and pathlib.PurePosixPath(path).suffix in SOURCES | PAGE | {".py", ".sh"}:
        yield Breach(path, LINES_MAX, "size", f"{lines} lines, at most {LINES_MAX}: split it")


def check_finished(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        match = UNFINISHED.search(line)
        if match:
            yield Breach(path, number, "finished", f"{match.group()} is left")


def check_sleeps(path, text):
    if not path.endswith("_test.cc"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        if SLEEP.search(line.split("//")[0]):
            yield Breach(path, number, "sleep", "tests wait for an event with a deadline, or drive time")


def check_guard(path, text):
    if not path.endswith(".h") or component(path) is None or path.startswith("netstack/lwip/"):
        return
    guard = "IM_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"
    if f"#ifndef {guard}\n#define {guard}\n" not in text:
        yield Breach(path, 1, "guard", f"the include guard must be {guard}")


# Without it a test ends at once, and well; and unittest tells why something was skipped only
# if it is asked to.
def check_main(path, text):
    if path.endswith("_test.py") and '\nif __name__ == "__main__":\n' not in text:
        yield Breach(path, 1, "main", "nothing is run: if __name__ == \"__main__\" is missing")
    for call in re.finditer(r"unittest\.main\([^)\n]*\)", text):
        if path.endswith(".py") and path != "tests/check_layout_test.py" and "verbosity=2" not in call[0]:
            yield Breach(path, text.count("\n", 0, call.start()) + 1, "main",
                         "reasons of skips are not told: unittest.main(verbosity=2)")


RULES = [check_includes, check_size, check_finished, check_sleeps, check_guard, check_main]


def check(root):
    breaches = []
    for path in files(root):
        text = (pathlib.Path(root) / path).read_text(encoding="utf-8", errors="replace")
        for rule in RULES:
            breaches += rule(path, text)
    return breaches


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    breaches = check(pathlib.Path(root))
    for breach in breaches:
        print(breach)
    print(f"{len(files(pathlib.Path(root)))} files, {len(RULES)} rules, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
