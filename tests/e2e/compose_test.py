"""Compose files and images: im up docker-compose.yml, im image, im convert."""

import io
import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tarfile
import unittest
import urllib.request

import images
from cluster import BIN, PEER, ClusterTest
from compose_cluster import ComposeCluster

# Answers each connection with what a script says of a line.
SERVE = ["/bin/nc", "-ll", "-p"]

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "compose.md"

COMPOSE = """
services:
  web:
    image: web
    command: [sh, /serve.sh, "8080", backend]
    ports: ["127.0.0.1:18080:8080"]
    depends_on: {api: {condition: service_started}}
    networks: [front]
    deploy: {replicas: 1}
  api:
    image: example.org/team/api:1
    env_file: api.env
    environment: {STORE: store, GREETING: "${GREETING:-hello}"}
    networks: {front: {aliases: [backend]}, back: {}}
    healthcheck: {test: "test -e /answer.sh"}
  redis:
    image: store:7
    user: "1000"
    volumes: ["data:/data", "./conf:/etc/store:ro"]
    networks: {back: {aliases: [store]}}
    stop_signal: SIGKILL
networks: {front: {}, back: {}}
volumes: {data: {}}
"""


class ComposeTest(ClusterTest):
    def setUp(self):
        if images.busybox() is None:
            self.skipTest("busybox-static is not installed")

    def compose(self, text):
        return self.ends_with_test(ComposeCluster(text))

    def import_three(self, cluster):
        """The images of COMPOSE, each in another format."""
        base = images.base_layer()
        images.docker_save(cluster.dir / "store.tar", ["store:7"], {
            "Entrypoint": SERVE, "Cmd": ["6379", "-e", "/bin/sh", "/answer.sh"],
            "WorkingDir": "/data", "User": "app", "Env": ["NAME=store"],
            "ExposedPorts": {"6379/tcp": {}}},
            base, [("data", None, 0o750, 1000), ("data/seed", "of the image\n", 0o640, 1000),
                   (".wh.gone", ""), ("answer.sh",
                    'read x; echo "$NAME $x $(id -u) $(pwd) $(cat /etc/store/conf) '
                    '$(cat /data/kept 2>/dev/null)"; echo "$x" > /data/kept\n')])
        images.oci_layout(cluster.dir / "api", {
            "Cmd": [*SERVE, "8000", "-e", "/bin/sh", "/answer.sh"], "Env": ["GREETING=none"]},
            base, [("answer.sh", 'read x; echo "$GREETING $FILE $x" | nc $STORE 6379\n')])
        (cluster.dir / "rootfs.tar").write_bytes(images.tar_bytes([*base, ("serve.sh",
            'exec nc -ll -p "$1" -e /bin/sh /http.sh "$2"\n'), ("http.sh",
            'end=$(printf "\\r"); while read -r line && [ "$line" != "$end" ]; do :; done\n'
            'printf "HTTP/1.0 200 OK\\r\\n\\r\\n"; echo hi | nc "$1" 8000\n')]))
        cluster.im("image", "import", "store:7", str(cluster.dir / "store.tar"))
        cluster.im("image", "import", "example.org/team/api:1", str(cluster.dir / "api"))
        cluster.im("image", "import", "web", str(cluster.dir / "rootfs.tar"))

    def files_of(self, cluster):
        (cluster.spec.parent / "api.env").write_text("FILE=env\n")
        (cluster.spec.parent / "conf").mkdir()
        (cluster.spec.parent / "conf" / "conf").write_text("conf")

    def get(self):
        return urllib.request.urlopen("http://127.0.0.1:18080/", timeout=60).read().decode().strip()

    def test_a_compose_file_of_three_images_is_up_and_answers(self):
        cluster = self.compose(COMPOSE)
        self.files_of(cluster)
        self.import_three(cluster)
        up = cluster.im("up", "-d", str(cluster.spec))
        # What is not honoured is said with its line.
        self.assertNotIn("healthcheck", up.stderr)
        self.assertRegex(up.stderr, r"docker-compose.yml:\d+:\d+: warning: networks: all hosts are in one")
        self.assertTrue(all(h["state"] == "imaginary" for h in cluster.ps().values()))
        self.assertEqual(sorted(cluster.ps()), ["api", "redis", "web-1"])
        self.assertEqual(self.get(), "store hello env hi 1000 /data conf")
        self.assertEqual(self.get(), "store hello env hi 1000 /data conf hello env hi", "the volume")

        # The named volume belongs to whom the image says, and outlives all.
        volume = cluster.dir / "data" / cluster.name / "volumes" / "data"
        self.assertEqual(stat.S_IMODE(volume.stat().st_mode), 0o750)
        seed = volume / "seed"
        self.assertEqual((seed.read_text(), stat.S_IMODE(seed.stat().st_mode), seed.stat().st_uid),
                         ("of the image\n", 0o640, 1000))
        self.assertEqual(sorted(os.listdir(volume)), ["kept", "seed"])
        seed.unlink()  # it is not there again when the host is started anew
        inside = cluster.im("exec", "redis", "--", "sh", "-c",
                            "ls / /dev; cat /lower /proc/self/mounts; id; hostname").stdout
        self.assertNotIn("gone", inside)
        self.assertIn("of the base", inside)
        self.assertRegex(inside, r"uid=1000\(app\) gid=1000\(app\) groups=.*6\(disk\)")
        self.assertNotIn(str(cluster.dir), inside.replace("overlay", ""), "nothing of the machine")
        for device in "null", "urandom", "shm", "pts", "fd":
            self.assertIn(device, inside)

        # Another cluster of this name would take away what these hosts wrote.
        other = dict(cluster.env, IM_STATE_DIR=str(cluster.dir / "other"))
        twice = subprocess.run([str(BIN / "im"), "up", "-d", str(cluster.spec)], env=other, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertIn("is used by another cluster of this name", twice.stderr)

        # What a host writes it finds again after a release, and not after im down.
        cluster.im("exec", "web-1", "--", "sh", "-c", "echo mine > /written; rm /lower")
        cluster.release("web-1")
        cluster.wait_state("web-1", "imaginary")
        look = ("exec", "web-1", "--", "sh", "-c", "cat /written /lower 2>&1")
        self.assertIn("mine", cluster.im(*look, check=False).stdout)
        self.assertNotIn("of the base", cluster.im(*look, check=False).stdout)
        used = cluster.im("image", "remove", "web", check=False)
        self.assertIn("in use", used.stderr)
        cluster.im("down")
        self.assertFalse((cluster.dir / "data" / cluster.name / "layers").exists())
        cluster.up()
        self.assertNotIn("mine", cluster.im(*look, check=False).stdout)
        self.assertEqual(self.get(), "store hello env hi 1000 /data conf hello env hi")
        self.assertFalse(seed.exists())

        # Imported anew while it runs: the cluster goes on with what it has.
        cluster.im("image", "import", "web", str(cluster.dir / "rootfs.tar"))
        cluster.release("web-1")
        self.assertIn("store hello", self.get())
        cluster.im("down")
        listed = json.loads(cluster.im("image", "list", "--json").stdout)["images"]
        self.assertEqual([i["name"] for i in listed],
                         ["example.org/team/api:1", "store:7", "web:latest"])
        self.assertEqual(listed[1]["exposed_ports"], ["6379/tcp"])
        cluster.im("image", "remove", "web", "store:7", "example.org/team/api:1")
        self.assertIn("no images", cluster.im("image", "list").stdout)
        self.assertEqual(os.listdir(cluster.dir / "data" / ".images" / "trees"), [])

    def test_what_convert_writes_is_the_same_cluster(self):
        cluster = self.compose(COMPOSE)
        self.files_of(cluster)
        self.import_three(cluster)
        converted = cluster.im("convert", str(cluster.spec))
        self.assertIn("healthcheck:\n      test: [CMD, /bin/sh, \"-c\", \"test -e /answer.sh\"]", converted.stdout)
        again = cluster.dir / "cluster.yaml"
        again.write_text(converted.stdout)
        self.assertEqual(cluster.im("convert", str(again)).stdout, converted.stdout)
        first, second = (json.loads(cluster.im("validate", "--json", str(path)).stdout)
                         for path in (cluster.spec, again))
        self.assertEqual(second["warnings"], [])
        for valid in first, second:
            for host in valid["cluster"]["hosts"]:
                del host["line"]
        self.assertEqual(first["cluster"], second["cluster"])
        self.assertIn("name: " + cluster.name, converted.stdout)
        # And it runs: of an image that names its command by itself.
        cluster.spec = again
        cluster.up()
        self.assertEqual(self.get(), "store hello env hi 1000 /data conf")

    def test_addresses_of_either_family_are_honoured(self):
        def file(b):
            return (f"services:\n  a: {{command: [{PEER}, serve, --echo, '7000'], attach: tun,\n"
                    "      networks: {n: {ipv6_address: 'fd77::172.30.0.9'}}}\n"
                    f"  b: {{command: [{PEER}, serve, --echo, '7000'], networks: {{n: {{{b}}}}}}}\n"
                    "networks:\n  n: {enable_ipv6: true, ipam: {config: [{subnet: 172.30.0.0/24}, "
                    "{subnet: 'fd77::/64'}]}}\n")

        cluster = self.compose(file("ipv4_address: 172.30.0.7"))
        up = cluster.im("up", "-d", str(cluster.spec))
        self.assertNotIn("warning", up.stderr)
        self.assertEqual({name: (row["address"], row["address6"]) for name, row in cluster.ps().items()},
                         {"a": ("172.30.0.9", "fd77::ac1e:9"), "b": ("172.30.0.7", "fd77::ac1e:7")})
        cluster.im("run", "--", "ping", "-6", "-c", "1", "-W", "30", "fd77::ac1e:9")
        self.assertIn("inet6 fd77::ac1e:9/96", cluster.im("exec", "a", "--", "ip", "address").stdout)
        for bad, said in (("ipv6_address: nowhere", r"4:\d+: ipv6_address: expected an IPv6 address, found \"nowhere\""),
                          ("ipv6_address: 'fd77::ac1e:9'", r"4:\d+: address fd77::ac1e:9 is taken by host a in line 3")):
            cluster.spec.write_text(file(bad))
            refused = cluster.im("validate", str(cluster.spec), check=False)
            self.assertEqual(refused.returncode, 2)
            self.assertRegex(refused.stderr, "docker-compose.yml:" + said)

    def test_without_the_image_it_says_what_to_do(self):
        cluster = self.compose("services:\n  a: {image: 'nothing:1'}\n  b: {image: x, command: [sleep, 9]}\n")
        failed = cluster.im("up", "-d", str(cluster.spec), check=False)
        self.assertEqual(failed.returncode, 2)
        self.assertIn("docker-compose.yml:2:14: host a: the image nothing:1 is not imported "
                      "(im image import nothing:1 PATH", failed.stderr)
        self.assertIn("warning: host b: the image x is not imported: the command runs with this machine's own",
                      failed.stderr)

    def test_a_bad_image_is_refused_and_leaves_nothing(self):
        cluster = self.compose("services: {a: {command: [sleep, 9]}}")
        base = images.base_layer()

        def refused(what, source, name="bad"):
            failed = cluster.im("image", "import", name, str(source), check=False)
            self.assertIn(failed.returncode, (1, 2), source)
            self.assertIn(what, failed.stderr)
            self.assertIn("no images", cluster.im("image", "list").stdout)
            trees = cluster.dir / "data" / ".images" / "trees"
            self.assertEqual(os.listdir(trees) if trees.exists() else [], [])

        refused("No such file", cluster.dir / "nothing")
        refused("is no name of an image", cluster.dir, "Bad Name")
        (cluster.dir / "text").write_text("text" * 1000)
        refused("tar archive", cluster.dir / "text")
        (cluster.dir / "evil.tar").write_bytes(images.tar_bytes([("../../evil", "x")]))
        refused("leads out of the image", cluster.dir / "evil.tar")
        self.assertFalse((cluster.dir / "data" / "evil").exists())
        images.docker_save(cluster.dir / "two.tar", ["a:1"], {}, [("../up", "x")])
        refused("leads out of the image", cluster.dir / "two.tar")
        images.oci_layout(cluster.dir / "other", {}, base, architecture="m68k")
        refused("there is no image for linux/", cluster.dir / "other")
        images.oci_layout(cluster.dir / "torn", {}, [("a", "x" * 5000)])
        blob = max((cluster.dir / "torn" / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")
        refused("is damaged: its SHA-256", cluster.dir / "torn")

    def test_the_commands_of_the_document_do_what_it_says(self):
        cluster = self.compose(f"services: {{web: {{command: [{PEER}, serve, --echo, '7000']}}}}")
        base = images.base_layer()
        here = cluster.spec.parent
        images.docker_save(here / "redis.tar", ["redis:7"], {"Cmd": ["sh"]}, base)
        images.oci_layout(here / "layout", {"Cmd": ["sh"]}, base)
        (here / "rootfs.tar").write_bytes(images.tar_bytes(base))
        with tarfile.open(here / "rootfs.tar") as tar:
            tar.extractall(here / "rootfs")
        said = {}
        for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
            for line in block.splitlines():
                line = line.split("#")[0].strip()
                said[line] = cluster.im(*line.split()[1:], cwd=here).stdout
        self.assertEqual(len(said), 9)
        self.assertIn("1 host in", said["im validate docker-compose.yml"])
        self.assertRegex(said["im image list"], r"redis:7 .*\n.*team/web:latest .*\n.*tools:latest")
        self.assertIn("hosts:\n  web:\n", said["im convert docker-compose.yml"])
        self.assertEqual(cluster.state("web"), "imaginary")
        # Without a name the directory's file is meant.
        self.assertIn("1 host in", cluster.im("validate", cwd=here).stdout)

    def test_a_directory_is_an_image(self):
        cluster = self.compose("services: {a: {image: dir, command: [/bin/nc, -ll, -p, '7000', -e, /bin/cat]}}")
        tree = cluster.dir / "tree"
        with tarfile.open(fileobj=io.BytesIO(images.tar_bytes(images.base_layer()))) as tar:
            tar.extractall(tree)
        cluster.im("image", "import", "dir", str(tree))
        cluster.up()
        drive = cluster.drive()
        self.assertTrue(drive("connect 1 a 7000")["ok"])
        self.assertTrue(drive("ping 1 5")["ok"])
        self.assertEqual(cluster.im("exec", "a", "--", "id", "-u").stdout, "0\n")


if __name__ == "__main__":
    unittest.main(verbosity=2, argv=sys.argv)
