// Bad files, with the exact diagnostics of each.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

struct BadFile {
  const char* name;
  std::string text;
  std::vector<std::string> errors;
};

std::vector<BadFile> BadFiles() {
  return {
      {"Empty", "", {"c.yaml:1:1: the file is empty (the least is: hosts: {NAME: {command: [PROGRAM]}})"}},
      {"OnlyAComment", "# nothing\n",
       {"c.yaml:1:1: the file is empty (the least is: hosts: {NAME: {command: [PROGRAM]}})"}},
      {"NoHosts", "name: a\n",
       {"c.yaml:1:1: there are no hosts (the least is: hosts: {NAME: {command: [PROGRAM]}})"}},
      {"AList", "- a\n- b\n", {"c.yaml:1:1: cluster: expected a mapping of fields, found a list"}},
      {"HostsOfTheWrongType", "hosts: [a]\n",
       {"c.yaml:1:8: hosts: expected a mapping of names, found a list"}},
      {"UnknownFieldOfAHost", "hosts:\n  web:\n    comand: [a]\n    command: [b]\n",
       {"c.yaml:3:5: host web: unknown field \"comand\" (did you mean \"command\"?)"}},
      {"UnknownFieldAtTheTop", "nam: a\nhosts: {web: {command: [b]}}\n",
       {"c.yaml:1:1: cluster: unknown field \"nam\" (did you mean \"name\"?)"}},
      {"UnknownFieldOfIdle", "hosts:\n  web:\n    command: [b]\n    idle: {realease_after: 1s}\n",
       {"c.yaml:4:12: idle: unknown field \"realease_after\" (did you mean \"release_after\"?)"}},
      {"UnknownFieldWithNothingNear",
       "hosts:\n  web:\n    command: [b]\n    idle: {zzzzzzzzzz: 1s}\n",
       {"c.yaml:4:12: idle: unknown field \"zzzzzzzzzz\" "
        "(known are policy, after, release_after, cpu_below, busy_file, timers, timer_horizon, "
        "tick_max, below_bytes_per_s, ignore, reclaim)"}},
      {"AGatewayThatNobodyCouldReach",
       "network: {listen: \"[fd00::1]:51820\"}\nhosts: {web: {command: [b]}}\n",
       {"c.yaml:1:19: [fd00::1]:51820 cannot be reached by the hosts, which use IPv4 "
        "(\"[::]:51820\" listens on all addresses, of IPv6 too)"}},
      {"AListenThatIsNoEndpoint", "network: {listen: 51820}\nhosts: {web: {command: [b]}}\n",
       {"c.yaml:1:19: expected ADDRESS:PORT, found \"51820\" "
        "(0.0.0.0:51820 listens on all addresses of this machine)"}},
      {"AListenOfManyMachines",
       "network: {listen: \"224.0.0.1:51820\"}\nhosts: {web: {command: [b]}}\n",
       {"c.yaml:1:19: 224.0.0.1:51820 is no address of a machine"}},
      {"WrongTypes",
       "hosts:\n  web:\n    command: {a: b}\n    replicas: many\n    environment: {A: [1]}\n"
       "    idle: [1]\n    ports: 80\n    volumes: x\n    start_timeout: [5s]\n",
       {"c.yaml:3:14: expected a command line or a list, found a mapping",
        "c.yaml:4:15: expected a whole number from 1 to 1000000, found \"many\"",
        "c.yaml:5:22: expected text, found a list",
        "c.yaml:6:11: idle: expected a mapping of fields, found a list",
        "c.yaml:7:12: ports: expected a list, found text",
        "c.yaml:8:14: volumes: expected a list, found text",
        "c.yaml:9:20: expected a duration of at most 49 days, found a list "
        "(durations look like 500ms, 5s, 1m30s, 2h)"}},
      {"TheSameHostTwice", "hosts:\n  web: {command: [a]}\n  web: {command: [b]}\n",
       {"c.yaml:3:3: \"web\" stands here for the second time (the first is in line 2)"}},
      {"TheSameFieldTwice", "hosts:\n  web:\n    command: [a]\n    user: x\n    user: y\n",
       {"c.yaml:5:5: \"user\" stands here for the second time (the first is in line 4)"}},
      {"AReplicaTakesAHostsName",
       "hosts:\n  zk-2: {command: [a]}\n  zk: {command: [b], replicas: 3}\n",
       {"c.yaml:3:3: host zk: the name \"zk-2\" is taken by host zk-2 in line 2"}},
      {"AnAliasTakesAHostsName",
       "hosts:\n  a: {command: [a], aliases: b}\n  b: {command: [b]}\n",
       {"c.yaml:3:3: host b: the name \"b\" is taken by host a in line 2"}},
      {"AnAliasTakesAReplicasName",
       "hosts:\n  zk: {command: [b], replicas: 3}\n  a: {command: [a], aliases: zk-3}\n",
       {"c.yaml:3:3: host a: the name \"zk-3\" is taken by host zk in line 2"}},
      {"ReplicasThatAreNotThere",
       "hosts:\n  zk: {command: [b], replicas: 3}\n"
       "  a: {command: [a], wake_with: [zk-3, zk-4, zk-03]}\n",
       {"c.yaml:3:39: wake_with: there is no host \"zk-4\"",
        "c.yaml:3:45: wake_with: there is no host \"zk-03\""}},
      {"TooManyReplicasThatNameOthers",
       "network: 10.64.0.0/12\nhosts:\n  zk: {command: [b], replicas: 1000000, wake_with: a}\n"
       "  a: {command: [a]}\n",
       {"c.yaml:3:32: the hosts' commands and environments are too long altogether "
        "(at most 160 MB, every replica with wake_with or depends_on counted)"}},
      {"BadHostNames", "hosts:\n  Web: {command: [a]}\n  -x: {command: [a]}\n  a.b: {command: [a]}\n",
       {"c.yaml:2:3: \"Web\" cannot be a host's name (write web)",
        "c.yaml:3:3: \"-x\" cannot be a host's name (names are of lower-case letters, digits, - "
        "and _, at most 63, with a letter or digit at both ends)",
        "c.yaml:4:3: \"a.b\" cannot be a host's name (names are of lower-case letters, digits, - "
        "and _, at most 63, with a letter or digit at both ends)"}},
      {"BadClusterName", "name: my cluster\nhosts: {web: {command: [b]}}\n",
       {"c.yaml:1:7: \"my cluster\" cannot be a cluster's name "
        "(lower-case letters, digits, - and _, at most 40)"}},
      {"AddressOutsideTheNetwork",
       "network: {cidr: 10.9.0.0/24}\nhosts:\n  a:\n    command: [a]\n    address: 10.9.1.5\n",
       {"c.yaml:5:14: address 10.9.1.5 is outside the network 10.9.0.0/24"}},
      {"AddressesThatAreTaken",
       "network: 10.9.0.0/24\nhosts:\n  a: {command: [a], address: 10.9.0.1}\n"
       "  b: {command: [a], address: 10.9.0.0}\n  c: {command: [a], address: 10.9.0.255}\n"
       "  d: {command: [a], address: 10.9.0.7}\n  e: {command: [a], address: 10.9.0.7}\n",
       {"c.yaml:3:30: address 10.9.0.1 is the gateway's (the first address of the network is "
        "taken)",
        "c.yaml:4:30: address 10.9.0.0 is the network's own",
        "c.yaml:5:30: address 10.9.0.255 is the network's broadcast address",
        "c.yaml:7:30: address 10.9.0.7 is taken by host d in line 6"}},
      {"BadAddress", "hosts:\n  a: {command: [a], address: 10.9.0}\n",
       {"c.yaml:2:30: address: expected an IPv4 address, found \"10.9.0\""}},
      {"AddressOfReplicas", "hosts:\n  a: {command: [a], replicas: 2, address: 10.77.0.9}\n",
       {"c.yaml:2:43: 2 replicas cannot share one address"}},
      {"NetworkTooSmall",
       "network: 10.9.0.0/29\nhosts:\n  a: {command: [a], replicas: 6}\n",
       {"c.yaml:3:3: host a-6: the network 10.9.0.0/29 has no address left (5 in all) "
        "(choose a larger network)"}},
      {"BadNetworks", "network: {cidr: ten, domain: 'a b', attach: tap}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: expected an IPv4 network, found \"ten\" (networks look like 10.77.0.0/16)",
        "c.yaml:1:30: \"a b\" is no domain (domains look like shop.im)",
        "c.yaml:1:45: attach: expected auto or tun or netstack, found \"tap\""}},
      {"NetworkWithHostBits", "network: 10.77.0.1/16\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:10: 10.77.0.1/16 is an address inside a network, not a network "
        "(write 10.77.0.0/16)"}},
      {"NetworkV6", "network: fd00::/64\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:10: expected an IPv4 network, found \"fd00::/64\" "
        "(networks look like 10.77.0.0/16)"}},
      {"NetworkOfAnImpossibleSize", "network: 10.0.0.0/31\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:10: the network 10.0.0.0/31 must have a prefix length from 8 to 30"}},
      {"NetworkOfLoopback", "network: 127.0.0.0/8\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:10: hosts cannot have addresses of 127.0.0.0/8 (take a part of 10.0.0.0/8)"}},
      {"BadIpv6Networks", "network: {ipv6: maybe}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: expected true, false or an IPv6 network, found \"maybe\" "
        "(networks look like fd12:3456:789a::/64)"}},
      {"Ipv6NetworkOfTheOtherFamily", "network: {ipv6: 10.9.0.0/16}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: expected true, false or an IPv6 network, found \"10.9.0.0/16\" "
        "(networks look like fd12:3456:789a::/64)"}},
      {"Ipv6NetworkOfMappedAddresses",
       "network: {ipv6: '::ffff:0:0/96'}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: expected true, false or an IPv6 network, found \"::ffff:0:0/96\" "
        "(networks look like fd12:3456:789a::/64)"}},
      {"Ipv6NetworkWithoutRoom", "network: {ipv6: 'fd00::/97'}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: the network fd00::/97 must have a prefix length of at most 96 "
        "(the last 32 bits of a host's address are its IPv4 address)"}},
      {"Ipv6NetworkWithHostBits", "network: {ipv6: 'fd00::1/64'}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: fd00::1/64 is an address inside a network, not a network "
        "(write fd00::/64)"}},
      {"Ipv6NetworkOfLoopback", "network: {ipv6: '::/96'}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: hosts cannot have addresses of ::/96 (take a part of fd00::/8)"}},
      {"Ipv6NetworkOfALink", "network: {ipv6: 'fe80::/64'}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: hosts cannot have addresses of fe80::/64 (take a part of fd00::/8)"}},
      {"Ipv6NetworkOfMulticast", "network: {ipv6: 'ff05::/64'}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:17: hosts cannot have addresses of ff05::/64 (take a part of fd00::/8)"}},
      {"AnMtuThatIsTooSmallForIpv6",
       "network: {ipv6: true, mtu: 1279}\nhosts: {a: {command: a}}\n",
       {"c.yaml:1:28: expected a whole number from 1280 to 65475, found \"1279\""}},
      {"PortClash",
       "hosts:\n  a: {command: [a], ports: ['8080:80']}\n  b:\n    command: [b]\n    ports:\n"
       "      - 0.0.0.0:8080:81\n",
       {"c.yaml:6:9: port 0.0.0.0:8080 is published by host a too, in line 2"}},
      {"PortClashOfIpv6",
       "hosts:\n  a: {command: [a], ports: ['[::1]:8080:80', '0.0.0.0:8080:80']}\n  b:\n"
       "    command: [b]\n    ports:\n      - '[::]:8080:81'\n",
       {"c.yaml:6:9: port [::]:8080 is published by host a too, in line 2"}},
      {"PortsOfReplicas", "hosts:\n  a: {command: [a], replicas: 2, ports: ['8080:80']}\n",
       {"c.yaml:2:42: port 127.0.0.1:8080 is published by host a-1 too, in line 2 (a port leads "
        "to one host: give replicas names of their own, or put a proxy before them)"}},
      {"BadPorts",
       "hosts:\n  a:\n    command: [a]\n    ports:\n      - 80\n      - 0:80\n      - 80:70000\n"
       "      - nowhere:80:80\n      - {target: 80}\n      - 8000-8010:80\n      - ''\n",
       {"c.yaml:5:9: port \"80\" does not say which port of this machine (write 80:80)",
        "c.yaml:6:9: no port number from 1 to 65535 in port \"0:80\" "
        "(ports look like 8080:80 or 127.0.0.1:8080:80)",
        "c.yaml:7:9: no port number from 1 to 65535 behind the last colon in port \"80:70000\" "
        "(ports look like 8080:80 or 127.0.0.1:8080:80)",
        "c.yaml:8:9: no address of this machine in port \"nowhere:80:80\" "
        "(ports look like 8080:80 or 127.0.0.1:8080:80)",
        "c.yaml:9:9: a port needs target (the host's) and published (this machine's)",
        "c.yaml:10:9: ranges are not known in port \"8000-8010:80\" "
        "(ports look like 8080:80 or 127.0.0.1:8080:80)",
        "c.yaml:11:9: no port number in port \"\" "
        "(ports look like 8080:80 or 127.0.0.1:8080:80)"}},
      {"EmptyCommands",
       "hosts:\n  a: {}\n  b:\n  c: {command: []}\n  d: {command: ''}\n  e: {image: 'redis:7'}\n"
       "  f: {command: ['']}\n",
       {"c.yaml:2:3: host a: there is no command to run (write command: [PROGRAM, ARGUMENT, ...])",
        "c.yaml:3:3: host b: there is no command to run (write command: [PROGRAM, ARGUMENT, ...])",
        "c.yaml:4:7: host c: there is no command to run (write command: [PROGRAM, ARGUMENT, ...])",
        "c.yaml:5:7: host d: there is no command to run (write command: [PROGRAM, ARGUMENT, ...])",
        "c.yaml:6:14: host e: the image redis:7 is not imported (im image import redis:7 PATH: an "
        "OCI layout, an archive of docker save, a directory or a tar archive of its files)",
        "c.yaml:7:7: host f: there is no command to run (write command: [PROGRAM, ARGUMENT, "
        "...])"}},
      {"GroupsThatCannotBeSuspendedTogether",
       "groups:\n  g: {suspend: together, heartbeat: {below_bytes_per_s: 0}}\n"
       "  h: {heartbeat: {below_bytes_per_s: 1k}}\nhosts:\n"
       "  a: {command: [a], replicas: 65, group: g}\n",
       {"c.yaml:2:3: group g: suspend: together is for at most 64 hosts; it has 65",
        "c.yaml:2:57: heartbeat.below_bytes_per_s must be from 1 to 100m",
        "c.yaml:3:18: group h: heartbeat means nothing here (it is for suspend: together)"}},
      {"UnclosedQuote", "hosts:\n  a: {command: 'sh -c \"x'}\n",
       {"c.yaml:2:16: a double quote without its end"}},
      {"BadUnits",
       "hosts:\n  a:\n    command: [a]\n    idle: {after: 5, release_after: 5x, cpu_below: 2}\n"
       "    mem_limit: 64q\n    stop_grace_period: soon\n    start_timeout: 0\n    cpus: two\n"
       "    logging: {max_size: 1, files: 0}\n",
       {"c.yaml:4:19: the duration \"5\" has no unit (5s, or 5ms?)",
        "c.yaml:4:37: expected a duration of at most 49 days, found \"5x\" "
        "(durations look like 500ms, 5s, 1m30s, 2h)",
        "c.yaml:4:52: expected a share of one core, found \"2\" (shares look like 2% or 0.5%)",
        "c.yaml:5:16: expected a size, found \"64q\" (sizes look like 512k, 64m, 1.5g)",
        "c.yaml:6:24: expected a duration of at most 49 days, found \"soon\" "
        "(durations look like 500ms, 5s, 1m30s, 2h)",
        "c.yaml:7:20: start_timeout must be more than 0",
        "c.yaml:8:11: expected a number of cores, such as 0.5 or 2",
        "c.yaml:9:25: max_size must be at least 4k",
        "c.yaml:9:35: expected a whole number from 1 to 1000, found \"0\""}},
      {"CyclicDependsOn",
       "hosts:\n  a: {command: [a], depends_on: [b]}\n  b: {command: [b], depends_on: [c]}\n"
       "  c:\n    command: [c]\n    depends_on:\n      - a\n",
       {"c.yaml:7:9: depends_on goes round in a circle: a -> b -> c -> a"}},
      {"DependsOnItself", "hosts:\n  a: {command: [a], depends_on: a}\n",
       {"c.yaml:2:33: depends_on goes round in a circle: a -> a"}},
      {"UnknownReferences",
       "hosts:\n  db: {command: [a]}\n  web: {command: [a], depends_on: [bd], wake_with: [nope], "
       "group: g}\n",
       {"c.yaml:3:36: depends_on: there is no host \"bd\" (did you mean \"db\"?)",
        "c.yaml:3:53: wake_with: there is no host \"nope\"",
        "c.yaml:3:67: there is no group \"g\" (groups are declared at the top: groups: {NAME: "
        "{}})"}},
      {"NearlyKnownReferences",
       "groups: {ensemble: {}}\nhosts:\n  redis: {command: [a]}\n"
       "  web: {command: [a], depends_on: [reddis], group: ensembel}\n",
       {"c.yaml:4:36: depends_on: there is no host \"reddis\" (did you mean \"redis\"?)",
        "c.yaml:4:52: there is no group \"ensembel\" (did you mean \"ensemble\"?)"}},
      {"WhatIsNotThereYet",
       "provider: lambda\nhosts:\n"
       "  a: {command: [a]}\n",
       {"c.yaml:1:11: provider: \"lambda\" is not available (the one there is: process)"}},
      {"WhoCannotGoToDisk",
       "groups: {g: {suspend: together}, h: {}}\ndefaults: {on_release: checkpoint}\nhosts:\n"
       "  a: {command: [a], attach: netstack}\n"
       "  b: {command: [b], group: g}\n"
       "  c: {command: [c], group: h}\n"
       "  d: {command: [d], on_release: terminate, attach: netstack}\n"
       "  e: {command: [e], on_release: keep, max_lifetime: 9s, checkpoint_expires: 0s}\n"
       "  f: {command: [f], group: g, on_release: terminate}\n",
       {"c.yaml:2:24: host a: on_release: checkpoint: a host of attach: netstack cannot go to disk "
        "(its connections are in its agent, which ends; write attach: tun, or leave it out)",
        "c.yaml:2:24: host b: on_release: checkpoint: host f of its group g does not go to disk "
        "(hosts that are suspended together go there together: write it for all of them)",
        "c.yaml:8:33: on_release: expected terminate or checkpoint, found \"keep\"",
        "c.yaml:8:53: max_lifetime must be 10s or more",
        "c.yaml:8:77: checkpoint_expires must be 10s or more"}},
      {"WhatAHostOfNetstackCannotHave",
       "network: {attach: netstack}\ndefaults: {tmpfs: /run}\nhosts:\n"
       "  a:\n    command: [a]\n    volumes: [/tmp:/mnt]\n"
       "  b: {command: [b], attach: tun, volumes: [/tmp:/mnt]}\n"
       "  c: {command: [c], attach: tap}\n",
       {"c.yaml:2:12: host a: tmpfs: a host of attach: netstack cannot have this (its program "
        "sees the machine's files as they are; or write attach: tun)",
        "c.yaml:2:12: host c: tmpfs: a host of attach: netstack cannot have this (its program "
        "sees the machine's files as they are; or write attach: tun)",
        "c.yaml:6:5: host a: volumes: a host of attach: netstack cannot have this (its program "
        "sees the machine's files as they are; or write attach: tun)",
        "c.yaml:8:29: attach: \"tap\" is not known (known are tun, netstack and auto)"}},
      {"BadProgramFields",
       "hosts:\n  a:\n    command: [a]\n    user: 'a b'\n    stop_signal: SIGFOO\n"
       "    ulimits: {nofiles: 1, nproc: x}\n    restart: sometimes\n    env_file: gone.env\n"
       "    environment: ['=x']\n    usr: 1\n",
       {"c.yaml:4:11: user: \"a b\" is not a user (users look like redis, 1000, www-data:adm or "
        "1000:1000)",
        "c.yaml:5:18: stop_signal: \"SIGFOO\" is not known (signals look like SIGTERM, SIGINT, "
        "SIGQUIT)",
        "c.yaml:6:15: ulimits: unknown limit \"nofiles\" (did you mean \"nofile\"?)",
        "c.yaml:6:34: expected a whole number from -1 to 9223372036854775807, found \"x\"",
        "c.yaml:7:14: restart: \"sometimes\" is not known (known are no, always, unless-stopped, "
        "on-failure and on-failure:N)",
        "c.yaml:8:15: env_file: open /base/gone.env: No such file or directory",
        "c.yaml:9:19: expected NAME=value, found \"=x\"",
        "c.yaml:10:5: host a: unknown field \"usr\" (did you mean \"user\"?)"}},
      {"BadVolumes",
       "hosts:\n  a:\n    command: [a]\n    volumes:\n      - data\n      - ./x:rel\n"
       "      - a:/b:rx\n      - ~/x:/y\n      - A B:/y\n      - {type: bind, target: /x}\n"
       "      - {source: /x}\n",
       {"c.yaml:5:9: the path inside the host must be absolute, found \"data\" "
        "(volumes look like ./data:/data, name:/data or ./conf:/conf:ro)",
        "c.yaml:6:9: the path inside the host must be absolute, found \"rel\" "
        "(volumes look like ./data:/data, name:/data or ./conf:/conf:ro)",
        "c.yaml:7:9: unknown option \"rx\" of a volume (known are ro and rw)",
        "c.yaml:8:9: ~ is not known here (write the whole path)",
        "c.yaml:9:9: \"A B\" cannot be a volume's name (paths begin with / or ./; names are of "
        "lower-case letters, digits, - and _)",
        "c.yaml:10:9: volume: source is missing", "c.yaml:11:9: volume: target is missing"}},
      {"OwnFieldsInDefaults", "defaults:\n  ports: ['1:1']\n  idle: {after: 1s}\n"
       "hosts: {a: {command: a}}\n",
       {"c.yaml:2:3: defaults: ports belongs to a single host"}},
      {"HostsAndServices", "hosts: {a: {command: a}}\nservices: {b: {command: b}}\n",
       {"c.yaml:2:1: services is another word for hosts: use one of them"}},
      {"MinRunningAboveReplicas", "hosts:\n  a: {command: a, replicas: 2, min_running: 3}\n",
       {"c.yaml:2:3: host a: min_running is 3, but there is only 2"}},
      {"HostnameOfReplicas", "hosts:\n  a: {command: a, replicas: 2, hostname: b}\n",
       {"c.yaml:2:29: 2 replicas cannot share one hostname (leave hostname out: each is called "
        "by its own name)"}},
      {"TimersOfIdle",
       "hosts:\n  a: {command: a, idle: {timers: never, timer_horizon: 5, tick_max: x}}\n",
       {"c.yaml:2:34: timers: expected auto or honor or ignore, found \"never\"",
        "c.yaml:2:56: the duration \"5\" has no unit (5s, or 5ms?)",
        "c.yaml:2:69: expected a duration of at most 49 days, found \"x\" "
        "(durations look like 500ms, 5s, 1m30s, 2h)"}},
      {"IgnoreOfIdle",
       "hosts:\n  a:\n    command: a\n    idle:\n      ignore: {ports: [0, http], from: [host, 'fd00::1/129']}\n",
       {"c.yaml:5:24: expected a port, found \"0\"",
        "c.yaml:5:27: expected a port, found \"http\"",
        "c.yaml:5:41: expected an IP address or network, found \"host\"",
        "c.yaml:5:47: expected an IP address or network, found \"fd00::1/129\""}},
      {"IdleTooShort", "hosts:\n  a: {command: a, idle: {after: 1ms}}\n",
       {"c.yaml:2:33: idle.after must be at least 10ms (a host that never pauses: policy: "
        "never)"}},
      {"RequiredVariable", "hosts: {a: {command: \"x ${TOKEN:?ask the admin}\"}}\n",
       {"c.yaml:1:22: the variable TOKEN must be set: ask the admin"}},
      {"SecondDocument", "hosts: {a: {command: a}}\n---\nhosts: {}\n",
       {"c.yaml:3:1: a second document begins here (one file describes one cluster)"}},
      {"NotYaml", "hosts: {a: [b}\n", {"c.yaml:1:14: not YAML: illegal flow end"}},
      {"Tabs", "hosts:\n\ta: {command: b}\n",
       {"c.yaml:2:3: not YAML: illegal map value (line 2 is indented with a tab: YAML wants "
        "spaces)"}},
      {"NotUtf8", "hosts:\n  a: {command: b}  # caf\xe9\n",
       {"c.yaml:2:25: byte 0xe9 is not part of a text in UTF-8"}},
      {"Overlong", "# \xc0\xaf\n", {"c.yaml:1:3: byte 0xc0 is not part of a text in UTF-8"}},
      {"Binary", std::string("\x7f" "ELF\0\0", 6),
       {"c.yaml:1:1: byte 0x7f is not part of a text in UTF-8"}},
      {"KeyThatIsAMapping", "hosts: {{a: b}: c}\n",
       {"c.yaml:1:9: a key must be a word, not a list or a mapping"}},
      {"BadMerge", "hosts:\n  a:\n    <<: 5\n    command: [a]\n",
       {"c.yaml:3:5: \"<<\" needs a mapping, or a list of mappings"}},
      {"AliasInsideItself", "hosts: &a\n  b: *a\n",
       {"c.yaml:2:6: an alias inside of what it stands for"}},
  };
}

