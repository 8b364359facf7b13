"""Unmodified programs on `attach: netstack`, each used by its own client from another host.

Everything is an ordinary user's (nobody): the cluster, its agents, the programs. So no program
has a right, a namespace or a TUN device. Servers are woken by their clients' first packets.
"""

import os
import pathlib
import shutil
import tempfile
import unittest

from cluster import NOBODY, ClusterTest, wait_until

NGINX = """\
daemon off; master_process on; worker_processes 2; pid {dir}/nginx.pid; error_log stderr;
events { worker_connections 256; }
http {
  access_log off; sendfile on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server { listen 80; root {dir}; }
  server { listen 81 http2; root {dir}; }
}
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

# Answers with what it was sent, and fetches.
NODE_SERVER = """\
const http = require("http");
http.createServer((request, answer) => request.pipe(answer)).listen(80);
"""
NODE_CLIENT = """\
const http = require("http"), sent = "n".repeat(300000);
const ask = http.request({host: "server", method: "POST"}, answer => {
  let got = "";
  answer.on("data", piece => got += piece);
  answer.on("end", () => console.log(answer.statusCode, got === sent));
});
ask.end(sent);
"""

# Debian keeps the server's own programs where no PATH leads.
POSTGRES_BIN = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))), None)


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

    def serve_scripts(self, files, *command):
        """As serve, with a directory of the user's that holds `files`; {dir} is its name."""
        self.directory = tempfile.mkdtemp(prefix="im-e2e-", dir="/var/tmp")
        # Called after the cluster's end.
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        for name, text in files.items():
            path = pathlib.Path(self.directory) / name
            path.write_text(text.replace("{dir}", self.directory))
            os.chmod(path, 0o644)
        os.chown(self.directory, NOBODY, NOBODY)
        return self.serve(*(word.replace("{dir}", self.directory) for word in command))

    def client(self, cluster, *command):
        """What `command` says, run on a host of its own of the same attachment."""
        return cluster.im("run", "--attach", "netstack", "--", *command).stdout

    @needs("nginx", "curl")
    def test_nginx_serves_files_by_http_1_and_2(self):
        page = "nginx's page\n" * 10000
        c = self.serve_scripts({"page": page, "nginx.conf": NGINX},
                               "/usr/sbin/nginx", "-e", "stderr", "-c", "{dir}/nginx.conf")
        for flags, port in ([], 80), (["--http2-prior-knowledge"], 81):
            url = f"http://server:{port}/page"
            self.assertEqual(self.client(c, "curl", "-sSf", *flags, url), page)

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

    @needs("node")
    def test_node_serves_and_asks_by_http(self):
        c = self.serve_scripts({"server.js": NODE_SERVER, "client.js": NODE_CLIENT},
                               "node", "{dir}/server.js")
        self.assertEqual(self.client(c, "node", f"{self.directory}/client.js"), "200 true\n")

    @unittest.skipIf(POSTGRES_BIN is None, "not installed: postgresql")
    @needs("pgbench", "pg_isready")
    def test_postgresql_is_initialised_and_does_pgbench(self):
        start = (f"{POSTGRES_BIN}/initdb --no-locale -A trust -U shop -N -D {{dir}}/data > /dev/null && "
                 "echo host all all all trust >> {dir}/data/pg_hba.conf && "
                 f"exec {POSTGRES_BIN}/postgres -D {{dir}}/data -F -h 0.0.0.0 -k {{dir}}")
        c = self.serve_scripts({}, "sh", "-c", start)
        # It listens before it is ready, and says so to whoever asks.
        ready = ["run", "--attach", "netstack", "--", "pg_isready", "-q", "-h", "server"]
        wait_until(lambda: c.im(*ready, check=False).returncode == 0, "PostgreSQL is ready")
        bench = ["pgbench", "-h", "server", "-U", "shop"]
        self.client(c, *bench, "-i", "-q", "postgres")
        said = self.client(c, *bench, "-c", "4", "-j", "2", "-t", "50", "postgres")
        self.assertIn("number of transactions actually processed: 200/200", said)

    @needs("iperf3")
    def test_iperf3_measures_tcp_in_both_directions(self):
        c = self.serve("iperf3", "-s")
        for flags in ["-n", "20M"], ["-n", "20M", "-R"]:
            self.assertIn("iperf Done", self.client(c, "iperf3", "-c", "server", *flags))


if __name__ == "__main__":
    unittest.main()
