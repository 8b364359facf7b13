// Hosts that begin with an image, networks of Compose, and cluster.yaml written anew.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/spec_writer.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

SpecSources Sources() {
  SpecSources sources = FakeSources({}, {{"HOME", "/home/u"}});
  sources.image = [](const std::string& name) -> absl::StatusOr<StoredImage> {
    const std::string canonical = CanonicalImageName(name).value_or("");
    if (canonical != "redis:7") return absl::NotFoundError("there is no image " + name);
    StoredImage image;
    image.name = canonical;
    image.tree = "/images/redis";
    image.config.environment = {"PATH=/image/bin", "GREETING=image"};
    image.config.entrypoint = {"entry", "point"};
    image.config.command = {"serve"};
    image.config.working_dir = "/data";
    image.config.user = "redis";
    image.config.stop_signal = "3";
    return image;
  };
  return sources;
}

ParsedClusterSpec ParseWithImages(const std::string& text) {
  return ParseClusterSpec(text, "c.yaml", "/base/shop", Sources());
}

TEST(ClusterSpecImage, SaysWhatTheHostDoesNot) {
  const auto parsed = ParseWithImages(R"(
defaults: {environment: {GREETING: all}}
services:
  a: {image: redis:7}
  b: {image: redis:7, command: other -x}
  c: {image: docker.io/library/redis:7, entrypoint: [mine], environment: {PATH: /mine},
      user: 5:5, working_dir: /mine, stop_signal: SIGINT}
  d: {image: redis:7, entrypoint: [mine], command: [too]}
)");
  ASSERT_THAT(Lines(parsed.errors), IsEmpty());
  const HostSpec a = parsed.spec->hosts[0];
  EXPECT_EQ(a.image, "redis:7");
  EXPECT_EQ(a.image_tree, "/images/redis");
  EXPECT_THAT(a.argv, ElementsAre("entry", "point", "serve"));
  EXPECT_THAT(a.environment, ElementsAre(Pair("GREETING", "all"), Pair("PATH", "/image/bin")));
  EXPECT_EQ(a.working_dir, "/data");
  EXPECT_EQ(a.user, "redis");
  EXPECT_EQ(a.stop_signal, "SIGQUIT");
  EXPECT_THAT(parsed.spec->hosts[1].argv, ElementsAre("entry", "point", "other", "-x"));
  const HostSpec c = parsed.spec->hosts[2];
  EXPECT_THAT(c.argv, ElementsAre("mine"));
  EXPECT_THAT(c.environment, Contains(Pair("PATH", "/mine")));
  EXPECT_EQ(c.working_dir, "/mine");
  EXPECT_EQ(c.user, "5:5");
  EXPECT_EQ(c.stop_signal, "SIGINT");
  EXPECT_THAT(parsed.spec->hosts[3].argv, ElementsAre("mine", "too"));
}

TEST(ClusterSpecImage, AHostOfAnImageCannotGoToDisk) {
  const auto parsed = ParseWithImages("hosts:\n  a: {image: redis:7, on_release: checkpoint}\n");
  EXPECT_THAT(Lines(parsed.errors),
              ElementsAre("c.yaml:2:35: host a: on_release: checkpoint: a host of an image cannot "
                          "go to disk yet (leave it out (terminate), and keep what must last in "
                          "volumes)"));
}

TEST(ClusterSpecImage, NeedsNamespaces) {
  const auto parsed = ParseWithImages("hosts:\n  a: {image: redis:7, attach: netstack}\n");
  EXPECT_THAT(Lines(parsed.errors),
              ElementsAre("c.yaml:2:14: host a: image: a host of attach: netstack cannot have this "
                          "(an image's files need namespaces: write attach: tun)"));
}

