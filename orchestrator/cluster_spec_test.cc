#include "orchestrator/cluster_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "orchestrator/host_setup.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

ParsedClusterSpec Parse(const std::string& text, const SpecSources& sources = FakeSources()) {
  return ParseClusterSpec(text, "c.yaml", "/base/my Shop", sources);
}

ClusterSpec MustParse(const std::string& text, const SpecSources& sources = FakeSources()) {
  ParsedClusterSpec parsed = Parse(text, sources);
  EXPECT_THAT(Lines(parsed.errors), IsEmpty());
  return parsed.spec.value_or(ClusterSpec());
}

TEST(ClusterSpec, CheckpointsAreRefusedWhereTheMachineHasNone) {
  SpecSources sources = FakeSources();
  int asked = 0;
  sources.no_checkpoints = [&]() -> std::optional<std::string> {
    ++asked;
    return "CRIU is not installed";
  };
  ParsedClusterSpec parsed = ParseClusterSpec("name: n\nhosts: {a: {command: [a]}}\n", "c.yaml",
                                              "/base/shop", sources);
  EXPECT_TRUE(parsed.spec.has_value());
  EXPECT_EQ(asked, 0);
  parsed = ParseClusterSpec(
      "name: n\nhosts:\n  a: {command: [a], on_release: checkpoint}\n"
      "  b: {command: [a], on_release: checkpoint}\n",
      "c.yaml", "/base/shop", sources);
  EXPECT_EQ(asked, 1);
  EXPECT_THAT(Lines(parsed.errors),
              testing::ElementsAre("c.yaml:3:33: host a: on_release: checkpoint: CRIU is not "
                                   "installed (im doctor says more)",
                                   "c.yaml:4:33: host b: on_release: checkpoint: CRIU is not "
                                   "installed (im doctor says more)"));
  sources.no_checkpoints = []() -> std::optional<std::string> { return std::nullopt; };
  parsed = ParseClusterSpec("name: n\nhosts: {a: {command: [a], on_release: checkpoint}}\n",
                            "c.yaml", "/base/shop", sources);
  ASSERT_TRUE(parsed.spec.has_value());
  EXPECT_EQ(parsed.spec->hosts[0].on_release, OnRelease::kCheckpoint);
}

TEST(ClusterSpec, MaxLifetimeIsNotOfGroups) {
  const ParsedClusterSpec parsed = ParseClusterSpec(
      "name: n\nhosts:\n  a: {command: [a], on_release: checkpoint, max_lifetime: 1h}\n"
      "  b: {command: [b], max_lifetime: 1h}\n"
      "  c: {command: [c], on_release: checkpoint, max_lifetime: 1h, group: g}\n"
      "groups: {g: {suspend: together}}\n",
      "c.yaml", "/base/shop", FakeSources());
  ASSERT_TRUE(parsed.spec.has_value());
  EXPECT_EQ(parsed.spec->hosts[0].max_lifetime, std::chrono::hours(1));
  EXPECT_EQ(parsed.spec->hosts[1].max_lifetime, std::chrono::hours(1));
  EXPECT_THAT(Lines(parsed.warnings),
              testing::ElementsAre("c.yaml:5:59: host c: max_lifetime is not honoured in a group with "
                                   "suspend: together (its members are stopped, and go to disk, only "
                                   "together)",
                                   "c.yaml:6:10: group g has one host, c: suspend: together means "
                                   "nothing more for it"));
}

