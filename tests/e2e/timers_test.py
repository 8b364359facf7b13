"""Programs that sleep and then do something by themselves, on hosts that are paused meanwhile."""

import sys
import time
import unittest

from cluster import LONG, SLOW_FACTOR, ClusterTest, wait_until

PERIOD_S = 3

# Each writes the time into its file, every PERIOD_S seconds.
SHELL = f"while sleep {PERIOD_S}; do date +%s.%N >> $$0; done"  # $$ is cluster.yaml's $
SLEEP = f"""\
import sys, time
while True:
    time.sleep({PERIOD_S})
    with open(sys.argv[1], "a") as out: print(time.time(), file=out)
"""
ASYNC = f"""\
import asyncio, sys, time
async def main():
    while True:
        await asyncio.sleep({PERIOD_S})
        with open(sys.argv[1], "a") as out: print(time.time(), file=out)
asyncio.run(main())
"""
THREAD = f"""\
import sys, threading, time
event = threading.Event()
while not event.wait({PERIOD_S}):
    with open(sys.argv[1], "a") as out: print(time.time(), file=out)
"""
SELECT = f"""\
import select, sys, time
while True:
    select.select([], [], [], {PERIOD_S})
    with open(sys.argv[1], "a") as out: print(time.time(), file=out)
"""
# Looks around twice a second, and finds nothing.
TICKER = "import time\nwhile True: time.sleep(0.5)\n"


class TimersTest(ClusterTest):

    def up(self, commands, idle):
        c = self.cluster("network: {cidr: 10.77.0.0/24}\nhosts: {}\n")
        hosts = ""
        for name, (language, text) in commands.items():
            script = c.dir / f"{name}.txt"
            script.write_text(text)
            program = [sys.executable, str(script)] if language == "python" else ["sh", "-c", text]
            words = ", ".join(f"'{word}'" for word in program + [str(self.file(c, name))])
            hosts += f"  {name}:\n    command: [{words}]\n    idle: {idle}\n"
        c.spec.write_text(f"name: {c.name}\nnetwork: {{cidr: 10.77.0.0/24}}\nhosts:\n{hosts}")
        c.up()
        for name in commands:
            c.im("wake", name)
        return c

    @staticmethod
    def file(c, name):
        return c.dir / f"{name}.out"

    def times(self, c, name):
        path = self.file(c, name)
        return [float(line) for line in path.read_text().split()] if path.exists() else []

    def test_jobs_are_done_on_time_and_the_host_is_paused_in_between(self):
        jobs = {"shell": ("sh", SHELL), "sleep": ("python", SLEEP), "async": ("python", ASYNC),
                "thread": ("python", THREAD), "select": ("python", SELECT)}
        c = self.up(jobs, "{after: 300ms, release_after: 1s, tick_max: 0, timer_horizon: 200ms}")
        rounds = 20 if LONG else 4
        for name in jobs:
            wait_until(lambda: len(self.times(c, name)) >= rounds, f"{name} did its job")
        hosts = c.ps()
        for name in jobs:
            times = self.times(c, name)
            for before, after in zip(times, times[1:]):
                self.assertGreater(after - before, PERIOD_S - 0.1, name)
                # Most of it is the program's own time, on a loaded machine.
                self.assertLess(after - before, PERIOD_S + 0.7 * SLOW_FACTOR, name)
            self.assertEqual(int(hosts[name]["starts"]), 1, f"{name} was not released")
            self.assertGreaterEqual(int(hosts[name]["thaws"]), rounds - 1, name)
            self.assertRegex(hosts[name]["cause_text"], r"timer of \w+")
        c.wait_state("sleep", "paused")
        self.assertRegex(c.im("why", "sleep").stdout,
                         r"paused; woken in \S+ for a timer of python\S*, not released before")

    def test_whoever_only_ticks_is_paused_and_released(self):
        c = self.up({"ticker": ("python", TICKER)}, "{after: 300ms, release_after: 1s}")
        c.wait_state("ticker", "paused")
        c.wait_state("ticker", "imaginary")

    def test_with_ignore_a_host_is_released_whatever_it_waits_for(self):
        c = self.up({"sleep": ("python", "import time\ntime.sleep(10000)\n")},
                    "{after: 300ms, release_after: 1s, timers: ignore}")
        c.wait_state("sleep", "imaginary")

    def test_a_pause_that_was_asked_for_ends_with_a_timer(self):
        c = self.up({"sleep": ("python", SLEEP)}, "{after: 10m, tick_max: 0}")
        # Of a program that is not asleep yet nobody knows when it wants to wake.
        wait_until(lambda: c.ps()["sleep"]["status"].get("timer_of"), "it sleeps")
        done = len(self.times(c, "sleep"))
        c.im("suspend", "sleep")
        wait_until(lambda: len(self.times(c, "sleep")) > done, "the job was done")
        self.assertGreaterEqual(int(c.ps()["sleep"]["thaws"]), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
