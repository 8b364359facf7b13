#include "orchestrator/agent/data_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/ip_build.h"

namespace im::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const IpAddress kHost = IpAddress::V4(0x0a4d0003), kGateway = IpAddress::V4(0x0a4d0001);
const Endpoint kServer{kHost, 80}, kCaller{IpAddress::V4(0x0a4d0009), 40000};

// What happens to a batch from the tunnel, in order.
class DataPathTest : public testing::Test, public DataPath::Delegate, public Attachment {
 protected:
  DataPathTest() { path_.SetAttachment(*this); }

  PacketBatch Batch(std::initializer_list<std::vector<uint8_t>> packets) {
    PacketBatch batch;
    for (const std::vector<uint8_t>& packet : packets) batch.AppendCopy(packet);
    return batch;
  }
  std::vector<uint8_t> Tcp(uint8_t flags, size_t payload) {
    return BuildTcp(kCaller, kServer, {.sequence = 1, .flags = flags},
                    std::vector<uint8_t>(payload));
  }

  void OnInboundUse(Use use, const IpView&) override {
    happened_.push_back(use == Use::kName ? "name" : "use");
  }
  void OnInboundDelivered() override { happened_.push_back("delivered"); }
  void OnOutboundUse(const IpView&) override {}
  void OnControl(std::span<const uint8_t>) override { happened_.push_back("control"); }

  absl::Status Adopt(FileDescriptor) override { return absl::OkStatus(); }
  void OnProgramStart(Instant) override {}
  void OnProgramEnd() override {}
  void OnProcessesGone() override {}
  void OnPausedOrThawed(bool) override {}
  void Write(PacketBatch batch) override {
    happened_.push_back("write " + std::to_string(batch.size()));
  }
  bool LetIn(const Packet&, const IpView&) override { return let_in_; }
  bool LetOut(const Packet&, const IpView&) override { return true; }
  size_t held() const override { return 0; }
  Instant NextDeadline() const override { return kNever; }
  void OnTimer() override {}
  int CountConnections() const override { return 0; }
  int CountWaitingCalls() const override { return 0; }
  const DropCounters& drops() const override { return drops_; }

  RealClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
  names::NameIndex names_{""};
  names::DnsResponder dns_{names_, "t.im", *IpPrefix::Parse("10.77.0.0/16")};
  DropCounters drops_;
  DataPath path_{{.host = kHost, .gateway = kGateway, .started_at = clock_.Now()}, *loop_, dns_, *this};
  std::vector<std::string> happened_;
  bool let_in_ = true;
};

// So a paused program wakes up once, and finds it.
TEST_F(DataPathTest, WhatShowsUseIsWithTheProgramsKernelBeforeThatIsSaid) {
  path_.Write(Batch({Tcp(kTcpAck, 0), Tcp(kTcpAck, 9), Tcp(kTcpAck, 9)}));
  EXPECT_THAT(happened_, ElementsAre("use", "use", "write 3", "delivered"));
}

TEST_F(DataPathTest, WhatShowsNoUseDeliversNothingToSpeakOf) {
  path_.Write(Batch({Tcp(kTcpAck, 0)}));
  EXPECT_THAT(happened_, ElementsAre("write 1"));
}

TEST_F(DataPathTest, NoConnectionBeginsAtAProgramThatIsBeingStopped) {
  path_.LetNoConnectionBegin();
  path_.Write(Batch({Tcp(kTcpSyn, 0)}));
  EXPECT_THAT(happened_, IsEmpty());
  path_.Write(Batch({Tcp(kTcpAck, 9), Tcp(kTcpSyn | kTcpAck, 0)}));
  EXPECT_THAT(happened_, ElementsAre("use", "use", "write 2", "delivered"));
}

TEST_F(DataPathTest, WhatIsKeptForAProgramThatDoesNotListenYetWakesItAllTheSame) {
  let_in_ = false;
  path_.Write(Batch({Tcp(kTcpSyn, 0)}));
  EXPECT_THAT(happened_, ElementsAre("use", "delivered"));
}

TEST_F(DataPathTest, ControlMessagesComeAfterThePacketsOfTheirBatch) {
  const uint8_t message[] = {1};
  path_.Write(Batch({BuildUdp({kGateway, kControlPort}, {kHost, kControlPort}, message),
                     Tcp(kTcpAck, 9)}));
  EXPECT_THAT(happened_, ElementsAre("use", "write 1", "delivered", "control"));
}

TEST_F(DataPathTest, AnAnswerAboutANameThawsAndIsNoUse) {
  path_.Write(Batch({BuildUdp({kGateway, 53}, {kHost, 5000}, {})}));
  EXPECT_THAT(happened_, ElementsAre("name", "write 1", "delivered"));
}

TEST_F(DataPathTest, TheGatewayAnswersNamesAtEitherAddress) {
  const DualStack dual_stack(*IpPrefix::Parse("fd00:77::/96"));
  DataPath path({.host = kHost,
                 .gateway = kGateway,
                 .started_at = clock_.Now(),
                 .dual_stack = dual_stack},
                *loop_, dns_, *this);
  path.SetAttachment(*this);
  const IpAddress host6 = dual_stack.ToV6(kHost), gateway6 = dual_stack.ToV6(kGateway);
  // x.y, which is no name of the cluster's.
  const std::vector<uint8_t> query = {1,   2, 1,   0, 0, 1, 0, 0, 0, 0, 0, 0, 1,
                                      'x', 1, 'y', 0, 0, 1, 0, 1};
  path.OnFromProgram(Batch({BuildUdp({host6, 5000}, {gateway6, names::kDnsPort}, query),
                            BuildUdp({host6, 5000}, {gateway6, kControlPort}, query)}));
  EXPECT_THAT(happened_, ElementsAre("write 1"));
  EXPECT_EQ(path.drops()[DropReason::kSpoofed], 1u);
}

TEST_F(DataPathTest, DatagramsForAPausedProgramAreRememberedUntilItIsThawed) {
  const auto datagram = [](uint8_t what) {
    const uint8_t payload[] = {what};
    return BuildUdp(kCaller, kServer, payload);
  };
  path_.Write(Batch({datagram(1)}));
  path_.RememberUnread(true);
  path_.Write(Batch({datagram(2), Tcp(kTcpAck, 9), datagram(3)}));
  path_.Keep(/*nor_out=*/true);
  path_.Write(Batch({datagram(4)}));
  ASSERT_EQ(path_.unread().size(), 2u);
  EXPECT_EQ(path_.unread()[0].data[path_.unread()[0].size - 1], 2);
  EXPECT_EQ(path_.unread()[1].data[path_.unread()[1].size - 1], 3);
  EXPECT_EQ(path_.kept().size(), 1u);
  // Then its kernel has the last one, too.
  path_.LetGo();
  EXPECT_EQ(path_.unread().size(), 3u);
  path_.RememberUnread(false);
  EXPECT_TRUE(path_.unread().empty());
  path_.Write(Batch({datagram(5)}));
  EXPECT_TRUE(path_.unread().empty());
}

}  // namespace
}  // namespace im::agent
