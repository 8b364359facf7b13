// Hosts with an IPv6 address beside the other: the real im-agent, both attachments.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "orchestrator/agent/agent_fixture.h"
#include "orchestrator/agent/inside.h"
#include "orchestrator/agent/start_request.h"

namespace im::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

class DualStackAgentTest : public AgentTest {
 protected:
  std::unique_ptr<TestAgent> MakeDualStackAgent(proto::Attach attach,
                                                const std::string& program = "tcp") {
    auto agent = MakeAgent(attach == proto::ATTACH_TUN ? 3 : 4, program);
    agent->request.set_network6(kTestDualStack.network().address().ToBytes());
    agent->request.set_attach(attach);
    agent->request.set_start_timeout_ms(1500);
    return agent;
  }
  // Whether one of `type` has come from `address` that was not seen before.
  bool Comes(const IpAddress& address, uint8_t protocol, uint8_t type) {
    return gateway_->RunUntil([&] {
      const bool there =
          std::any_of(gateway_->seen.begin(), gateway_->seen.end(), [&](const auto& packet) {
            const IpView view = *ParseIp(packet);
            return view.source == address && view.protocol == protocol &&
                   (protocol == kProtocolTcp ? (view.tcp_flags & type) == type
                                             : view.icmp_type == type);
          });
      if (there) gateway_->seen.clear();
      return there;
    });
  }
  void Write(const std::vector<uint8_t>& packet) {
    gateway_->driver().Write(SinglePacket(packet));
  }
};

TEST_F(DualStackAgentTest, AnswersAtBothAddresses) {
  for (const proto::Attach attach : {proto::ATTACH_TUN, proto::ATTACH_NETSTACK}) {
    SCOPED_TRACE(attach);
    auto agent = MakeDualStackAgent(attach);
    const IpAddress own = agent->address(), own6 = kTestDualStack.ToV6(own);
    const IpAddress gateway6 = kTestDualStack.ToV6(kTestGateway);
    agent->Start();
    ASSERT_TRUE(agent->AwaitProgram());
    Write(BuildEchoRequest(kTestGateway, own, 77, 1));
    EXPECT_TRUE(Comes(own, kProtocolIcmp, 0));
    Write(BuildEchoRequest(gateway6, own6, 77, 1));
    EXPECT_TRUE(Comes(own6, kProtocolIcmpV6, 129));
    // Nobody listens there; and the program is not young any more.
    const TcpFields syn{.sequence = 1, .flags = kTcpSyn, .window = 1000};
    Write(BuildTcp({gateway6, 5000}, {own6, 9}, syn));
    EXPECT_TRUE(Comes(own6, kProtocolTcp, kTcpRst));
  }
}

// Whose program takes them by IPv4, and is young for longer than we wait.
TEST_F(DualStackAgentTest, RefusesDatagramsOfTheOtherFamilySoon) {
  auto agent = MakeDualStackAgent(proto::ATTACH_TUN, "udp");
  agent->request.set_start_timeout_ms(600'000);
  const IpAddress own = agent->address(), own6 = kTestDualStack.ToV6(own);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const std::vector<uint8_t> payload(3);
  Write(BuildUdp({kTestDualStack.ToV6(kTestGateway), 5000}, {own6, kPort}, payload));
  EXPECT_TRUE(Comes(own6, kProtocolIcmpV6, 1)) << "destination unreachable";
  Write(BuildUdp({kTestGateway, 5000}, {own, kPort}, payload));
  EXPECT_TRUE(Comes(own, kProtocolUdp, 0)) << "the echo";
}

TEST_F(DualStackAgentTest, IsPausedAndThawedByIpv6Alone) {
  auto agent = MakeDualStackAgent(proto::ATTACH_TUN);
  const IpAddress own6 = kTestDualStack.ToV6(agent->address());
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  ASSERT_TRUE(agent->Pause());
  Write(BuildEchoRequest(kTestDualStack.ToV6(kTestGateway), own6, 77, 1));
  EXPECT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::PING);
}

TEST(DualStackFilesTest, TheHostKnowsItsNameByBothAddresses) {
  proto::StartRequest request;
  request.set_address(std::string("\x0a\x4d\x00\x03", 4));
  request.set_gateway_address(std::string("\x0a\x4d\x00\x01", 4));
  request.set_hostname("web");
  request.set_domain("t.im");
  EXPECT_THAT(NameFiles(request)[0].second, Not(HasSubstr("fd00")));
  request.set_network6(kTestDualStack.network().address().ToBytes());
  EXPECT_THAT(NameFiles(request)[0].second,
              HasSubstr("10.77.0.3 web.t.im web\nfd00:77::a4d:3 web.t.im web\n"));
}

TEST(DualStackRequestTest, IsChecked) {
  proto::StartRequest request;
  request.set_instance_dir("/x");
  request.set_private_key(std::string(32, 'k'));
  request.set_gateway_public_key(std::string(32, 'k'));
  request.set_gateway_endpoint("127.0.0.1:1");
  request.set_address(std::string("\x0a\x4d\x00\x03", 4));
  request.set_gateway_address(std::string("\x0a\x4d\x00\x01", 4));
  request.set_prefix_length(16);
  request.mutable_program()->add_argv("x");
  request.set_network6(kTestDualStack.network().address().ToBytes());
  ASSERT_TRUE(CheckStartRequest(request).ok());
  EXPECT_EQ(NetworksOf(request), (std::vector{*IpPrefix::Parse("10.77.0.0/16"),
                                              kTestDualStack.network()}));
  request.set_mtu(1279);
  EXPECT_THAT(std::string(CheckStartRequest(request).message()), HasSubstr("MTU"));
  request.set_mtu(1280);
  EXPECT_TRUE(CheckStartRequest(request).ok());
  for (const std::string& bad : {std::string(4, 'x'), std::string(10, '\0') + "\xff\xff" + std::string(4, '\0'),
                                 std::string(15, 'x')}) {
    request.set_network6(bad);
    EXPECT_THAT(std::string(CheckStartRequest(request).message()), HasSubstr("IPv6 network"));
  }
}

}  // namespace
}  // namespace im::agent