TEST(ClusterSpecErrors, AreAllReportedAtTheirPlaces) {
  for (const BadFile& bad : BadFiles()) {
    SCOPED_TRACE(bad.name);
    const auto parsed = ParseClusterSpec(bad.text, "c.yaml", "/base", FakeSources());
    EXPECT_FALSE(parsed.spec.has_value());
    EXPECT_THAT(Lines(parsed.errors), testing::ElementsAreArray(bad.errors));
  }
}

TEST(ClusterSpecErrors, AnUnknownAliasIsNamedByItsPlace) {
  const auto parsed = ParseClusterSpec("hosts: *a\n", "c.yaml", "/base", FakeSources());
  ASSERT_EQ(parsed.errors.size(), 1u);
  EXPECT_EQ(parsed.errors[0].at, (SourcePosition{1, 8}));
  EXPECT_THAT(parsed.errors[0].message, testing::HasSubstr("anchor is not defined"));
}

TEST(ClusterSpecErrors, ErrorsOfAnEnvFileNameThatFile) {
  const auto parsed = ParseClusterSpec(
      "hosts:\n  a: {command: [a], env_file: a.env, comand: x}\n", "c.yaml", "/base",
      FakeSources({{"/base/a.env", "GOOD=1\nBAD LINE\nQUOTE='x\n"}}));
  EXPECT_THAT(Lines(parsed.errors),
              testing::ElementsAre(
                  "c.yaml:2:38: host a: unknown field \"comand\" (did you mean \"command\"?)",
                  "a.env:2:1: \"BAD LINE\" is no name of a variable (lines are NAME=value, or "
                  "begin with #)",
                  "a.env:3:1: a quote without its end in the same line"));
}

