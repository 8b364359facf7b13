"""Unmodified programs on `attach: netstack`, each used by its own client from another host.

Everything is an ordinary user's (nobody): the cluster, its agents, the programs. So no program
has a right, a namespace or a TUN device. Servers are woken by their clients' first packets.
"""

import os
import pathlib
import shutil
import tempfile
import unittest

from cluster import NOBODY, ClusterTest

NGINX = """\
daemon off; master_process on; worker_processes 2; pid {dir}/nginx.pid; error_log stderr;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 80; root {dir}; }}
  server {{ listen 81 http2; root {dir}; }}
}}
"""

# Says what memcached answers to a store and a fetch of 100,000 bytes.
MEMCACHED_CLIENT = """\
import socket
s = socket.create_connection(("server", 11211))
f = s.makefile("rb")
value = b"v" * 100000
s.sendall(b"set k 0 0 %d\\r\\n%s\\r\\n" % (len(value), value))
print(f.readline().decode().strip())
s.sendall(b"get k\\r\\n")
print(f.readline().decode().strip(), f.read(len(value)) == value)
"""


def needs(*programs):
    missing = [p for p in programs if shutil.which(p, path="/usr/sbin:" + os.environ["PATH"]) is None]
    return unittest.skipIf(missing, f"not installed: {' '.join(missing)}")


class ProgramsTest(ClusterTest):

    def serve(self, *command):
        """Where `command` is the program of the host `server`."""
        words = ", ".join(f'"{word}"' for word in command)
        c = self.user_cluster(
            "network: {cidr: 10.77.0.0/24}\n"
            "defaults: {attach: netstack, idle: {after: 10m, release_after: 10m}}\n"
            f"hosts:\n  server: {{command: [{words}]}}\n")
        c.up()
        return c

    def client(self, cluster, *command):
        """What `command` says, run on a host of its own of the same attachment."""
        return cluster.im("run", "--attach", "netstack", "--", *command).stdout

    @needs("nginx", "curl")
    def test_nginx_serves_files_by_http_1_and_2(self):
        with tempfile.TemporaryDirectory(prefix="im-e2e-", dir="/var/tmp") as directory:
            page = pathlib.Path(directory) / "page"
            page.write_text("nginx's page\n" * 10000)
            conf = pathlib.Path(directory) / "nginx.conf"
            conf.write_text(NGINX.format(dir=directory))
            for path in page, conf:
                os.chmod(path, 0o644)
            os.chown(directory, NOBODY, NOBODY)
            c = self.serve("/usr/sbin/nginx", "-e", "stderr", "-c", str(conf))
            try:
                for flags, port in ([], 80), (["--http2-prior-knowledge"], 81):
                    url = f"http://server:{port}/page"
                    self.assertEqual(self.client(c, "curl", "-sSf", *flags, url), page.read_text())
            finally:
                c.im("down")

    @needs("redis-server", "redis-benchmark", "redis-cli")
    def test_redis_does_all_that_its_benchmark_asks(self):
        c = self.serve("redis-server", "--save", "", "--protected-mode", "no", "--dir", "/tmp")
        self.assertEqual(self.client(c, "redis-cli", "-h", "server", "set", "k", "v"), "OK\n")
        said = self.client(c, "redis-benchmark", "-h", "server", "-n", "1000", "-c", "20", "--csv")
        tests = [line.split(",")[0].strip('"') for line in said.splitlines()]
        for name in "PING_INLINE", "SET", "GET", "LRANGE_600 (first 600 elements)", "MSET (10 keys)":
            self.assertIn(name, tests)
        self.assertEqual(self.client(c, "redis-cli", "-h", "server", "get", "k"), "v\n")

    @needs("memcached")
    def test_memcached_stores_and_fetches(self):
        c = self.serve("memcached", "-U", "0", "-l", "0.0.0.0")
        self.assertEqual(self.client(c, "python3", "-c", MEMCACHED_CLIENT).splitlines(),
                         ["STORED", "VALUE k 0 100000 True"])

    @needs("iperf3")
    def test_iperf3_measures_tcp_in_both_directions(self):
        c = self.serve("iperf3", "-s")
        for flags in ["-n", "20M"], ["-n", "20M", "-R"]:
            self.assertIn("iperf Done", self.client(c, "iperf3", "-c", "server", *flags))


if __name__ == "__main__":
    unittest.main()