TEST(ClusterSpecNetworks, OfComposeGiveAliasesAndAddresses) {
  const auto parsed = ParseWithImages(R"(
services:
  a:
    command: [a]
    networks: {front: {aliases: [x, y], ipv4_address: 172.30.0.9}, }
  b: {command: [b], networks: [front]}
networks: {front: {ipam: {config: [{subnet: 172.30.0.0/24}]}}}
)");
  ASSERT_THAT(Lines(parsed.errors), IsEmpty());
  EXPECT_THAT(Lines(parsed.warnings), IsEmpty());
  EXPECT_EQ(parsed.spec->network.ToString(), "172.30.0.0/24");
  EXPECT_THAT(parsed.spec->hosts[0].aliases, ElementsAre("x", "y"));
  EXPECT_EQ(parsed.spec->hosts[0].address.ToString(), "172.30.0.9");
  EXPECT_EQ(parsed.spec->hosts[1].address.ToString(), "172.30.0.2");
}

TEST(ClusterSpecNetworks, WhatDoesNotFitIsAWarning) {
  const auto parsed = ParseWithImages(R"(services:
  a:
    command: [a]
    networks: {front: {aliases: [x], ipv4_address: 172.30.0.9}, back: {aliases: [x, a]}}
networks: {front: {ipam: {config: [{subnet: 172.30.0.0/24}]}}, back: {external: true}}
)");
  ASSERT_THAT(Lines(parsed.errors), IsEmpty());
  EXPECT_THAT(Lines(parsed.warnings),
              ElementsAre("c.yaml:4:52: ipv4_address 172.30.0.9 is not honoured: it is not of the "
                          "cluster's network 10.77.0.0/16",
                          HasSubstr("all hosts are in one network"),
                          HasSubstr("networks.front: ipam is not honoured"),
                          HasSubstr("external is not honoured")));
  EXPECT_THAT(parsed.spec->hosts[0].aliases, ElementsAre("x"));
  EXPECT_EQ(parsed.spec->hosts[0].address.ToString(), "10.77.0.2");
}

TEST(ClusterSpecNetworks, OfComposeMayHaveIpv6) {
  const auto network6 = [](const std::string& front) {
    const auto parsed = ParseWithImages("name: shop\nservices: {a: {command: [a]}}\nnetworks: " + front + "\n");
    EXPECT_THAT(Lines(parsed.errors), IsEmpty()) << front;
    if (!parsed.spec || !parsed.spec->dual_stack.on()) return std::string();
    return parsed.spec->dual_stack.network().ToString();
  };
  const std::string made_up = network6("{front: {enable_ipv6: true}}");
  EXPECT_THAT(made_up, testing::StartsWith("fd"));
  EXPECT_EQ(network6("{front: {enable_ipv6: true}, back: {}}"), made_up);
  EXPECT_EQ(network6("{front: {enable_ipv6: false}}"), "");
  EXPECT_EQ(network6("{front: {enable_ipv6: true, ipam: {config: [{subnet: 'fd77::/64'}]}}}"),
            "fd77::/96");
  EXPECT_EQ(network6("{front: {ipam: {config: [{subnet: 10.77.0.0/16}, {subnet: 'fd77::/64'}]}}}"),
            "");

  const auto parsed = ParseWithImages(
      "services: {a: {command: [a]}}\nnetworks: {n: {enable_ipv6: true, ipam: {config: "
      "[{subnet: 'fd77::/112'}, {subnet: 172.30.0.0/24}]}}}\n");
  ASSERT_THAT(Lines(parsed.errors), IsEmpty());
  EXPECT_THAT(Lines(parsed.warnings),
              ElementsAre(HasSubstr("not honoured: the network fd77::/112 must have a prefix length "
                                    "of at most 96")));
  EXPECT_EQ(parsed.spec->network.ToString(), "172.30.0.0/24");
  EXPECT_TRUE(parsed.spec->dual_stack.on());
}

// A Compose file of two hosts, with what it says of a's and b's addresses.
ParsedClusterSpec ParseAddresses(const std::string& a, const std::string& b,
                                 const std::string& ipv6 = "true") {
  return ParseWithImages("services:\n  a: {command: [a], networks: {n: {" + a +
               "}}}\n  b: {command: [b], networks: {n: {" + b + "}}}\nnetworks: {n: {enable_ipv6: " +
               ipv6 + ", ipam: {config: [{subnet: 172.30.0.0/24}, {subnet: 'fd77::/64'}]}}}\n");
}

