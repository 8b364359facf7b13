#include "orchestrator/start_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

TEST(StartRequests, AMemberOfAGroupIsToldItsFellows) {
  const ParsedClusterSpec parsed = ParseClusterSpec(R"(
name: t
network: 10.9.0.0/24
groups:
  g: {suspend: together, heartbeat: {below_bytes_per_s: 1k}}
  apart: {}
hosts:
  a: {command: [a], group: g}
  b: {command: [b], group: g}
  c: {command: [c], group: apart}
  d: {command: [d], group: apart}
)",
                                                    "c.yaml", "/", FakeSources());
  ASSERT_TRUE(parsed.spec.has_value());
  SeededRandom random(1);
  const tunnel::PrivateKey key = tunnel::GeneratePrivateKey(random);
  const StartRequests requests(*parsed.spec, "/run/im/t", tunnel::DerivePublicKey(key),
                               {IpAddress::V4(0x7f000001), 1});
  const auto request = [&](size_t host) {
    Instance instance;
    instance.id = {parsed.spec->hosts[host].name, 1};
    instance.address = parsed.spec->hosts[host].address;
    const auto made = requests.ForHost(parsed.spec->hosts[host], instance, key);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.value_or(proto::StartRequest());
  };
  EXPECT_EQ(request(0).group().name(), "g");
  EXPECT_EQ(request(0).group().heartbeat_bytes_per_s(), 1024u);
  EXPECT_THAT(request(0).group().fellows(),
              testing::ElementsAre(AddressBytes(parsed.spec->hosts[1].address)));
  EXPECT_FALSE(request(2).has_group());
}

}  // namespace
}  // namespace im::orchestrator
