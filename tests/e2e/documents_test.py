"""The documents say what is so: their commands work, their messages exist, their links lead somewhere."""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import unittest

from cluster import BIN, DEADLINE_S, ClusterTest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])
REDIS = subprocess.run(["which", "redis-server", "redis-cli", "curl"], stdout=subprocess.DEVNULL).returncode == 0


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.S | re.M)


def commands(path):
    """Its shell commands, without comments, continued lines as one."""
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield line, words


def im_verbs(words):
    """[verb, its words…] of each `im` in a line."""
    for i, word in enumerate(words[:-1]):
        if word == "im" and (i == 0 or words[i - 1] in (";", "|", "&&", "sudo") or words[i - 1].endswith(";")
                             or "=" in words[i - 1]):
            rest = words[i + 1:]
            if rest[0] == "-c":
                rest = rest[2:]
            end = next((j for j, w in enumerate(rest) if w in (";", "|", "&&", "--") or w.endswith(";")), len(rest))
            yield rest[:end + 1] if end < len(rest) and rest[end] == "--" else rest[:end + 1]


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
            for line, words in commands(path):
                for verb, *rest in im_verbs(words):
                    found += 1
                    verb = verb.rstrip(";")
                    if verb.startswith("-"):
                        continue
                    if verb not in help_of:
                        help_of[verb] = subprocess.run([str(BIN / "im"), verb, "--help"], text=True, timeout=DEADLINE_S,
                                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    shown = help_of[verb]
                    self.assertEqual(shown.returncode, 0, f"{path}: {line}: {shown.stdout}")
                    for word in rest:
                        if word == "--":
                            break
                        if re.match(r"--?[a-z]", word) and verb != "completion":
                            option = word.split("=")[0].rstrip(";")
                            self.assertRegex(shown.stdout, rf"(^|[\s,]){option}\b", f"{path}: {line}")
        self.assertGreater(found, 50)

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

    def script(self, document, before="", skip=()):
        """Does all of a document's commands in one shell, in a home of its own; what was said."""
        home = self.enterContext(tempfile.TemporaryDirectory(prefix="im-docs-", dir="/var/tmp"))
        os.chmod(home, 0o755)
        text = "sudo() { \"$@\"; }\n" + before
        for block in blocks(document, "sh"):
            text += "".join(f"{line}\n" for line in block.splitlines() if not line.startswith(tuple(skip) or ("\0",)))
        env = dict(os.environ, HOME=home, PATH=f"{BIN}:{os.environ['PATH']}", IM_STATE_DIR=f"{home}/run",
                   IM_DATA_DIR=f"{home}/data", NO_COLOR="1")
        done = subprocess.run(["bash", "-exc", text], cwd=home, env=env, text=True, timeout=4 * DEADLINE_S,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(subprocess.run, [str(BIN / "im"), "down"], env=env, cwd=home, stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    @unittest.skipUnless(REDIS, "not installed: redis-server, redis-tools, curl")
    def test_start_as_it_is(self):
        document = ROOT / "docs/start.md"
        files = ""
        for name, language in ("app.py", "python"), ("cluster.yaml", "yaml"):
            (text,) = blocks(document, language)
            self.assertLess(len(text.splitlines()), 15)
            files += f"cat > first/{name} << 'END_OF_FILE'\n{text}END_OF_FILE\n"
        said = self.script(document, "mkdir -p first\n" + files, skip=("./setup", "export PATH="))
        self.assertEqual(re.findall(r"visitor (\d+)", said), ["1", "2", "1"])
        self.assertRegex(said, r"web +imaginary")
        self.assertRegex(said, r"db +running .*SYN from web:\d+ to :6379")
        self.assertIn("first: ended", said)

    @unittest.skipUnless(REDIS, "not installed: redis-server, redis-tools, curl")
    def test_troubleshooting_as_it_is(self):
        before = ("printf 'name: shop\\nhosts: {web: {command: sleep 1000}}\\n' > cluster.yaml\n"
                  "im up -d; im wake web\n")
        said = self.script(ROOT / "docs/troubleshooting.md", before)
        self.assertRegex(said, r"web is running")
        self.assertRegex(said, r"web +imaginary (→|->) starting +im wake")


if __name__ == "__main__":
    unittest.main(verbosity=2)
