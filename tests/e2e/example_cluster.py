"""A cluster.yaml of examples/ for a test."""

import pathlib
import shutil
import subprocess

from cluster import Cluster

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


class ExampleCluster(Cluster):
    """Like Cluster, but of a cluster.yaml of the tree; volumes are the test's own."""

    def __init__(self, name, change=lambda text: text):
        super().__init__("", name)
        self.spec.unlink()
        example = self.dir / name
        own_name = f"name: {self.name}"
        shutil.copytree(EXAMPLES / name, example, ignore=shutil.ignore_patterns("build", "__pycache__"))
        self.dir.chmod(0o755)  # for hosts with a `user:`
        self.spec = example / "cluster.yaml"
        text = self.spec.read_text()
        assert f"name: {name}\n" in text
        self.spec.write_text(change(text.replace(f"name: {name}\n", f"{own_name}\n")))
        self.env["IM_DATA_DIR"] = str(self.dir / "data")

    def run_script(self, *arguments, timeout):
        """The example's own `run`: its exit code, and what it said."""
        done = subprocess.run([str(self.spec.parent / "run"), *arguments], env=self.env, timeout=timeout, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout
