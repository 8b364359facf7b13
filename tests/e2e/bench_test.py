"""im-bench: every scenario works and says what it measured. No timing is asserted."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest
from xml.etree import ElementTree

from cluster import BIN, DEADLINE_S, SLOW_FACTOR, find_criu, wait_until

SCENARIOS = {"tcp_stream", "udp_stream", "tcp_rr", "tcp_rr_under_load", "tcp_crr", "udp_rr", "cold_start",
             "mtu", "loss_rtt", "app_redis", "starts", "thaw", "timers", "storm", "idle_cost", "hosts", "tunnel", "peers",
             "handshakes", "netstack", "crypto"}
# Left out where their programs are not installed.
OPTIONAL = {"app_http": ("nginx", "wrk"), "restore": ("redis-server",)}
# Enough for a sanitizer to see all kinds of scenario; the others differ in what is sent.
WITH_SANITIZERS = {"tcp_rr", "loss_rtt", "thaw", "timers", "starts", "tunnel", "peers", "handshakes", "netstack"}
# Measured between programs that embed the stack, too.
EMBEDDED = {"netstack", "loss_rtt", "mtu", "tcp_stream", "udp_stream", "tcp_rr", "tcp_rr_under_load", "tcp_crr", "udp_rr"}
# What may well be zero: nothing was lost, nothing failed, nothing was done.
MAY_BE_ZERO = ("lost", "failures", "processor time", "a quiet connection")


def bench(*arguments, prefix=(), **more):
    return subprocess.run([*prefix, str(BIN / "im-bench"), *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=8 * DEADLINE_S, **more)


def with_criu():
    """The environment in which there is CRIU, where it can be had."""
    criu = find_criu()
    return {**os.environ, "IM_CRIU": criu} if criu else None


def cgroups_of(run):
    """Directories im/bench-PID-… of all cgroup file systems; those of others come and go meanwhile."""
    found = set()
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind = line.split()[:3]
        if kind.startswith("cgroup"):
            found |= {folder for folder, _, _ in os.walk(place) if f"/im/bench-{run.pid}-" in folder}
    return found


def processes_with(marker):
    """Pids of processes whose environment has `marker`."""
    found = set()
    for environ in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
        except OSError:
            pass  # it has ended
    return found


def stat_of(pid):
    """The fields of /proc/PID/stat from the state on; None of one that has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def still_runs(pid, since):
    stat = stat_of(pid)
    return stat is not None and stat[19] == since and stat[0] != "Z"


def descendants_of(run):
    """Pid and begin of each; those too that write their title over their environment, as redis does."""
    children, since = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        if stat := stat_of(folder.name):
            children.setdefault(int(stat[1]), []).append(int(folder.name))
            since[int(folder.name)] = stat[19]
    found, left = {}, [run.pid]
    while left:
        for child in children.get(left.pop(), []):
            found[child] = since[child]
            left.append(child)
    return found


def names_of(pids):
    """Names of those that still live."""
    names = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            names.add(pathlib.Path(f"/proc/{pid}/comm").read_text().strip())
    return names


