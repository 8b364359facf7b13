"""Unmodified programs on `attach: netstack`, each used by its own client from another host.

Everything is an ordinary user's (nobody): the cluster, its agents, the programs. So no program
has a right, a namespace or a TUN device. Servers are woken by their clients' first packets.
"""

import ctypes
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import program_sources as sources
from cluster import DEADLINE_S, NOBODY, SLOW_FACTOR, ClusterTest, agents_of, wait_until

# Debian keeps the server's own programs where no PATH leads.
POSTGRES_BIN = next(iter(sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))), None)


def needs(*programs):
    missing = [p for p in programs if shutil.which(p, path="/usr/sbin:" + os.environ["PATH"]) is None]
    return unittest.skipIf(missing, f"not installed: {' '.join(missing)}")


def resident_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def is_parent(pid, processes):
    """Whether one of `processes` is a child of `pid`."""
    return any(int(pathlib.Path(f"/proc/{other}/stat").read_text().rsplit(")", 1)[1].split()[1]) == pid
               for other, _ in processes)


class ProgramsTest(ClusterTest):

    def serve(self, *command):
        """Where `command` is the program of the host `server`."""
        return self.serve_all({"server": command})

    def serve_all(self, commands):
        """The same of several hosts, by their names."""
        hosts = ""
        for name, command in commands.items():
            words = ", ".join(f'"{word}"' for word in command)
            hosts += f"  {name}: {{command: [{words}], start_timeout: 60s}}\n"
        c = self.user_cluster(
            "network: {cidr: 10.77.0.0/24}\n"
            "defaults: {attach: netstack, idle: {after: 10m, release_after: 10m}}\n"
            f"hosts:\n{hosts}")
        c.up()
        return c

    def make_files(self, files):
        """A directory of the user's that holds `files`; {dir} in them is its name."""
        self.directory = tempfile.mkdtemp(prefix="im-e2e-", dir="/var/tmp")
        # Called after the cluster's end.
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        for name, text in files.items():
            path = pathlib.Path(self.directory) / name
            path.write_text(text.replace("{dir}", self.directory))
            os.chmod(path, 0o644)
        os.chown(self.directory, NOBODY, NOBODY)
        os.chmod(self.directory, 0o755)

    def serve_scripts(self, files, *command):
        """As serve, with such a directory."""
        self.make_files(files)
        return self.serve(*(word.replace("{dir}", self.directory) for word in command))

    def give_nobody_a_shell(self):
        """And a password that is none, as sshd asks of users: for this process and its children."""
        new_mounts = 0x20000  # CLONE_NEWNS
        self.assertEqual(ctypes.CDLL(None).unshare(new_mounts), 0)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        users = re.sub("^nobody:.*$", f"nobody:x:{NOBODY}:{NOBODY}:nobody:{self.directory}:/bin/sh",
                       pathlib.Path("/etc/passwd").read_text(), flags=re.M)
        # Not systemd's, which says that nobody is locked.
        names = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
        for path, text in ("/etc/passwd", users), ("/etc/nsswitch.conf", names):
            copy = pathlib.Path(self.directory) / pathlib.Path(path).name
            copy.write_text(text)
            os.chmod(copy, 0o644)
            subprocess.run(["mount", "--bind", str(copy), path], check=True)
            self.addCleanup(subprocess.run, ["umount", path], check=True)

    def client(self, cluster, *command):
        """What `command` says, run on a host of its own of the same attachment."""
        return cluster.im("run", "--attach", "netstack", "--", *command).stdout

    @needs("nginx", "curl")
    def test_nginx_serves_files_by_http_1_and_2(self):
        page = "nginx's page\n" * 10000
        c = self.serve_scripts({"page": page, "nginx.conf": sources.NGINX},
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
        self.assertEqual(self.client(c, "python3", "-c", sources.MEMCACHED_CLIENT).splitlines(),
                         ["STORED", "VALUE k 0 100000 True"])

    @needs("node")
    def test_node_serves_and_asks_by_http(self):
        # It would use io_uring for its files and sockets, if there were it.
        c = self.serve_scripts({"server.js": sources.NODE_SERVER, "client.js": sources.NODE_CLIENT},
                               "env", "UV_USE_IO_URING=1", "node", "{dir}/server.js")
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
        for flags in [], ["-R"], ["-P", "2"]:
            said = self.client(c, "iperf3", "-c", "server", "-u", "-b", "10M", "-t", "1", *flags)
            self.assertIn("iperf Done", said)
            self.assertRegex(said, r" \d+/\d{3,} \(.*receiver")

    @needs("go")
    def test_static_go_programs_serve_and_ask_by_http(self):
        self.make_files({"main.go": sources.GO})
        program = f"{self.directory}/http"
        subprocess.run(["go", "build", "-o", program, f"{self.directory}/main.go"], check=True,
                       env=dict(os.environ, CGO_ENABLED="0", GO111MODULE="off"))
        c = self.serve(program, "serve")
        self.assertEqual(self.client(c, program, "ask"), "80\n")

    @needs("java", "javac")
    def test_java_programs_serve_and_ask_by_http(self):
        self.make_files({"Http.java": sources.JAVA})
        subprocess.run(["javac", "-d", self.directory, f"{self.directory}/Http.java"], check=True)
        java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-cp", self.directory, "Http"]
        c = self.serve(*java, "serve")
        self.assertEqual(self.client(c, *java, "ask"), "20\n")

    @needs("curl")
    def test_python_serves_files_within_a_host_by_ipv6_too(self):
        page = "python's page\n" * 20000
        c = self.serve_scripts({"page": page}, "python3", "-m", "http.server", "--bind", "::",
                               "--directory", "{dir}", "8000")
        self.assertEqual(self.client(c, "curl", "-sSf", "http://server:8000/page"), page)
        for address in "[::1]", "127.0.0.1", "server":
            got = c.im("exec", "server", "--", "curl", "-sSf", f"http://{address}:8000/page").stdout
            self.assertEqual(got, page, address)

    @needs("/usr/sbin/sshd", "ssh", "scp", "ssh-keygen")
    def test_ssh_runs_commands_and_scp_copies(self):
        self.make_files({"sshd_config": sources.SSHD, "page": "by scp\n" * 50000})
        self.give_nobody_a_shell()
        for key in "host_key", "user_key":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                            f"{self.directory}/{key}"], check=True, user=NOBODY, group=NOBODY,
                           extra_groups=[], cwd="/")
        c = self.serve("/usr/sbin/sshd", "-D", "-e", "-f", f"{self.directory}/sshd_config")
        options = ["-F", "none", "-i", f"{self.directory}/user_key", "-o", "BatchMode=yes", "-o",
                   "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-q"]
        said = self.client(c, "ssh", *options, "-p", "2222", "nobody@server", "echo $SSH_CONNECTION")
        self.assertRegex(said, r"^10\.77\.0\.\d+ \d+ 10\.77\.0\.\d+ 2222$")
        page = f"{self.directory}/page"
        self.client(c, "scp", *options, "-P", "2222", page, f"nobody@server:{page}.up")
        self.client(c, "scp", *options, "-P", "2222", f"nobody@server:{page}.up", f"{page}.down")
        self.assertEqual(pathlib.Path(f"{page}.down").read_text(), pathlib.Path(page).read_text())

    @unittest.skipUnless(os.path.exists("/usr/share/zookeeper/bin/zkCli.sh"), "not installed: zookeeper")
    def test_three_zookeeper_servers_are_one_ensemble(self):
        self.make_files({"start.sh": sources.ZOOKEEPER})
        c = self.serve_all({f"zk-{i}": ["sh", f"{self.directory}/start.sh", str(i)] for i in (1, 2, 3)})

        def ask(host, *words):
            done = c.im("run", "--attach", "netstack", "--", "/usr/share/zookeeper/bin/zkCli.sh",
                        "-waitforconnection", "-server", f"{host}:2181", *words,
                        timeout=4 * DEADLINE_S)
            return done.stdout + done.stderr

        self.assertIn("Created /a", ask("zk-1", "create", "/a", "b"))
        self.assertIn("\nb\n", ask("zk-3", "get", "/a"))

    def test_an_agent_holds_5000_connections_in_little_memory(self):
        self.make_files({"server.py": sources.ASYNCIO_SERVER, "client.py": sources.ASYNCIO_CLIENT})
        c = self.serve("python3", f"{self.directory}/server.py")
        c.im("wake", "server")
        (agent, _), = [a for a in agents_of(c) if b"im-agent" in a[1] and is_parent(a[0], agents_of(c))]
        idle_kb = resident_kb(agent)
        client = subprocess.Popen(
            [c.programs / "im", "run", "--attach", "netstack", "--", "python3",
             f"{self.directory}/client.py", "5000"], env=c.env, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
        self.addCleanup(client.wait)
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.kill)
        self.assertEqual(client.stdout.readline(), "5000\n")
        full_kb = resident_kb(agent)
        print(f"agent: {idle_kb} KB idle, {full_kb} KB with 5,000 connections", flush=True)
        client.stdin.write("\n\n")
        client.stdin.close()
        self.assertEqual(client.stdout.readline(), "5000\n")
        self.assertEqual(client.wait(DEADLINE_S), 0)
        if SLOW_FACTOR == 1:  # sanitizers have memory of their own
            self.assertLess(idle_kb, 8 << 10)
            self.assertLess(full_kb, 40 << 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