TEST(ClusterSpecNetworks, AnIpv6AddressOfComposeChoosesTheHosts) {
  for (const char* of_b :
       {"ipv6_address: 'fd77::172.30.0.9'", "ipv6_address: 'fd77::ac1e:9', ipv4_address: 172.30.0.9",
        "ipv6_address: 'fd77::ac1e:9', ipv4_address: 10.1.1.1"}) {
    const auto parsed = ParseAddresses("", of_b);
    ASSERT_THAT(Lines(parsed.errors), IsEmpty()) << of_b;
    EXPECT_EQ(parsed.spec->hosts[0].address.ToString(), "172.30.0.2");
    EXPECT_EQ(parsed.spec->hosts[1].address.ToString(), "172.30.0.9") << of_b;
  }
}

TEST(ClusterSpecNetworks, AnIpv6AddressThatNoHostCanHaveIsAWarning) {
  for (const char* of_b : {"ipv6_address: 'fd77::10'", "ipv6_address: 'fd78::172.30.0.9'",
                           "ipv6_address: 'fd77::172.30.0.1'"}) {
    const auto parsed = ParseAddresses("", of_b);
    ASSERT_THAT(Lines(parsed.errors), IsEmpty()) << of_b;
    EXPECT_THAT(Lines(parsed.warnings),
                ElementsAre(HasSubstr(" is not honoured: it is not fd77::/96 with an IPv4 address "
                                      "of 172.30.0.0/24 behind it")));
    EXPECT_EQ(parsed.spec->hosts[1].address.ToString(), "172.30.0.3");
  }
  EXPECT_THAT(Lines(ParseAddresses("", "ipv6_address: 'fd77::10', ipv4_address: 172.30.0.9").warnings),
              ElementsAre("c.yaml:3:50: ipv6_address fd77::10 is not honoured: it is not fd77::/96 "
                          "with an IPv4 address of 172.30.0.0/24 behind it (the host's is "
                          "fd77::ac1e:9)"));
  EXPECT_THAT(Lines(ParseAddresses("", "ipv6_address: 'fd77::ac1e:9'", "false").warnings),
              ElementsAre("c.yaml:3:50: ipv6_address fd77::ac1e:9 is not honoured: the hosts have no "
                          "IPv6 (enable_ipv6: true of its network gives it to them)"));
}

TEST(ClusterSpecNetworks, ABadIpv6AddressIsAnError) {
  const auto errors = [](const std::string& a, const std::string& b) {
    return Lines(ParseAddresses(a, b).errors);
  };
  for (const char* bad : {"fd77::x", "172.30.0.9"})
    EXPECT_THAT(errors("", std::string("ipv6_address: '") + bad + "'"),
                ElementsAre("c.yaml:3:50: ipv6_address: expected an IPv6 address, found \"" +
                            std::string(bad) + "\""));
  EXPECT_THAT(errors("ipv4_address: 172.30.0.9", "ipv6_address: 'fd77::ac1e:9'"),
              ElementsAre("c.yaml:3:50: address fd77::ac1e:9 is taken by host a in line 2"));
  EXPECT_THAT(errors("", "ipv6_address: 'fd77::ac1e:9', ipv4_address: 172.30.0.8"),
              ElementsAre("c.yaml:3:50: ipv6_address fd77::ac1e:9 does not go with 172.30.0.8, the "
                          "host's IPv4 address (write fd77::ac1e:8, or one of the two alone)"));
  EXPECT_THAT(errors("", "ipv6_address: 'fd77::ac1e:9'}}, scale: 2, x-y: {z: {"),
              ElementsAre("c.yaml:3:50: 2 replicas cannot share one address"));
}

// All but where it stands in a file.
void Forget(ClusterSpec& spec) {
  for (HostSpec& host : spec.hosts) {
    host.at = {};
    for (PublishedPort& port : host.ports) port.at = {};
  }
}

