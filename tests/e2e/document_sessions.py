"""What stands around the commands of each document, so that all of them can be done; and which cannot."""

import pathlib

import images
from document_runner import ROOT, Session, blocks

# Commands that no session does, with the reason. Each has to stand in its document.
MINUTES = "minutes on a quiet machine; e2e_bench does it with --quick"
TESTS = "runs all tests, this one among them"
BUILDS = "builds the tree anew with another compiler; ./test does both"
SYSTEMD = "needs systemd as the first process"
ITSELF = "the whole example: examples_long does it"
LEFT_OUT = {
    ("README.md", "./test"): TESTS,
    ("CONTRIBUTING.md", "./test"): TESTS,
    ("CONTRIBUTING.md", "./test -R tunnel"): TESTS,
    ("CONTRIBUTING.md", "./test --full"): TESTS,
    ("CONTRIBUTING.md", "cmake --preset fuzz && cmake --build --preset fuzz"): BUILDS,
    ("CONTRIBUTING.md", "build-fuzz/bin/ip_header_fuzz -max_total_time=600 build-fuzz/corpus/ip_header_fuzz"): BUILDS,
    ("CONTRIBUTING.md", "sudo IM_LONG=1 tests/interop/kernel_vm_test.py build/bin/im-tunnel"):
        "minutes in a virtual machine; ./test --full does it",
    ("CONTRIBUTING.md", "sudo IM_SHOTS=/tmp tests/e2e/in_namespace.sh $PWD/build/bin python3 tests/e2e/dashboard_test.py"):
        "a test of its own: e2e_dashboard",
    ("CONTRIBUTING.md", "IM_SIM_FIRST=10001 IM_SIM_SEEDS=1000000 build/bin/im_simulation_tests --gtest_filter=Cluster*"):
        "a day; ./test does 10,000 seeds",
    ("docs/im-bench.md", "sudo build/bin/im-bench run"): "half an hour; e2e_bench does it with --quick",
    ("docs/performance.md", "build/bin/im-bench run tunnel peers handshakes"): MINUTES,
    ("docs/performance.md", "build/bin/im-bench run tcp_stream"): MINUTES,
    ("docs/performance.md", "IM_LONG=1 tests/interop/flood_test.py build/bin/im-tunnel"): "minutes; ./test --full does it",
    ("docs/performance.md", "sudo IM_SOAK_CYCLES=10000 IM_LEAK_CYCLES=1000 tests/e2e/in_namespace.sh $PWD/build/bin "
                            "python3 tests/e2e/soak_test.py"): "hours; e2e_soak does fewer cycles",
    ("docs/operations.md", "sudo systemctl enable --now imaginary-machines@shop"): SYSTEMD,
    ("docs/operations.md", "journalctl -u imaginary-machines@shop"): SYSTEMD,
    ("examples/microservices/README.md", "sudo examples/microservices/run"): ITSELF,
    ("examples/microservices/README.md", "sudo examples/microservices/run --compare"): ITSELF,
    ("examples/spark/README.md", "sudo examples/spark/run"): ITSELF,
    ("examples/drill/README.md", "sudo examples/drill/run"): ITSELF,
}

# Documents whose commands are done by a test of their own, since they are for two machines.
ELSEWHERE = {"docs/peers.md": "peer_test.py"}

SHOP = "name: shop\nhosts:\n  web: {command: sleep 1000}\n"
WIREGUARD = """[Interface]
PrivateKey = kE2v2ujC0XwXTMPYVUWnQ8+b1N6CYXCEXhRKVJxvOGg=
Address = 10.9.0.1/24
[Peer]
PublicKey = 6mBAnPHu4dMzC6nb1Fy2ZBnNKXTDdGoRO9jVdSVO9UA=
AllowedIPs = 10.9.0.2/32
"""
COMPOSE = "services:\n  cache: {image: 'redis:7', command: [sleep, '1000']}\n"


def write(name, text):
    return f"cat > {name} << 'END_OF_FILE'\n{text}END_OF_FILE\n"


def image_files(folder):
    """redis.tar, layout, rootfs, rootfs.tar, and a docker-compose.yml."""
    base = images.base_layer()
    images.docker_save(folder / "redis.tar", ["redis:7"], {"Cmd": ["sleep", "1000"]}, base)
    images.oci_layout(folder / "layout", {"Cmd": ["sleep", "1000"]}, base)
    (folder / "rootfs.tar").write_bytes(images.tar_bytes(base))
    (folder / "rootfs/bin").mkdir(parents=True)
    (folder / "rootfs/bin/sh").write_bytes(pathlib.Path(images.busybox()).read_bytes())
    (folder / "docker-compose.yml").write_text(COMPOSE)


def readme_files(folder):
    image_files(folder)
    (text,) = blocks(ROOT / "README.md", "yaml")
    (folder / "cluster.yaml").write_text(text)
    (folder / "new.conf").write_text("new\n")


def start_files():
    text = ""
    for name, language in ("app.py", "python"), ("cluster.yaml", "yaml"):
        (contents,) = blocks(ROOT / "docs/start.md", language)
        text += write(name, contents)
    return text


