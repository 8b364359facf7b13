#include "orchestrator/spec/network_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

ParsedClusterSpec Parse(const std::string& network) {
  return ParseClusterSpec("name: shop\nnetwork: " + network + "\nhosts: {a: {command: [a]}}\n",
                          "c.yaml", "/", FakeSources());
}

std::string Network6(const std::string& network) {
  const ParsedClusterSpec parsed = Parse(network);
  EXPECT_TRUE(parsed.spec.has_value()) << network;
  if (!parsed.spec || !parsed.spec->dual_stack.on()) return "";
  return parsed.spec->dual_stack.network().ToString();
}

TEST(NetworkFields, Ipv6IsOffUnlessItIsAskedFor) {
  EXPECT_EQ(Network6("10.9.0.0/16"), "");
  EXPECT_EQ(Network6("{cidr: 10.9.0.0/16}"), "");
  EXPECT_EQ(Network6("{ipv6: false}"), "");
  EXPECT_EQ(Network6("{ipv6: }"), "");
}

TEST(NetworkFields, OfAGivenNetworkTheFirst96BitsAreUsed) {
  EXPECT_EQ(Network6("{ipv6: 'fd12:3456:789a::/64'}"), "fd12:3456:789a::/96");
  EXPECT_EQ(Network6("{ipv6: 'fd12::/48'}"), "fd12::/96");
  EXPECT_EQ(Network6("{ipv6: 'fd12:1:2:3:4:5::/96'}"), "fd12:1:2:3:4:5::/96");
  EXPECT_THAT(Parse("{ipv6: '2001:db8:1::/48'}").warnings, IsEmpty());
}

TEST(NetworkFields, AMadeUpNetworkIsTheSameForEver) {
  // Written down: hosts' addresses must not change with the next version.
  EXPECT_EQ(Network6("{cidr: 10.77.0.0/16, ipv6: true}"), "fd87:4bed:eb99::/96");
  EXPECT_EQ(Network6("{ipv6: true}"), Network6("{cidr: 10.77.0.0/16, ipv6: Yes}"));
  EXPECT_NE(Network6("{cidr: 10.78.0.0/16, ipv6: true}"), Network6("{ipv6: true}"));
  EXPECT_NE(DeriveDualStack("other", *IpPrefix::Parse("10.77.0.0/16")),
            DeriveDualStack("shop", *IpPrefix::Parse("10.77.0.0/16")));
}

TEST(NetworkFields, AnAddressThatSomebodyMayHaveIsAWarning) {
  const ParsedClusterSpec parsed = Parse("{ipv6: '2001:470:1::/64'}");
  ASSERT_TRUE(parsed.spec.has_value());
  ASSERT_EQ(parsed.warnings.size(), 1u);
  EXPECT_THAT(parsed.warnings[0].ToString(),
              HasSubstr("c.yaml:2:17: 2001:470:1::/64 is not a unique local network (RFC 4193)"));
}

}  // namespace
}  // namespace im::orchestrator
