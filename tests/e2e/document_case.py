"""A test case for each document's commands."""

import re
import tempfile

from cluster import ClusterTest, agents_of
from document_runner import ROOT, DocumentRunner, lacking, script
from document_sessions import LEFT_OUT, SESSIONS


def name(path):
    return str(path.relative_to(ROOT))


class DocumentCase(ClusterTest):
    def do(self, document):
        session = SESSIONS[document]
        if lack := lacking(session):
            self.skipTest(f"needs {lack}")
        runner = DocumentRunner(self.enterContext(tempfile.TemporaryDirectory(prefix="im-docs-", dir="/var/tmp")))
        if session.prepare:
            session.prepare(runner.tree)
        left_out = {key for path, key in LEFT_OUT if path == document}
        self.addCleanup(runner.end)
        code, said, all_of_it = runner.do(script(ROOT / document, session, left_out))
        runner.end()
        self.assertEqual(agents_of(runner), [], "agents are left")
        self.assertEqual(code, 0, all_of_it)
        at = 0
        for pattern in session.says:
            found = re.compile(pattern, re.M).search(said, at)
            self.assertIsNotNone(found, f"not said: {pattern}\n{all_of_it}")
            at = found.end()


def add_sessions(case, long):
    """Gives the class a test of each document whose commands are long ones, or are not."""
    for document, session in SESSIONS.items():
        if session.long == long:
            setattr(case, "test_commands_of_" + re.sub(r"\W+", "_", document.removesuffix(".md")),
                    lambda self, document=document: self.do(document))