TEST(ClusterSpecErrors, AreBoundedInNumber) {
  std::string text = "hosts:\n";
  for (int i = 0; i < 5000; ++i) text += "  h" + std::to_string(i) + ": {comand: [a]}\n";
  const auto parsed = ParseClusterSpec(text, "c.yaml", "/base", FakeSources());
  ASSERT_EQ(parsed.errors.size(), 201u);
  EXPECT_EQ(parsed.errors.back().message, "and at least 1800 more");
}

TEST(ClusterSpecErrors, AFileThatIsTooLargeIsRefusedUnread) {
  const std::string text(10 << 20, 'a');
  const auto parsed = ParseClusterSpec(text, "c.yaml", "/base", FakeSources());
  EXPECT_THAT(Lines(parsed.errors),
              testing::ElementsAre("c.yaml:1:1: the file has 10485760 bytes; at most 4194304 are "
                                   "read"));
}

// Documents that are small to write and large, deep or slow to read.
TEST(ClusterSpecErrors, HostileDocumentsCostLittle) {
  std::string laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) laughs += last + ",";
    laughs += "]\n";
  }
  std::string long_texts = "x-a: &a " + std::string(1 << 20, 'y') + "\nhosts:\n  a:\n    command:\n";
  for (int i = 0; i < 1000; ++i) long_texts += "      - *a\n";
  std::string anchors;
  for (int i = 0; i < 5000; ++i) {
    anchors += "k" + std::to_string(i) + ": &b" + std::to_string(i) + " 1\n";
  }
  std::string replicas = "hosts:\n";
  const std::string big(10'000, 'z');
  for (int i = 0; i < 100; ++i) {
    replicas += "  h" + std::to_string(i) + ": {command: [" + big +
                "], replicas: 200, wake_with: h0-1}\n";
  }
  std::string references = "network: 10.0.0.0/8\nhosts:\n";
  references += "  a: {command: [a], replicas: 9000, wake_with: [b]}\n";
  references += "  b: {command: [b], replicas: 9000, wake_with: [a]}\n";
  const std::vector<std::string> texts = {
      laughs,
      long_texts,
      anchors,
      replicas,
      references,
      std::string(100'000, '['),
      std::string(100'000, '{'),
      std::string(4 << 20, '-'),
      std::string(4 << 20, '?'),
      std::string(4 << 20, ':'),
      std::string(1 << 20, '"'),
      std::string(1 << 20, '&'),
      std::string(1 << 20, '*'),
      std::string(1 << 20, '!'),
      std::string(1 << 20, '\n') + "a",
      std::string(1 << 20, ' ') + "a: b",
  };
  for (size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(i);
    const auto begin = std::chrono::steady_clock::now();
    const auto parsed = ParseClusterSpec(texts[i], "c.yaml", "/base", FakeSources());
    EXPECT_FALSE(parsed.spec.has_value());
    EXPECT_FALSE(parsed.errors.empty());
    // Two orders of magnitude above what it takes; a sanitizer takes some.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  }
}

TEST(ClusterSpecErrors, AFileThatCannotBeReadIsAnError) {
  EXPECT_THAT(Lines(LoadClusterSpec("/nonexistent/cluster.yaml").errors),
              testing::ElementsAre("/nonexistent/cluster.yaml: open /nonexistent/cluster.yaml: No "
                                   "such file or directory"));
  EXPECT_THAT(Lines(LoadClusterSpec("/").errors),
              testing::ElementsAre("/: is a directory; a cluster.yaml is expected"));
}

}  // namespace
}  // namespace im::orchestrator