TEST(ClusterSpec, CheckpointsExpireWhereThereAreSome) {
  const ParsedClusterSpec parsed = ParseClusterSpec(
      "name: n\ndefaults: {on_release: checkpoint, checkpoint_expires: 7d, max_lifetime: 1d}\nhosts:\n"
      "  a: {command: [a]}\n"
      "  b: {command: [b], checkpoint_expires: never, max_lifetime: never}\n"
      "  c: {command: [c], on_release: terminate, checkpoint_expires: 1h}\n",
      "c.yaml", "/base/shop", FakeSources());
  ASSERT_TRUE(parsed.spec.has_value());
  EXPECT_EQ(parsed.spec->hosts[0].checkpoint_expires, std::chrono::hours(7 * 24));
  EXPECT_EQ(PolicyOf(parsed.spec->hosts[0]).checkpoint_expires, std::chrono::hours(7 * 24));
  EXPECT_EQ(parsed.spec->hosts[1].checkpoint_expires, std::nullopt);
  EXPECT_EQ(parsed.spec->hosts[1].max_lifetime, std::nullopt);
  EXPECT_THAT(Lines(parsed.warnings),
              testing::ElementsAre("c.yaml:6:64: host c: checkpoint_expires is not honoured with "
                                   "on_release: terminate (it needs on_release: checkpoint)"));
}

TEST(ClusterSpec, TheLeastFileGetsEveryDefault) {
  const ClusterSpec spec = MustParse("hosts: {web: {command: [prog]}}\n");
  EXPECT_EQ(spec.name, "myshop");
  EXPECT_EQ(spec.network.ToString(), "10.77.0.0/16");
  EXPECT_EQ(spec.gateway.ToString(), "10.77.0.1");
  EXPECT_EQ(spec.domain, "myshop.im");
  EXPECT_EQ(spec.attach, AttachMode::kAuto);
  EXPECT_EQ(spec.mtu, 65475u);
  EXPECT_EQ(spec.listen.ToString(), "127.0.0.1:0");
  EXPECT_EQ(spec.provider, "process");
  EXPECT_EQ(spec.limits.max_starting, 32u);
  EXPECT_EQ(spec.limits.min_free_memory_bytes, 64u << 20);
  ASSERT_EQ(spec.hosts.size(), 1u);
  const HostSpec& web = spec.hosts[0];
  EXPECT_EQ(web.name, "web");
  EXPECT_EQ(web.hostname, "web");
  EXPECT_EQ(web.address.ToString(), "10.77.0.2");
  EXPECT_THAT(web.argv, ElementsAre("prog"));
  EXPECT_EQ(web.working_dir, "/base/my Shop");
  EXPECT_EQ(web.stop_signal, "SIGTERM");
  EXPECT_EQ(web.stop_grace_period, seconds(10));
  EXPECT_EQ(web.start_timeout, seconds(30));
  EXPECT_EQ(web.idle.after, seconds(30));
  EXPECT_EQ(web.idle.release_after, Duration(minutes(10)));
  EXPECT_EQ(web.idle.cpu_below_permille, 20u);
  EXPECT_EQ(web.restart, RestartPolicy::kNo);
  EXPECT_FALSE(web.min_running);
}

TEST(ClusterSpec, AHostIsAttachedAsItSaysOrAsDefaultsOrTheNetworkSay) {
  const ClusterSpec spec = MustParse(R"(
network: {attach: netstack}
defaults: {attach: tun}
hosts:
  a: {command: [a]}
  b: {command: [b], attach: netstack}
  c: {command: [c], attach: auto}
)");
  EXPECT_EQ(spec.hosts[0].attach, AttachMode::kTun);
  EXPECT_EQ(spec.hosts[1].attach, AttachMode::kNetstack);
  EXPECT_EQ(spec.hosts[2].attach, AttachMode::kTun);
  const ClusterSpec whole = MustParse("network: {attach: netstack}\nhosts:\n"
                                      "  a: {command: [a]}\n  b: {command: [b], attach: false}\n");
  EXPECT_EQ(whole.hosts[0].attach, AttachMode::kNetstack);
  EXPECT_EQ(whole.hosts[1].attach, AttachMode::kNetstack) << "Compose's word about output";
}

TEST(ClusterSpec, AutoIsWhatTheMachinePermits) {
  SpecSources sources = FakeSources();
  sources.auto_attach = AttachMode::kNetstack;
  const ClusterSpec spec = MustParse(
      "hosts:\n  a: {command: [a]}\n  b: {command: [b], attach: tun}\n", sources);
  EXPECT_EQ(spec.hosts[0].attach, AttachMode::kNetstack);
  EXPECT_EQ(spec.hosts[1].attach, AttachMode::kTun);
}

