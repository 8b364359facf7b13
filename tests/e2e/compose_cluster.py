"""A cluster whose file is a docker-compose.yml."""

from cluster import Cluster


class ComposeCluster(Cluster):
    """It names no cluster."""

    def __init__(self, text, name="c"):
        super().__init__("", name)
        self.spec.unlink()
        home = self.dir / self.name  # Compose calls a project after its directory
        home.mkdir()
        self.spec = home / "docker-compose.yml"
        self.spec.write_text(text)