class Bench(unittest.TestCase):
    def test_quick_run_of_all_scenarios(self):
        with tempfile.TemporaryDirectory() as directory:
            report, page = pathlib.Path(directory) / "report.json", pathlib.Path(directory) / "page.html"
            chosen = sorted(WITH_SANITIZERS) if SLOW_FACTOR > 1 else []
            environment = None if chosen else with_criu()
            result = bench("run", *chosen, "--quick", "--json", report, "--html", page, env=environment)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            written = json.loads(report.read_text())
            html = page.read_text()
            same = bench("compare", report, report)
            drawn = bench("plot", report, "--out", pathlib.Path(directory) / "plots")
            # As files of XML.
            plots = {p.name: ElementTree.parse(p).getroot() for p in pathlib.Path(directory, "plots").iterdir()}
        results = written["results"]
        expected = set(chosen) or SCENARIOS | {
            name for name, programs in OPTIONAL.items() if all(map(shutil.which, programs))}
        if not environment:
            expected -= {"restore"}
        self.assertEqual({r["scenario"] for r in results}, expected)
        self.assertEqual([s for s in written["skipped"] if s["failed"]], [])
        for result in results:
            if not any(word in result["what"] for word in MAY_BE_ZERO):
                self.assertGreater(result["min"], 0, result)
            self.assertLessEqual(result["min"], result["median"])
            self.assertLessEqual(result["median"], result["max"])
            self.assertIn(result["samples"], (1, 2))
        self.expect_costs(results)
        self.expect_percentiles(results)
        for scenario in EMBEDDED & expected:
            self.assertTrue(any(r["way"].startswith("embedded") for r in results if r["scenario"] == scenario), scenario)
        for key in ("cpu", "cpus", "kernel", "versions"):
            self.assertTrue(written["machine"][key], key)
        for scenario in expected:
            self.assertIn(f"<h2>{scenario}</h2>", html)
        self.assertEqual(drawn.returncode, 0, drawn.stderr)
        self.assertEqual({name.rsplit("_", 1)[0] for name in plots}, expected)
        ways = {title.text for plot in plots.values() for title in plot.iter("{http://www.w3.org/2000/svg}text")}
        self.assertLessEqual({r["way"] for r in results}, ways)
        # A report is as good as itself.
        self.assertEqual(same.returncode, 0, same.stdout + same.stderr)
        self.assertIn("tcp_rr", same.stdout)

    def expect_costs(self, results):
        """Beside every throughput, what it takes: processor time, and the memory of the programs that carry it."""
        figures = {(r["scenario"], r["way"], r["what"].replace(",", ""), r["unit"]) for r in results}
        for scenario, way, what, unit in figures:
            of_the_kernel = "veth" in way or "kernel WireGuard" in way or way.endswith("not encrypted")
            of_requests = unit == "1/s" and scenario.startswith("app_")
            if not (of_requests or unit in ("Gb/s", "Mb/s")) or (scenario == "tunnel" and of_the_kernel):
                continue
            self.assertIn((scenario, way, what + " processor time", "us" if of_requests else "s/GB"), figures)
            if not of_the_kernel:
                self.assertIn((scenario, way, what + " memory", "MB"), figures)

    def expect_percentiles(self, results):
        """Where p50 of many trips is told, p99 and p99.9 are, too; and of all samples of a row."""
        medians = {(r["scenario"], r["way"], r["what"]): r["median"] for r in results}
        for (scenario, way, what), p50 in medians.items():
            if what.endswith("p50"):
                p99, p999 = (medians[scenario, way, what.removesuffix("p50") + p] for p in ("p99", "p99.9"))
                self.assertLessEqual(p50, p99, what)
                self.assertLessEqual(p99, p999, what)
        for r in results:
            self.assertLessEqual(r["p99"], r["p99.9"])
            self.assertLessEqual(r["p99.9"], r["max"])

    def test_an_unknown_scenario_is_named(self):
        result = bench("run", "nonsense")
        self.assertEqual(result.returncode, 2)
        self.assertIn("nonsense", result.stderr)

    def test_a_file_that_cannot_be_written_is_said_before_anything_is_measured(self):
        result = bench("run", "thaw", "--json", "/nowhere/report.json")
        self.assertEqual(result.returncode, 2)
        self.assertIn("/nowhere/report.json", result.stderr)
        self.assertEqual(result.stdout, "")

    def test_reports_that_differ_beyond_the_bound_are_told_by_the_exit_code(self):
        def report(values):
            return json.dumps({"results": [{"scenario": "race", "what": "speed", "way": "im", "unit": "Gb/s",
                                            "values": values}]})
        with tempfile.TemporaryDirectory() as directory:
            before, after = pathlib.Path(directory) / "before", pathlib.Path(directory) / "after"
            before.write_text(report([10, 10, 10]))
            after.write_text(report([8, 8, 8]))
            worse = bench("compare", before, after)
            within = bench("compare", before, after, "--bound", 30)
            better = bench("compare", after, before)
            after.write_text("{}")
            broken = bench("compare", before, after)
        self.assertEqual((worse.returncode, within.returncode, better.returncode, broken.returncode),
                         (1, 0, 0, 2))
        self.assertIn("WORSE", worse.stdout)
        self.assertIn("not a report", broken.stderr)

    def killed(self, signal_number, scenario, began, env=None):
        """Starts a run, ends it by a signal when `began(pids, cgroups)` of it; all that it started must be gone."""
        marker = f"IM_BENCH_TEST={os.getpid()}.{signal_number}.{scenario}"
        name, value = marker.split("=")
        # Short: names of sockets will be in it.
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="")))
        said = self.enterContext(tempfile.TemporaryFile("w+"))
        run = subprocess.Popen([str(BIN / "im-bench"), "run", scenario, "--repeat", "100000"],
                               env={**(env or os.environ), name: value, "TMPDIR": str(folder)},
                               stdout=subprocess.DEVNULL, stderr=said)
        seen = {}

        def under_way():
            seen.update(descendants_of(run))
            if run.poll() is not None:
                raise AssertionError(f"{scenario} ended by itself")
            return began(seen, cgroups_of(run))

        def is_gone():
            return (not processes_with(marker.encode()) and not any(still_runs(*one) for one in seen.items()) and
                    not cgroups_of(run) and not any(folder.iterdir()))

        try:
            wait_until(under_way, f"{scenario} to begin")
            run.send_signal(signal_number)
            run.wait(DEADLINE_S)
            wait_until(is_gone, "nothing of the run")
        except BaseException:
            said.seek(0)
            print(f"{scenario}, exit status {run.poll()}: {said.read()}", flush=True)
            raise
        finally:
            run.kill()
            run.wait()
        return run.returncode

    def test_what_was_measured_is_told_by_a_run_that_is_stopped(self):
        with tempfile.TemporaryDirectory() as directory:
            report, page = pathlib.Path(directory) / "report.json", pathlib.Path(directory) / "page.html"
            run = subprocess.Popen([str(BIN / "im-bench"), "run", "crypto", "--repeat", "100000", "--rounds", "100000",
                                    "--json", str(report), "--html", str(page)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            self.addCleanup(run.kill)
            for _ in range(3):
                self.assertIn("crypto (", run.stderr.readline())  # the third begins: two rounds are over
            run.send_signal(signal.SIGINT)
            said, complaints = run.communicate(timeout=DEADLINE_S)
            self.assertEqual(run.returncode, 128 + signal.SIGINT, complaints)
            results = json.loads(report.read_text())["results"]
            html = page.read_text()
        self.assertGreater(len(results), 3)
        for result in results:
            self.assertGreaterEqual(result["samples"], 2)
        self.assertIn("Curve25519", said)
        self.assertIn("<h2>crypto</h2>", html)

    def test_nothing_is_left_when_it_is_ended(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(signal=number):
                code = self.killed(number, "thaw", lambda pids, cgroups: cgroups)
                self.assertEqual(code, 128 + number if number == signal.SIGTERM else -number)

    def test_nothing_is_left_of_any_kind_of_scenario_when_it_is_killed(self):
        # A program of each: emulated paths, other programs' servers, many peers, containers or their like.
        kinds = [("loss_rtt", "im-path"), ("app_redis", "redis-server"), ("peers", "im-hub-peers"),
                 ("starts", "im-peer")]
        environment = with_criu() if SLOW_FACTOR == 1 else None
        if environment:
            kinds.append(("restore", "redis-server"))
        for scenario, program in kinds:
            with self.subTest(scenario=scenario):
                code = self.killed(signal.SIGKILL, scenario,
                                   lambda pids, cgroups, program=program: program in names_of(pids), environment)
                self.assertEqual(code, -signal.SIGKILL)

    def test_without_root_and_devices_it_says_what_is_left_out(self):
        """In a user namespace of one who is nobody."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root, to become somebody else")
        result = bench("run", "crypto", "tcp_rr", "--quick",
                       prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
        if "user namespaces" in result.stderr:
            self.skipTest("user namespaces are not allowed here")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("Curve25519", result.stdout, result.stderr)
        self.assertIn("veth, not encrypted", result.stdout, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
