#!/usr/bin/env python3
"""Prints the JSON Schema of cluster.yaml, docs/cluster.schema.json.

What fields there are, what they mean and their defaults is read from docs/cluster-yaml.md, and which fields of Compose
are known but not honoured from the parser's source; their forms stand here. tests/cluster_schema_test.py holds the
result against `im validate`, field by field.
"""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOC = ROOT / "docs/cluster-yaml.md"
PARSERS = [ROOT / "orchestrator" / path for path in ("cluster_spec.cc", "spec/host_parser.cc", "spec/program_fields.cc")]

# ---- forms ----

VARIABLE = r"\$"  # a value may come from the environment


def text(pattern=None, *, number=False, **more):
    """A scalar. YAML reads some of them as numbers."""
    kinds = ["string", "number"] if number else "string"
    return {"type": kinds, **({"pattern": f"{pattern}|{VARIABLE}"} if pattern else {}), **more}


def one_of(*words, **more):
    return {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": VARIABLE}], **more}


def integer(least, most=None):
    limits = {"minimum": least, **({} if most is None else {"maximum": most})}
    return {"anyOf": [{"type": "integer", **limits}, {"type": "string", "pattern": rf"^-?\d+$|{VARIABLE}"}]}


def mapping(fields, **more):
    return {"type": "object", "properties": fields, "patternProperties": {"^x-": {}}, "additionalProperties": False,
            **more}


def list_of(form):
    return {"type": "array", "items": form}


def either(*forms):
    return {"anyOf": list(forms)}


NAME = text(r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$", number=True)
NAMED = r"^([a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?|x-.*)$"
ANY_TEXT = text(number=True)
BOOL = either({"type": "boolean"}, text(VARIABLE), {"enum": ["true", "false", "yes", "no", "on", "off"]})
DURATION = either({"const": 0}, text(r"^0$|^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d))+$"))
SIZE = either({"type": "integer", "minimum": 0}, text(r"^\d+(\.\d+)?([kKmMgGtT]?([iI]?[bB])?)?$"))
SHARE = text(r"^\d+(\.\d+)?%$")
TEXTS = either(ANY_TEXT, list_of(ANY_TEXT))
COMMAND = either(ANY_TEXT, list_of({"type": ["string", "number", "boolean"]}))
ADDRESS = text(r"^\d+\.\d+\.\d+\.\d+$")
PREFIX = text(r"^(\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(/\d+)?$")
ATTACH = one_of("auto", "tun", "netstack", "true", "false", True, False)
PORT = either(text(r"^((\[.*\]|[^:]+):)?\d+:\d+(/(tcp|udp|sctp))?$"),
              mapping({"target": integer(1, 65535), "published": integer(1, 65535), "host_ip": ANY_TEXT,
                       "protocol": one_of("tcp", "udp"), "mode": {}, "name": {}, "app_protocol": {}},
                      required=["target", "published"]))
VOLUME = either(text(), mapping({"type": one_of("bind", "volume", "tmpfs"), "source": ANY_TEXT, "target": ANY_TEXT,
                                 "read_only": BOOL, "consistency": {}, "bind": {}, "volume": {}, "tmpfs": {},
                                 "image": {}}, required=["target"]))
ENVIRONMENT = either(TEXTS, {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}})
ENV_FILE = either(text(), mapping({"path": text(), "required": BOOL, "format": {}}, required=["path"]))
ULIMIT = either(integer(-1), {"const": "unlimited"}, mapping({
    which: either(integer(-1), {"const": "unlimited"}) for which in ("soft", "hard")}))
LOG_FILES = integer(1, 100)
LIMITS = mapping({"cpus": text(number=True), "memory": SIZE, "pids": {}})
DEPLOY = mapping({"replicas": integer(1, 1000000),
                  "resources": mapping({"limits": LIMITS, "reservations": {}}),
                  **{field: {} for field in ("mode", "endpoint_mode", "placement", "update_config", "rollback_config",
                                             "restart_policy", "labels")}})
CONDITION = {"type": ["object", "null"], "properties": {
    "condition": one_of("service_started", "service_healthy", "service_completed_successfully"),
    "restart": {}, "required": {}}, "additionalProperties": False}

HEALTHCHECK = mapping({"test": either(ANY_TEXT, list_of(ANY_TEXT)), "interval": DURATION, "timeout": DURATION,
                       "retries": integer(1, 1000), "start_period": DURATION, "start_interval": DURATION,
                       "disable": BOOL})

# Fields of docs/cluster-yaml.md → their forms; dots lead into mappings. One that has no form here may have any.
FORMS = {
    "name": text(r"^[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?$", number=True),
    "network.cidr": text(r"^\d+\.\d+\.\d+\.\d+/\d+$"),
    "network.ipv6": either(BOOL, text(r"^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/\d+$")),
    "network.domain": text(),
    "network.mtu": integer(1280, 65475),
    "network.attach": one_of("auto", "tun", "netstack"),
    "network.listen": ANY_TEXT,
    "provider": one_of("process"),
    "limits.max_starting": integer(1, 10000),
    "limits.min_free_memory": SIZE,
    "volumes (top)": {"type": "object", "additionalProperties": either({"type": "null"}, mapping({
        field: {} for field in ("driver", "driver_opts", "external", "name", "labels")}))},
}
HOST_FORMS = {
    "command": COMMAND, "entrypoint": COMMAND, "attach": ATTACH, "environment": ENVIRONMENT,
    "env_file": either(ENV_FILE, list_of(ENV_FILE)), "working_dir": text(),
    "user": text(r"^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)?$", number=True), "volumes": list_of(VOLUME), "tmpfs": TEXTS,
    "ulimits": {"type": "object", "additionalProperties": ULIMIT}, "mem_limit": SIZE, "cpus": text(number=True),
    "logging": mapping({"max_size": SIZE, "files": LOG_FILES, "driver": text(),
                        "options": {"type": "object", "properties": {"max-size": SIZE, "max-file": LOG_FILES}}}),
    "deploy": DEPLOY,
    "address": ADDRESS, "ipv4_address": ADDRESS, "aliases": TEXTS, "hostname": NAME, "ports": list_of(PORT),
    "replicas": integer(1, 1000000), "scale": integer(1, 1000000),
    "idle.after": DURATION, "idle.release_after": either({"const": "never"}, DURATION),
    "idle.policy": one_of("quiet", "no_connections", "never"), "idle.cpu_below": SHARE, "idle.busy_file": text("^/"),
    "idle.timers": one_of("auto", "honor", "ignore"), "idle.timer_horizon": DURATION, "idle.tick_max": DURATION,
    "idle.ignore": mapping({"ports": either(integer(1, 65535), list_of(integer(1, 65535))),
                            "from": either(PREFIX, list_of(PREFIX))}),
    "idle.below_bytes_per_s": SIZE, "idle.reclaim": BOOL,
    "start_timeout": DURATION, "healthcheck": HEALTHCHECK, "stop_signal": text(r"^(SIG)?[A-Z0-9]+$", number=True), "stop_grace_period": DURATION,
    "restart": either(one_of("no", "always", "unless-stopped", "on-failure", False), text(r"^on-failure:\d+$")),
    "min_running": integer(0, 1000000),
    "depends_on": either(TEXTS, {"type": "object", "additionalProperties": CONDITION}),
    "wake_with": TEXTS, "group": ANY_TEXT, "on_release": one_of("terminate", "checkpoint"), "max_lifetime": either({"const": "never"}, DURATION),
    "checkpoint_expires": either({"const": "never"}, DURATION),
}
OWN = {"command", "entrypoint", "image", "ports", "hostname", "aliases", "address", "replicas", "scale", "depends_on",
       "wake_with", "ipv4_address", "deploy"}  # not in `defaults`

# ---- docs/cluster-yaml.md ----


def plain(markdown):
    """Without links and marks."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "").replace("**", "").strip()


def documented(part):
    """Field → (meaning, default) of the tables below headings that begin with `part`."""
    found = {}
    for section in re.split(r"^## ", DOC.read_text(), flags=re.M)[1:]:
        if not section.startswith(part):
            continue
        for names, meaning, default in re.findall(r"^\| (`.*?) \| (.*) \| (.*?) ?\|$", section, re.M):
            for name in re.findall(r"`([^`]+)`", names):
                found[name] = (plain(meaning), plain(default))
    return found


def described(form, meaning, default):
    return {**form, "description": meaning + (f". Default: {default}" if default else "")}


# ---- fields of Compose that the parser knows, and no table of the documentation ----


def known_only(functions):
    """Field → what becomes of it, from the parser's functions of those names: what they list as known, and what else
    they read."""
    found = {}
    source = "".join(path.read_text() for path in PARSERS)
    for function in re.split(r"\n  ?(?:void|HostDraft|std::\S+) (?=(?:HostParser::)?[A-Z])|\nvoid HostParser::", source):
        if function.removeprefix("HostParser::").split("(")[0] not in functions:
            continue
        for field in re.findall(r'reader\.(?:Get|Text)\("([^"]+)"', function):
            found.setdefault(field, {"description": "Of Compose"})
        for kind, fields in re.findall(r"reader\.(NotHonoured|Ignore)\(\s*\{([^}]*)\}", function):
            for field in re.findall(r'"([^"]+)"', fields):
                found[field] = {"description": "Not honoured: a warning" if kind == "NotHonoured" else
                                "Of Compose; means nothing here"}
    return found


# ---- the whole ----


def nest(flat):
    """{"idle.after": form} → {"idle": mapping of after}."""
    tree, inner = {}, {}
    for name, form in flat.items():
        head, _, rest = name.partition(".")
        tree.setdefault(head, form)
        if rest:
            inner.setdefault(head, {})[rest] = form
    return {head: mapping(inner[head]) if head in inner else form for head, form in tree.items()}


def host():
    fields = {**documented("A host: what runs"), **documented("A host: its place"), **documented("A host: its life")}
    assert set(HOST_FORMS) <= set(fields), f"not in {DOC.name}: {sorted(set(HOST_FORMS) - set(fields))}"
    properties = nest({name: described(HOST_FORMS.get(name, {}), *told) for name, told in fields.items()})
    properties["idle"] = either({"const": "never"}, DURATION, properties["idle"])
    return properties | known_only({"ReadShared", "ReadOwn", "ReadNames", "ReadProgram"}) | properties


def schema():
    top = documented("At the top")
    properties = nest({name: described(FORMS.get(name, {}), *told) for name, told in top.items() if name != "x-…"})
    network = properties["network"]
    network["properties"].update(dns={}, upstream={})
    properties["network"] = described(either(text(r"^\d+\.\d+\.\d+\.\d+/\d+$"), network), "The hosts' network", "")
    properties["volumes"] = described(FORMS["volumes (top)"], *top["volumes"])
    properties["groups"] = {"type": "object", "description": top["groups"][0], "additionalProperties": either(
        {"type": "null"}, mapping({"suspend": one_of("apart", "together"),
                                   "heartbeat": mapping({"below_bytes_per_s": SIZE})}))}
    properties["defaults"] = {"$ref": "#/$defs/defaults", "description": top["defaults"][0]}
    hosts = {"type": "object", "minProperties": 1, "propertyNames": {"pattern": NAMED},
             "additionalProperties": {"$ref": "#/$defs/host"}}
    for name in "hosts", "services":
        properties[name] = described(hosts, *top[name])
    properties = properties | known_only({"ReadRoot"}) | properties
    shared = {name: {"$ref": f"#/$defs/host/properties/{name}"} for name in host() if name not in OWN}
    runs = {"anyOf": [{"required": [field]} for field in ("command", "entrypoint", "image")]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "cluster.yaml of Imaginary Machines",
            **mapping(properties, oneOf=[{"required": ["hosts"]}, {"required": ["services"]}]),
            "$defs": {"host": mapping(host(), **runs), "defaults": mapping(shared)}}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1, ensure_ascii=False))
