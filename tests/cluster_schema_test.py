#!/usr/bin/env python3
"""docs/cluster.schema.json agrees with `im validate`: cluster_schema_test.py IM"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

try:
    import jsonschema
    import yaml
except ImportError as lacking:
    print(f"not run: {lacking}; apt-get install python3-jsonschema python3-yaml", file=sys.stderr)
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import cluster_schema

IM = sys.argv.pop(1)
DEADLINE_S = 60
SCHEMA = json.loads((ROOT / "docs/cluster.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# One good value, or more, for each field of a host.
HOST = {
    "command": ["nginx -g 'daemon off;'", "[nginx, -g, 'daemon off;']"], "entrypoint": ["[sh, -c]"],
    "attach": ["auto", "tun", "true"], "environment": ["{A: 1, B: x, C: }", "[A=1, B]"], "env_file": ["/dev/null",
    "[{path: /nowhere, required: false}]"], "working_dir": ["data"], "user": ["nobody", "1000:1000"],
    "volumes": ["['data:/tmp', '/tmp:/mnt:ro']", "[{type: tmpfs, target: /mnt}]"], "tmpfs": ["/tmp", "[/tmp, /mnt]"],
    "ulimits": ["{nofile: 1024, core: -1}", "{nofile: {soft: 10, hard: 10}}"], "mem_limit": ["64m", "1.5g", "1048576"],
    "cpus": ["0.5", "2"], "logging": ["{max_size: 1m, files: 2}", "{driver: local, options: {max-size: 1m, max-file: '3'}}"],
    "deploy": ["{replicas: 2, resources: {limits: {cpus: '0.5', memory: 64m}}}"], "address": ["10.9.0.9"],
    "ipv4_address": ["10.9.0.8"], "aliases": ["[other]"], "hostname": ["name"],
    "ports": ["['18080:80', '127.0.0.1:18081:80/tcp']", "[{target: 80, published: 18082}]"], "replicas": ["2"],
    "scale": ["2"], "idle": ["never", "30s", "{}"], "start_timeout": ["1m30s"], "stop_signal": ["SIGINT", "INT"],
    "stop_grace_period": ["500ms", "0"], "restart": ["no", "'no'", "always", "on-failure:3"], "min_running": ["1"],
    "depends_on": ["[a]", "{a: {condition: service_started}}", "{a: {condition: service_completed_successfully}}"],
    "healthcheck": ["{test: [CMD, 'true'], interval: 5s, timeout: 1s, retries: 3, start_period: 1m, start_interval: 50ms}",
                    "{test: 'curl localhost'}", "{disable: true}", "{test: [NONE]}"], "wake_with": ["[a]", "a"], "group": ["g"],
    "on_release": ["terminate", "checkpoint"],
    "max_lifetime": ["1h", "never"], "checkpoint_expires": ["7d", "never"],
}
IDLE = {
    "after": ["5s", "1.5h"], "release_after": ["10m", "never"], "policy": ["quiet", "never"], "cpu_below": ["2%", "0.5%"],
    "busy_file": ["/tmp/busy"], "timers": ["auto", "ignore"], "timer_horizon": ["1s"], "tick_max": ["0"],
    "ignore": ["{ports: [9100], from: [10.9.0.9, 10.9.1.0/28, 'fd12::/64']}"], "below_bytes_per_s": ["8k"], "reclaim": ["true"],
}
TOP = {
    "name": ["shop"], "network": ["10.9.0.0/16", "{cidr: 10.9.0.0/16, domain: a.im, mtu: 1400, attach: tun}",
                                                       "{ipv6: true}", "{ipv6: 'fd12:3456:789a::/64'}"],
    "provider": ["process"], "defaults": ["{idle: 5s, user: nobody}"], "limits": ["{max_starting: 3, min_free_memory: 64m}"],
    "volumes": ["{data: , other: {}}"], "groups": ["{h: {suspend: together, heartbeat: {below_bytes_per_s: 1k}}}"],
    "x-mine": ["{anything: [at, all]}"],
}
WRONG = [
    "{}", "hosts: {}", "hosts: {a: {comand: x}}", "hosts: {a: {}}", "hosts: {A_: {command: x}}",
    "hosts: {a: {command: x, idle: soon}}", "hosts: {a: {command: x, idle: {after: 5}}}",
    "hosts: {a: {command: x, idle: {after: 5 parsecs}}}", "hosts: {a: {command: x, idle: {policy: lazy}}}",
    "hosts: {a: {command: x, idle: {cpu_below: 2}}}", "hosts: {a: {command: x, idle: {busy_file: here}}}",
    "hosts: {a: {command: x, replicas: 0}}", "hosts: {a: {command: x, ports: [80]}}", "hosts: {a: {command: x, ports: 80:80}}",
    "hosts: {a: {command: x, ports: [{target: 80}]}}", "hosts: {a: {command: x, volumes: data}}",
    "hosts: {a: {command: x, restart: sometimes}}", "hosts: {a: {command: x, on_release: keep}}",
    "hosts: {a: {command: x, address: here}}", "hosts: {a: {command: x, mem_limit: much}}",
    "hosts: {a: {command: x, start_timeout: 30}}", "hosts: {a: {command: x, min_running: -1}}",
    "hosts: {a: {command: x, attach: wifi}}", "hosts: {a: {command: {x: y}}}", "hosts: {a: {command: x, depends_on: {b: {condition: x}}}}",
    "hosts: {a: {command: x, healthcheck: {test: x, retries: 0}}}", "hosts: {a: {command: x, healthcheck: {test: x, interval: 5}}}",
    "{hosts: {a: {command: x}}, services: {b: {command: x}}}", "{hosts: {a: {command: x}}, network: {mtu: 10}}", "{hosts: {a: {command: x}}, network: {ipv6: maybe}}",
    "{hosts: {a: {command: x}}, network: here}", "{hosts: {a: {command: x}}, provider: cloud}",
    "{hosts: {a: {command: x}}, defaults: {command: y}}", "{hosts: {a: {command: x}}, limits: {max_starting: 0}}",
    "{hosts: {a: {command: x}}, groups: {g: {suspend: never}}}", "{hosts: {a: {command: x}}, group: {}}",
]


def im(text):
    """What `im validate` says of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cluster.yaml"
        path.write_text(text)
        (pathlib.Path(folder) / "data").mkdir()
        return json.loads(subprocess.run([IM, "validate", "--json", str(path)], stdout=subprocess.PIPE, text=True,
                                         timeout=DEADLINE_S).stdout)