void ExpectTheSame(const std::string& text) {
  auto first = ParseWithImages(text);
  ASSERT_THAT(Lines(first.errors), IsEmpty());
  const std::string written = WriteClusterSpec(*first.spec);
  auto second = ParseWithImages(written);
  ASSERT_THAT(Lines(second.errors), IsEmpty()) << written;
  EXPECT_THAT(Lines(second.warnings), IsEmpty()) << written;
  Forget(*first.spec);
  Forget(*second.spec);
  EXPECT_EQ(first.spec->name, second.spec->name);
  EXPECT_EQ(first.spec->network, second.spec->network);
  EXPECT_EQ(first.spec->dual_stack, second.spec->dual_stack);
  EXPECT_EQ(first.spec->domain, second.spec->domain);
  EXPECT_EQ(first.spec->listen, second.spec->listen);
  EXPECT_EQ(first.spec->mtu, second.spec->mtu);
  EXPECT_EQ(first.spec->limits.max_starting, second.spec->limits.max_starting);
  EXPECT_EQ(first.spec->groups.size(), second.spec->groups.size());
  ASSERT_EQ(first.spec->hosts.size(), second.spec->hosts.size()) << written;
  for (size_t i = 0; i < first.spec->hosts.size(); ++i)
    EXPECT_TRUE(first.spec->hosts[i] == second.spec->hosts[i])
        << first.spec->hosts[i].name << "\n" << written;
  EXPECT_EQ(WriteClusterSpec(*second.spec), written);
}

TEST(SpecWriterTest, WhatIsWrittenSaysTheSame) {
  ExpectTheSame("hosts: {a: {command: [x]}}");
  ExpectTheSame("name: a\nnetwork: {ipv6: true}\nhosts: {a: {command: [x]}}");
  ExpectTheSame("network: {cidr: 10.9.0.0/24, ipv6: 'fd77:1::/64'}\nhosts: {a: {command: [x]}}");
  ExpectTheSame(R"(
name: shop
network: {cidr: 10.9.0.0/24, domain: a.b, mtu: 1500, listen: 0.0.0.0:51820}
limits: {max_starting: 3, min_free_memory: 1m}
groups: {g: {suspend: together, heartbeat: {below_bytes_per_s: 5k}}, h: {}}
hosts:
  one:
    command: [sh, -c, "echo $$HOME \"x\" \\ 'y' # no comment\n\ttwo: {a}\x01", "", "null", "1e3", "~"]
    environment: {A: "", B: "yes", C: "5", D: "a: b", E: "$$x", "F.G": "é"}
    hostname: other
    aliases: [x, y]
    address: 10.9.0.77
    ports: ["127.0.0.1:8080:80", "9090:90"]
    volumes: ["/etc:/mnt:ro", "v:/v", "/scratch"]
    tmpfs: [/run]
    user: "1000:1000"
    working_dir: sub dir
    ulimits: {nofile: 5, core: -1}
    mem_limit: 64m
    cpus: 0.3
    logging: {max_size: 5m, files: 2}
    stop_signal: INT
    stop_grace_period: 1500ms
    restart: on-failure:3
    start_timeout: 1m30s
    depends_on:
      many: {condition: service_healthy}
      image: {condition: service_completed_successfully}
      kept-2: {}
    healthcheck: {test: 'test "$$A" = 1', interval: 1500ms, retries: 5, start_interval: 100ms}
    idle: {after: 1500ms, release_after: never, cpu_below: 0.5%, busy_file: /busy, timers: honor,
           timer_horizon: 2s, tick_max: 0, below_bytes_per_s: 10, reclaim: true,
           ignore: {ports: [1, 2], from: [10.9.0.9, 10.9.0.16/28, 'fd77::/64']}}
  many: {command: [x], replicas: 3, group: g, restart: always, idle: {policy: no_connections}}
  kept: {command: [x], replicas: 3, min_running: 2}
  checked: {command: [x], healthcheck: {test: [CMD, a b, c], start_period: 1m, timeout: 2s}}
  single: {command: [x], replicas: 1, wake_with: [many-2], attach: netstack, idle: never}
  image: {image: redis:7, stop_signal: SIGTERM}
)");
}

}  // namespace
}  // namespace im::orchestrator
