#!/usr/bin/env python3
"""Counts test cases: count_cases.py JUNIT.xml → "PASSED FAILED SKIPPED".
With --failures, prints what the failed ones said instead.

JUNIT.xml is what `ctest --output-junit` writes: one entry a program, with its
output. What GoogleTest and unittest say there of their cases is believed;
a program that says nothing is one case. A program that ctest calls failed
although no case of it is, counts one failure: it crashed or ran out of time.
Reasons of what was not run go to stderr, one a line.
"""

import re
import sys
import xml.etree.ElementTree

GTEST_RAN = re.compile(r"^\[==========\] (\d+) tests? from \d+ test suites? ran\.", re.M)
GTEST = {name: re.compile(rf"^\[  {word} \] (\d+) tests?[.,]", re.M)
         for name, word in [("passed", "PASSED "), ("failed", "FAILED "), ("skipped", "SKIPPED")]}
UNITTEST_RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)
UNITTEST_RESULT = re.compile(r"^(?:OK|FAILED)(?: \(([^)]*)\))?\s*$", re.M)
SKIP_REASON = re.compile(r"^(?:not run: |skipped: )(.*)$"
                         r"|^.* \.\.\. skipped '(.*)'$"  # unittest
                         r"|^.*:\d+: Skipped\n(.+)$", re.M)  # GoogleTest


def last(pattern, text):
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


def cases(output):
    """(passed, failed, skipped) that the output tells of, or None."""
    if GTEST_RAN.search(output):
        return tuple(last(GTEST[name], output) for name in ("passed", "failed", "skipped"))
    ran = UNITTEST_RAN.findall(output)
    results = UNITTEST_RESULT.findall(output)
    if ran and results:
        told = dict(part.split("=") for part in results[-1].split(", ") if "=" in part)
        failed = sum(int(told.get(word, 0)) for word in ("failures", "errors", "unexpected successes"))
        skipped = int(told.get("skipped", 0))
        return max(0, int(ran[-1]) - failed - skipped), failed, skipped
    return None


def count(root):
    passed = failed = skipped = 0
    reasons = []
    for test in root.iter("testcase"):
        status = test.get("status")
        output = test.findtext("system-out") or ""
        told = cases(output)
        for match in SKIP_REASON.finditer(output):
            reasons.append(f"{test.get('name')}: {match[match.lastindex]}")
        if status in ("notrun", "disabled"):
            # A missing program is no reason not to run; ctest calls it so, too.
            if test.find("skipped") is not None and "SKIP_" in (test.find("skipped").get("message") or ""):
                skipped += 1
            else:
                failed += 1
                reasons.append(f"{test.get('name')}: could not be started")
            continue
        p, f, s = told or ((1, 0, 0) if status == "run" else (0, 1, 0))
        if status != "run" and f == 0:
            f = 1
        passed, failed, skipped = passed + p, failed + f, skipped + s
    return passed, failed, skipped, reasons


# Of a failed program's output, this many lines around each failure and at the
# end are shown.
FAILURE_LINES = 12
END_LINES = 25
FAILURE = re.compile(r"Failure$|^\[  FAILED  \] .*ms\)$|^(?:FAIL|ERROR): |Sanitizer:|check failed:")


def excerpt(output):
    lines = output.splitlines()
    shown = set(range(max(0, len(lines) - END_LINES), len(lines)))
    for i, line in enumerate(lines):
        if FAILURE.search(line):
            shown.update(range(max(0, i - 2), min(len(lines), i + FAILURE_LINES)))
    text, previous = [], -1
    for i in sorted(shown):
        if i != previous + 1:
            text.append("  …")
        text.append("  " + lines[i])
        previous = i
    return "\n".join(text[:400])


def failures(root):
    for test in root.iter("testcase"):
        if test.get("status") == "fail":
            yield test.get("name"), excerpt(test.findtext("system-out") or "")


def main():
    root = xml.etree.ElementTree.parse(sys.argv[-1]).getroot()
    if "--failures" in sys.argv:
        for name, text in failures(root):
            print(f"---- {name} failed:\n{text}\n")
        return
    *counts, reasons = count(root)
    for reason in reasons:
        print(reason, file=sys.stderr)
    print(*counts)


if __name__ == "__main__":
    main()