def shop(command, **more):
    """A cluster of one host, web, which is up before the first command."""
    up = write("cluster.yaml", SHOP) + "im up -d\nim wake web"
    return Session(before={command: up, **more.pop("before", {})}, **more)


REDIS = ("redis-server", "redis-cli", "curl")
BUSYBOX = ("busybox",)
SESSIONS = {
    "README.md": Session(
        prepare=readme_files, needs=(*REDIS, *BUSYBOX, "nginx"),
        # It shows the first command twice.
        before={"./run examples/quickstart/cluster.yaml": "[ ! -e $HOME/beside ] || end_beside",
                "im up cluster.yaml": "end_beside", "im image import redis:7 redis.tar": "rm cluster.yaml"},
        until={"im events -f": r"web +imaginary", "im top": r"web +running"},
        written={"im capture web -w web.pcap": "web.pcap"},
        says=(r"db +imaginary", r"PONG", r"db +imaginary (→|->) starting +SYN from run-1:\d+ to :6379",
              r"http://127\.0\.0\.1:\d+/#token=", r"# HELP im_", r"Clusters run here")),
    "CONTRIBUTING.md": Session(needs=("/dev/net/tun",), says=(r"\[  PASSED  \] [1-9]\d* test",)),
    "docs/start.md": Session(
        needs=REDIS, before={"sudo env PATH=$PATH im up -d": start_files()},
        says=(r"web +imaginary", r"visitor 1", r"db +running .*SYN from web:\d+ to :6379", r"visitor 2", r"visitor 1",
              r"db is running", r"^2$", r"first: ended")),
    "docs/troubleshooting.md": shop("im doctor", says=(r"web is running", r"web +imaginary (→|->) starting +im wake")),
    "docs/compose.md": Session(
        prepare=image_files, needs=BUSYBOX,
        # The image of its service, which the document imports next.
        before={"im validate docker-compose.yml": "im image import redis:7 redis.tar"},
        says=(r"redis:7", r"cache:")),
    "docs/dashboard.md": shop("im dashboard", says=(r"http://127\.0\.0\.1:9601/#token=",)),
    "docs/im-bench.md": Session(
        shorter={"sudo build/bin/im-bench run tcp_stream tcp_rr --repeat 9 --json now.json --html now.html":
                 "sudo build/bin/im-bench run tcp_stream tcp_rr --quick --peers none --json now.json --html now.html"},
        before={"build/bin/im-bench compare before.json now.json": "cp now.json before.json"},
        says=(r"tcp_stream", r"tcp_rr")),
    "docs/im-tunnel.md": Session(
        needs=("wg", "wg-quick"),
        before={"im-tunnel wg0": "mkdir -p /etc/wireguard\n" + write("/etc/wireguard/wg0.conf", WIREGUARD),
                "WG_QUICK_USERSPACE_IMPLEMENTATION=im-tunnel wg-quick up wg0":
                    "wg show wg0 allowed-ips\nip link del wg0\nwhile [ -e /run/wireguard/wg0.sock ]; do :; done"},
        says=(r"10\.9\.0\.2/32",)),
    "docs/netstack.md": Session(),
    "docs/operations.md": shop(
        "im capture web | tshark -r -", until={"im capture web | tshark -r -": "."},
        before={"sudo im -c shop ps": "im down\nim up -d /etc/imaginary-machines/shop/cluster.yaml"},
        says=(r"shop: ended", r"web +imaginary")),
    "docs/performance.md": Session(),
    "examples/quickstart/README.md": Session(
        needs=(*REDIS, "nginx"), says=(r"visitor 1\.", r"db +running", r"\b1\b", r"visitor 2\.", r"visitor 3\.")),
    "examples/database/README.md": Session(
        needs=("/usr/lib/postgresql", "curl"),
        shorter={"im run -- $bin/pgbench -h db -U postgres -c 4 -T 10 postgres":
                 "im run -- $bin/pgbench -h db -U postgres -c 4 -T 2 postgres"},
        says=(r"ok: both are paused, with 50 open connections", r"ok: started anew", r"ok: after im down no process is left",
              r"visitor 1; 50 connections", r"visitor 2; 50 connections", r"number of failed transactions: 0 ")),
    "examples/zookeeper/README.md": Session(
        needs=("/usr/share/zookeeper/bin/zkCli.sh",),
        says=(r"ok: all three are there", r"ok: thawed by a question", r"zk-3 +running .*group zk-1")),
    "examples/microservices/README.md": Session(
        long=True, needs=("nginx", "memcached", "redis-server", "thrift", "go", "javac", "g++"),
        says=(r"see http://",)),
    "examples/spark/README.md": Session(
        long=True, needs=(str(ROOT / ".cache/spark/done"),),
        says=(r'"ready": \["worker-1", "worker-2", "worker-3", "worker-4"\]', r"Pi is roughly 3\.1")),
    "examples/drill/README.md": Session(
        long=True, needs=(str(ROOT / ".cache/drill/done"),), says=(r"drillbit-1",)),
}