TEST(ClusterSpec, EveryFieldIsRead) {
  const ClusterSpec spec = MustParse(R"(
name: shop
network: {cidr: 10.9.0.0/24, domain: shop.test, attach: tun, mtu: 1500, listen: 0.0.0.0}
provider: process
limits: {max_starting: 4, min_free_memory: 1g}
groups: {pair: {suspend: apart}}
hosts:
  web:
    entrypoint: [env, -i]
    command: sh -c 'echo "a b"'
    environment: {A: 1, B: "x y", C: }
    working_dir: sub
    user: www-data:adm
    volumes: [./data:/data, cache:/cache:ro, /scratch]
    tmpfs: /run
    ports: ["8080:80", "0.0.0.0:8081:81", {target: 82, published: 8082, host_ip: 127.0.0.2},
            "[::1]:8080:80", "[::]:8081:81", {target: 82, published: 8082, host_ip: "::1"}]
    hostname: front
    aliases: [www]
    address: 10.9.0.40
    depends_on: [db]
    wake_with: [db]
    restart: on-failure:3
    stop_signal: INT
    stop_grace_period: 1m30s
    ulimits: {nofile: 1024, core: -1}
    mem_limit: 64m
    cpus: 1.5
    logging: {max_size: 1m, files: 2}
    idle: {policy: no_connections, after: 500ms, release_after: never, cpu_below: 0.5%, busy_file: /run/busy}
    on_release: terminate
    start_timeout: 2m
    min_running: 1
    group: pair
  db:
    command: [redis-server]
    group: pair
    stop_signal: '2'
)",
                                     FakeSources({}, {{"C", "passed on"}}));
  EXPECT_EQ(spec.domain, "shop.test");
  EXPECT_EQ(spec.attach, AttachMode::kTun);
  EXPECT_EQ(spec.mtu, 1500u);
  EXPECT_EQ(spec.listen.ToString(), "0.0.0.0:51820");
  EXPECT_EQ(spec.limits.max_starting, 4u);
  EXPECT_EQ(spec.limits.min_free_memory_bytes, 1u << 30);
  ASSERT_EQ(spec.groups.size(), 1u);
  EXPECT_THAT(spec.groups[0].hosts, ElementsAre("web", "db"));
  ASSERT_EQ(spec.hosts.size(), 2u);
  const HostSpec& web = spec.hosts[0];
  EXPECT_THAT(web.argv, ElementsAre("env", "-i", "sh", "-c", "echo \"a b\""));
  EXPECT_THAT(web.environment,
              ElementsAre(Pair("A", "1"), Pair("B", "x y"), Pair("C", "passed on")));
  EXPECT_EQ(web.working_dir, "/base/my Shop/sub");
  EXPECT_EQ(web.user, "www-data:adm");
  ASSERT_EQ(web.mounts.size(), 4u);
  EXPECT_EQ(web.mounts[0].source, "/base/my Shop/data");
  EXPECT_EQ(web.mounts[0].target, "/data");
  EXPECT_EQ(web.mounts[1].kind, MountSpec::Kind::kVolume);
  EXPECT_EQ(web.mounts[1].source, "cache");
  EXPECT_TRUE(web.mounts[1].read_only);
  EXPECT_EQ(web.mounts[2].kind, MountSpec::Kind::kTmpfs);
  EXPECT_EQ(web.mounts[2].target, "/scratch");
  EXPECT_EQ(web.mounts[3].target, "/run");
  ASSERT_EQ(web.ports.size(), 6u);
  EXPECT_EQ(web.ports[0].listen.ToString(), "127.0.0.1:8080");
  EXPECT_EQ(web.ports[0].target, 80);
  EXPECT_EQ(web.ports[1].listen.ToString(), "0.0.0.0:8081");
  EXPECT_EQ(web.ports[2].listen.ToString(), "127.0.0.2:8082");
  EXPECT_EQ(web.ports[3].listen.ToString(), "[::1]:8080");
  EXPECT_EQ(web.ports[3].target, 80);
  EXPECT_EQ(web.ports[4].listen.ToString(), "[::]:8081");
  EXPECT_EQ(web.ports[5].listen.ToString(), "[::1]:8082");
  EXPECT_EQ(web.hostname, "front");
  EXPECT_THAT(web.aliases, ElementsAre("www"));
  EXPECT_EQ(web.address.ToString(), "10.9.0.40");
  EXPECT_THAT(web.depends_on, ElementsAre(DependencySpec{"db"}));
  EXPECT_THAT(web.wake_with, ElementsAre("db"));
  EXPECT_EQ(web.restart, RestartPolicy::kOnFailure);
  EXPECT_EQ(web.restart_attempts_max, 3u);
  EXPECT_EQ(web.stop_signal, "SIGINT");
  EXPECT_EQ(web.stop_grace_period, seconds(90));
  EXPECT_THAT(web.ulimits, UnorderedElementsAre(Pair("nofile", 1024), Pair("core", UINT64_MAX)));
  EXPECT_EQ(web.mem_limit_bytes, 64u << 20);
  EXPECT_EQ(web.cpus, 1.5);
  EXPECT_EQ(web.logging.max_size_bytes, 1u << 20);
  EXPECT_EQ(web.logging.files_max, 2u);
  EXPECT_EQ(web.idle.mode, IdleMode::kNoConnections);
  EXPECT_EQ(web.idle.after, milliseconds(500));
  EXPECT_FALSE(web.idle.release_after.has_value());
  EXPECT_EQ(web.idle.cpu_below_permille, 5u);
  EXPECT_EQ(web.idle.busy_file, "/run/busy");
  EXPECT_EQ(web.start_timeout, minutes(2));
  EXPECT_TRUE(web.min_running);
  EXPECT_EQ(web.group, "pair");
  EXPECT_EQ(web.at, (SourcePosition{8, 3}));
  EXPECT_EQ(spec.hosts[1].stop_signal, "SIGINT");
  EXPECT_EQ(spec.FindHost("db"), spec.hosts[1]);
  EXPECT_EQ(spec.FindHost("nope"), std::nullopt);
}