def schema_errors(text):
    return [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(text))]


def properties_of(form):
    """All names of fields in a schema."""
    if isinstance(form, list):
        return set().union(*map(properties_of, form))
    if not isinstance(form, dict):
        return set()
    own = form.get("properties") if isinstance(form.get("properties"), dict) else {}
    return set(own).union(*map(properties_of, form.values()))


class ClusterSchema(unittest.TestCase):
    def both_accept(self, text):
        self.assertEqual(schema_errors(text), [], text)
        said = im(text)
        self.assertTrue(said["valid"], (text, said["errors"]))
        return said

    def test_it_is_what_the_documentation_and_the_parser_make_it(self):
        made = json.loads(json.dumps(cluster_schema.schema()))
        self.assertEqual(SCHEMA, made, "run: scripts/cluster_schema.py > docs/cluster.schema.json")
        jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def test_all_examples(self):
        examples = sorted((ROOT / "examples").glob("*/cluster.yaml"))
        self.assertGreater(len(examples), 3)
        for path in examples:
            self.assertEqual(schema_errors(path.read_text()), [], path)

    def test_the_clusters_of_all_documents(self):
        whole = []
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            blocks = re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.S | re.M)
            whole += [text for text in blocks if "command:" in text and re.search(r"^(hosts|services):", text, re.M)]
        self.assertGreater(len(whole), 1)
        for text in whole:
            self.both_accept(text)

    def test_good_values_of_each_field(self):
        host = SCHEMA["$defs"]["host"]["properties"]
        idle = host["idle"]["anyOf"][2]["properties"]
        self.assertEqual(set(HOST) - set(host), set())
        self.assertEqual(set(IDLE) - set(idle), set())
        fields = [f"{name}: {value}" for name, values in HOST.items() for value in values]
        fields += [f"idle: {{{name}: {value}}}" for name, values in IDLE.items() for value in values]
        for field in fields:
            command = "" if field.startswith(("command:", "entrypoint:")) else "command: x, "
            replicas = "replicas: 2, " if field.startswith("min_running:") else ""
            self.both_accept("{network: 10.9.0.0/16, groups: {g: {}}, volumes: {data: }, hosts: {a: {command: x}, "
                             f"b: {{{command}{replicas}{field}}}}}}}")
        for name, values in TOP.items():
            for value in values:
                self.both_accept(f"{{{name}: {value}, hosts: {{a: {{command: x}}}}}}")

    def test_fields_of_compose_are_no_errors(self):
        known = {name: form for name, form in cluster_schema.known_only({"ReadShared", "ReadOwn", "ReadProgram"}).items()
                 if form["description"] != "Of Compose"}
        self.assertGreater(len(known), 60)
        fields = ", ".join(f"{name}: {{}}" for name in known)
        said = self.both_accept(f"{{hosts: {{a: {{command: x, {fields}}}}}}}")
        warned = " ".join(warning["message"] for warning in said["warnings"])
        for name, form in known.items():
            self.assertEqual(form["description"].startswith("Not honoured"), re.search(rf"\b{name}\b", warned) is not None,
                             (name, warned))

    def test_all_that_the_parser_reads_is_in_it(self):
        read = set()
        for path in [ROOT / "orchestrator/cluster_spec.cc", *(ROOT / "orchestrator/spec").glob("*_parser.cc"),
                     *(ROOT / "orchestrator/spec").glob("*_fields.cc")]:
            read |= set(re.findall(r"\b(?:Get|GetEntry|Text|Integer|Bool|Time|Size|Word)\(\"([^\"]+)\"", path.read_text()))
        self.assertGreater(len(read), 40)
        of_compose = {"ipam", "enable_ipv6", "ipv6_address"}  # inside `networks`, which the schema leaves to Compose's own
        self.assertEqual(read - properties_of(SCHEMA) - of_compose, set())

    def test_what_is_wrong_is_wrong_for_both(self):
        for text in WRONG:
            self.assertNotEqual(schema_errors(text), [], text)
            self.assertFalse(im(text)["valid"], text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
