"""The documents say what is so: their commands work, their messages exist, their links lead somewhere."""

import pathlib
import re
import shlex
import subprocess
import unittest

from cluster import BIN, DEADLINE_S, ClusterTest
from document_case import DocumentCase, add_sessions, name
from document_runner import DOCUMENTS, ROOT, blocks, commands, normal
from document_sessions import ELSEWHERE, LEFT_OUT, SESSIONS


def im_commands(path):
    """Lines of its shell commands, and `im …` in its text."""
    yield from commands(path)
    for code in re.findall(r"`(im [^`]*)`", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)):
        yield code.replace("\n", " ").replace("…", "")


def im_verbs(words):
    """[verb, its words…] of each `im` in a line."""
    for i, word in enumerate(words[:-1]):
        if word == "im" and (i == 0 or words[i - 1] in (";", "|", "&&", "sudo") or words[i - 1].endswith(";")
                             or "=" in words[i - 1]):
            rest = words[i + 1:]
            if rest[0] == "-c":
                rest = rest[2:]
            end = next((j for j, w in enumerate(rest) if w in (";", "|", "&&", "--") or w.endswith(";")), len(rest))
            if rest:
                yield rest[:end + 1]


class Documents(ClusterTest):
    def test_links_lead_to_files(self):
        for path in DOCUMENTS:
            text = re.sub(r"`[^`]*`", "", path.read_text())  # code has brackets of its own
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if not re.match(r"[a-z]+:", target):
                    self.assertTrue((path.parent / target).exists(), f"{path}: {target}")

    def test_links_to_headings_lead_to_headings(self):
        def anchors(path):
            return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
                    for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.M)}

        for path in DOCUMENTS:
            for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]*)\)", path.read_text()):
                if not re.match(r"[a-z]+:", target):
                    self.assertIn(anchor, anchors(path.parent / target if target else path), f"{path}: {target}#{anchor}")

    def test_the_index_has_all_documents(self):
        index = (ROOT / "docs/README.md").read_text()
        for path in (ROOT / "docs").glob("*.md"):
            if path.name != "README.md":
                self.assertIn(f"]({path.name}", index)

    def test_every_im_command_is_one(self):
        help_of = {}
        found = 0
        for path in DOCUMENTS:
            for line in im_commands(path):
                for verb, *rest in im_verbs(shlex.split(line, comments=True)):
                    found += 1
                    verb = verb.rstrip(";")
                    if verb.startswith(("-", "__")):
                        continue
                    if verb in ("image", "peer") and rest:
                        verb += " " + rest.pop(0)
                    if verb not in help_of:
                        help_of[verb] = subprocess.run([str(BIN / "im"), *verb.split(), "--help"], text=True,
                                                       timeout=DEADLINE_S, stdout=subprocess.PIPE,
                                                       stderr=subprocess.STDOUT)
                    shown = help_of[verb]
                    self.assertEqual(shown.returncode, 0, f"{path}: {line}: {shown.stdout}")
                    for word in rest:
                        if word == "--":
                            break
                        if re.match(r"--?[a-z]", word) and verb != "completion":
                            option = word.split("=")[0].rstrip(";")
                            self.assertRegex(shown.stdout, rf"(^|[\s,]){option}\b", f"{path}: {line}")
        self.assertGreater(found, 150)

    def test_messages_of_troubleshooting_exist(self):
        source = "".join(path.read_text(errors="replace") for path in (ROOT / "orchestrator").rglob("*.cc")
                         if not path.name.endswith("_test.cc"))
        source = re.sub(r'"\s*\n\s*"', "", source)
        others = {"Connection refused", "Could not resolve host", "Permission denied"}  # of callers, of the system
        messages = set(re.findall(r"\*\*`([^`]+)`", (ROOT / "docs/troubleshooting.md").read_text())) - others
        self.assertGreater(len(messages), 15)
        for message in messages:
            written = message.replace('"', '\\"')
            self.assertTrue(written in source or written.partition(": ")[2] and all(
                part in source for part in written.partition(": ")[::2]), message)


class Sessions(DocumentCase):
    """Every command of every document, but for those of LEFT_OUT, and the long ones (examples_long_test.py)."""

    def test_every_document_with_commands_has_a_session(self):
        with_commands = {name(path) for path in DOCUMENTS if list(commands(path))}
        self.assertEqual(with_commands, {*SESSIONS, *ELSEWHERE})
        for document, test in ELSEWHERE.items():
            self.assertIn(pathlib.Path(document).name, pathlib.Path(__file__).with_name(test).read_text())

    def test_what_is_left_out_or_prepared_for_is_there(self):
        there = {(name(path), normal(line)) for path in DOCUMENTS for line in commands(path)}
        wanted = {*LEFT_OUT, *((document, key) for document, session in SESSIONS.items() for keys in
                               (session.before, session.until, session.written, session.shorter) for key in keys)}
        self.assertEqual(wanted - there, set())

    def test_start_is_of_few_lines(self):
        for language in "python", "yaml":
            (text,) = blocks(ROOT / "docs/start.md", language)
            self.assertLess(len(text.splitlines()), 15)


add_sessions(Sessions, long=False)

if __name__ == "__main__":
    unittest.main(verbosity=2)