TEST(ClusterSpec, AddressesComeInTheOrderOfTheFileAroundExplicitOnes) {
  const ClusterSpec spec = MustParse(
      "network: 10.9.0.0/29\nhosts:\n  a: {command: a}\n  b: {command: b, address: 10.9.0.3}\n"
      "  c: {command: c}\n");
  EXPECT_EQ(spec.hosts[0].address.ToString(), "10.9.0.2");
  EXPECT_EQ(spec.hosts[1].address.ToString(), "10.9.0.3");
  EXPECT_EQ(spec.hosts[2].address.ToString(), "10.9.0.4");
}

TEST(ClusterSpec, ReplicasAreHostsOfTheirOwn) {
  const ClusterSpec spec = MustParse(
      "hosts:\n  zk: {command: [zk], replicas: 3, min_running: 1, aliases: [ensemble]}\n"
      "  client: {command: [c], depends_on: [zk], wake_with: [zk-2]}\n"
      "  one: {command: [c], replicas: 1}\n");
  ASSERT_EQ(spec.hosts.size(), 5u);
  EXPECT_EQ(spec.hosts[0].name, "zk-1");
  EXPECT_EQ(spec.hosts[0].hostname, "zk-1");
  EXPECT_EQ(spec.hosts[2].name, "zk-3");
  EXPECT_EQ(spec.hosts[2].service, "zk");
  EXPECT_TRUE(spec.hosts[0].min_running);
  EXPECT_FALSE(spec.hosts[1].min_running);
  EXPECT_THAT(spec.hosts[3].depends_on,
              ElementsAre(DependencySpec{"zk-1"}, DependencySpec{"zk-2"}, DependencySpec{"zk-3"}));
  EXPECT_THAT(spec.hosts[3].wake_with, ElementsAre("zk-2"));
  // So that a later `replicas: 2` renames nothing.
  EXPECT_EQ(spec.hosts[4].name, "one-1");
}

