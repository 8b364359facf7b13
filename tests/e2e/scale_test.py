"""A cluster of many hosts (a million are tried by im-bench run hosts)."""

import pathlib
import unittest

from cluster import PEER, SLOW_FACTOR, ClusterTest

HOSTS = 100_000
SPEC = f"""
network: {{cidr: 10.64.0.0/12}}
defaults: {{idle: {{after: 10m, release_after: 10m}}}}
hosts:
  fixed: {{command: [{PEER}, serve, --echo, "7000"], address: 10.64.3.232}}
  h: {{replicas: {HOSTS - 1}, command: [{PEER}, serve, --echo, "7000"]}}
"""


def proportional_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])


class Scale(ClusterTest):
    def test_any_of_100000_hosts_wakes_and_none_costs_much(self):
        c = self.cluster(SPEC)
        self.assertIn(f"{HOSTS} hosts", c.im("validate", str(c.spec)).stdout)
        c.up()
        imd_kb = proportional_kb(c.imd_pid())
        drive = c.drive()
        addresses = {}
        for host in "fixed", "h-1", "h-50000", f"h-{HOSTS - 1}":
            self.assertTrue(drive(f"connect 1 {host} 7000")["ok"], host)
            self.assertTrue(drive("ping 1 1")["ok"], host)
            drive("close 1")
            addresses[host] = drive(f"resolve {host}")["address"]
        self.assertFalse(drive(f"resolve h-{HOSTS}")["ok"])

        hosts = c.ps()
        self.assertEqual(len(hosts), HOSTS + 1, "and the client")
        self.assertEqual({h: hosts[h]["address"] for h in addresses}, addresses)
        running = [h for h, p in hosts.items() if p["state"] == "running"]
        self.assertEqual(sorted(running), sorted([*addresses, "client"]))
        # 100,000 names would be 3 MB.
        agent_kb = proportional_kb(hosts["h-50000"]["agent_pid"])
        if SLOW_FACTOR == 1:  # sanitizers need much memory of their own
            self.assertLess(imd_kb / HOSTS, 0.5, f"imd has {imd_kb} KB")
            self.assertLess(agent_kb, 3000, "names come with each start")


if __name__ == "__main__":
    unittest.main(verbosity=2)