TEST(ClusterSpec, DefaultsAreTheStartOfEveryHost) {
  const ClusterSpec spec = MustParse(
      "defaults:\n  idle: {after: 5s, release_after: 1m}\n  environment: {A: 1, B: 1}\n"
      "  user: nobody\n"
      "hosts:\n  a: {command: a, idle: {after: 7s}, environment: {B: 2}}\n  b: {command: b}\n");
  EXPECT_EQ(spec.hosts[0].idle.after, seconds(7));
  EXPECT_EQ(spec.hosts[0].idle.release_after, Duration(minutes(1)));
  EXPECT_THAT(spec.hosts[0].environment, ElementsAre(Pair("A", "1"), Pair("B", "2")));
  EXPECT_EQ(spec.hosts[0].user, "nobody");
  EXPECT_EQ(spec.hosts[1].idle.after, seconds(5));
}

TEST(ClusterSpec, EnvFilesComeBeforeTheEnvironment) {
  const ClusterSpec spec = MustParse(
      "hosts:\n  a:\n    command: a\n    env_file: [one.env, {path: gone.env, required: false}]\n"
      "    environment: [B=from yaml, PASSED]\n",
      FakeSources({{"/base/my Shop/one.env", "# comment\nA=1\nexport B=2\nC='$x'\nD=\"a\\nb\" \n"
                                             "E=${A}1 # comment\n"}},
                  {{"PASSED", "on"}}));
  EXPECT_THAT(spec.hosts[0].environment,
              ElementsAre(Pair("A", "1"), Pair("B", "from yaml"), Pair("C", "$x"),
                          Pair("D", "a\nb"), Pair("E", "11"), Pair("PASSED", "on")));
}

TEST(ClusterSpec, VariablesAreFilledIn) {
  const ClusterSpec spec = MustParse(
      "name: ${NAME}\nhosts:\n  a:\n    command: [echo, $$HOME, '${PORT:-80}', \"${DOT}\"]\n",
      FakeSources({{"/base/my Shop/.env", "NAME=fromfile\nDOT=env\n"}}, {{"NAME", "shop"}}));
  EXPECT_EQ(spec.name, "shop");
  EXPECT_THAT(spec.hosts[0].argv, ElementsAre("echo", "$HOME", "80", "env"));
}

TEST(ClusterSpec, AnchorsAndMergeKeysWork) {
  const ClusterSpec spec = MustParse(
      "x-common: &common\n  user: nobody\n  environment: &env {A: 1}\n"
      "hosts:\n  a:\n    <<: *common\n    command: a\n"
      "  b:\n    <<: [*common]\n    command: b\n    user: root\n"
      "    environment:\n      <<: *env\n      B: 2\n");
  EXPECT_EQ(spec.hosts[0].user, "nobody");
  EXPECT_EQ(spec.hosts[1].user, "root");
  EXPECT_THAT(spec.hosts[1].environment, ElementsAre(Pair("A", "1"), Pair("B", "2")));
}

TEST(ClusterSpec, AComposeFileIsReadWithWarnings) {
  const ParsedClusterSpec parsed = Parse(R"(version: "3"
services:
  web:
    image: nginx
    command: nginx -g 'daemon off;'
    restart: unless-stopped
    container_name: web
    healthcheck: {test: [CMD, curl, localhost]}
    networks: [front]
    cap_add: [NET_ADMIN]
    ports:
      - "53:53/udp"
    depends_on:
      db: {condition: service_healthy}
    deploy:
      replicas: 1
      resources: {limits: {cpus: '0.5', memory: 50M}}
      placement: {}
  db:
    command: redis-server && true
    logging: {driver: syslog, options: {max-size: 1m, tag: x}}
networks: {front: {}, back: {driver: bridge}}
volumes:
  data: {driver: local}
)");
  ASSERT_THAT(Lines(parsed.errors), IsEmpty());
  EXPECT_THAT(
      Lines(parsed.warnings),
      ElementsAre(
          "c.yaml:4:12: host web: the image nginx is not imported: the command runs with this "
          "machine's own files (im image import nginx PATH: an OCI layout, an archive of docker "
          "save, a directory or a tar archive of its files)",
          "c.yaml:10:5: host web: cap_add is not honoured yet",
          "c.yaml:12:9: port \"53:53/udp\" is not published: only TCP is yet (inside the network "
          "every protocol works)",
          "c.yaml:18:7: deploy: placement is not honoured yet",
          "c.yaml:20:14: \"&&\" is handed to the program: no shell reads it (for a shell write "
          "[sh, -c, \"...\"])",
          "c.yaml:21:23: logging driver \"syslog\" is not honoured: output goes to files (im logs "
          "HOST shows them)",
          "c.yaml:21:55: logging option \"tag\" is not honoured",
          "c.yaml:22:11: networks: all hosts are in one network, and reach each other",
          "c.yaml:24:10: volume data: driver is not honoured yet (a volume is a directory of this "
          "machine)"));
  const HostSpec& web = parsed.spec->hosts[0];
  EXPECT_EQ(web.name, "web-1");
  EXPECT_EQ(web.cpus, 0.5);
  EXPECT_EQ(web.mem_limit_bytes, 50u << 20);
  EXPECT_EQ(web.restart, RestartPolicy::kAlways);
  EXPECT_EQ(parsed.spec->hosts[1].logging.max_size_bytes, 1u << 20);
}

TEST(ClusterSpec, AGroupIsSuspendedTogetherAndHasAHeartbeat) {
  const ParsedClusterSpec parsed = Parse(R"(
groups:
  plain: {}
  ensemble: {suspend: together, heartbeat: {below_bytes_per_s: 2k}}
  other: {suspend: together}
hosts:
  zk: {command: [zk], replicas: 2, group: ensemble}
  a: {command: [a], group: other, idle: never}
  b: {command: [b], group: plain}
)");
  EXPECT_THAT(Lines(parsed.errors), IsEmpty());
  EXPECT_THAT(Lines(parsed.warnings),
              ElementsAre("c.yaml:5:3: group other has one host, a: suspend: together means nothing more "
                          "for it",
                          "c.yaml:8:3: host a is never paused, so group other, which is suspended "
                          "together, never is"));
  const std::vector<GroupSpec>& groups = parsed.spec.value_or(ClusterSpec()).groups;
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_FALSE(groups[0].suspend_together);
  EXPECT_TRUE(groups[1].suspend_together);
  EXPECT_EQ(groups[1].heartbeat_bytes_per_s, 2048u);
  EXPECT_THAT(groups[1].hosts, ElementsAre("zk-1", "zk-2"));
  EXPECT_EQ(groups[2].heartbeat_bytes_per_s, 8192u);
}

TEST(ClusterSpec, WarningsSayWhatWillSurprise) {
  EXPECT_THAT(Lines(Parse("network: 8.8.8.0/24\nhosts: {a: {command: \"echo $X\"}}\n").warnings),
              ElementsAre("c.yaml:1:10: 8.8.8.0/24 is not a private network (RFC 1918) (the "
                          "machines that really have these addresses cannot be reached by the "
                          "hosts)",
                          "c.yaml:2:22: the variable X is not set: replaced by nothing (for the "
                          "program's own variable write $$X)"));
}

TEST(ClusterSpec, TenThousandHostsAreReadQuickly) {
  std::string text = "hosts:\n";
  for (int i = 0; i < 10'000; ++i) {
    text += "  host-" + std::to_string(i) + ":\n    command: [prog, --number, '" +
            std::to_string(i) + "']\n    idle: {after: 5s}\n";
  }
  const ClusterSpec spec = MustParse(text);
  ASSERT_EQ(spec.hosts.size(), 10'000u);
  EXPECT_EQ(spec.hosts[9'999].address.ToString(), "10.77.39.17");
}

}  // namespace
}  // namespace im::orchestrator
