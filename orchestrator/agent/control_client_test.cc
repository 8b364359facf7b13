#include "orchestrator/agent/control_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kIncarnation = 7;

class ControlClientTest : public testing::Test, public ControlClient::Delegate {
 protected:
  void SendControl(const std::string& message) override {
    sent_.emplace_back();
    ASSERT_TRUE(sent_.back().ParseFromString(message));
    EXPECT_EQ(sent_.back().incarnation(), kIncarnation);
  }
  void OnDesired(const proto::DesiredState& desired) override {
    desired_.push_back(desired);
    client_.Publish({}, now_);
  }
  void OnPeer(const IpAddress& address, const proto::PeerUpdate& update) override {
    peers_.push_back(address.ToString() + "/" + std::to_string(update.version()));
  }

  void Receive(const proto::ToAgent& message) {
    const std::string bytes = message.SerializeAsString();
    client_.OnMessage({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }
  void Acknowledge(uint64_t version) {
    proto::ToAgent message;
    message.set_incarnation(kIncarnation);
    message.set_acknowledged_status(version);
    Receive(message);
  }
  uint64_t LastVersion() const { return sent_.back().status().version(); }

  ControlClient client_{kIncarnation, *this};
  Instant now_ = Instant(seconds(1000));
  std::vector<proto::ToOrchestrator> sent_;
  std::vector<proto::DesiredState> desired_;
  std::vector<std::string> peers_;
};

TEST_F(ControlClientTest, NothingIsSentBeforeTheWayIsOpen) {
  proto::InstanceStatus status;
  status.set_agent_pid(5);
  client_.Publish(status, now_);
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(client_.NextDeadline(), kNever);
  client_.OnConnected(now_);
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].status().agent_pid(), 5u);
}

TEST_F(ControlClientTest, AStatusIsRepeatedUntilAcknowledged) {
  client_.OnConnected(now_);
  Duration expected = ControlClient::kFirstRepeat;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(client_.NextDeadline(), now_ + expected) << i;
    now_ = client_.NextDeadline();
    client_.OnTimer(now_);
    expected = std::min(expected * 2, ControlClient::kLastRepeat);
  }
  EXPECT_EQ(sent_.size(), 11u);
  Acknowledge(LastVersion());
  EXPECT_EQ(client_.NextDeadline(), kNever);
  EXPECT_EQ(sent_.size(), 11u) << "an acknowledgment is not answered";
}

TEST_F(ControlClientTest, OldAndImpossibleAcknowledgmentsDoNotCount) {
  client_.OnConnected(now_);
  const uint64_t first = LastVersion();
  client_.Publish({}, now_);
  Acknowledge(first);
  EXPECT_NE(client_.NextDeadline(), kNever);
  Acknowledge(LastVersion() + 1000);
  EXPECT_NE(client_.NextDeadline(), kNever);
  Acknowledge(LastVersion());
  Acknowledge(first);
  EXPECT_EQ(client_.NextDeadline(), kNever);
}

TEST_F(ControlClientTest, AGatewayThatComesBackGetsTheStatusAnew) {
  client_.OnConnected(now_);
  Acknowledge(LastVersion());
  const uint64_t before = LastVersion();
  client_.OnConnected(now_ + seconds(9));
  EXPECT_GT(LastVersion(), before);
  EXPECT_NE(client_.NextDeadline(), kNever);
}

TEST_F(ControlClientTest, OnlyNewerDesiredStatesAreTakenAndEachIsAcknowledged) {
  client_.OnConnected(now_);
  proto::ToAgent message;
  message.set_incarnation(kIncarnation);
  message.mutable_desired()->set_version(3);
  message.mutable_desired()->set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  Receive(message);
  ASSERT_EQ(desired_.size(), 1u);
  EXPECT_EQ(sent_.back().status().acknowledged_desired(), 3u);
  const size_t sent = sent_.size();
  Receive(message);
  message.mutable_desired()->set_version(2);
  Receive(message);
  EXPECT_EQ(desired_.size(), 1u);
  EXPECT_EQ(sent_.size(), sent) << "repetitions are not answered: the status is repeated anyway";
}

TEST_F(ControlClientTest, PeersAreVersionedByAddressAndAlwaysAcknowledged) {
  client_.OnConnected(now_);
  const auto with_peer = [](const std::string& address, uint64_t version) {
    proto::ToAgent message;
    message.set_incarnation(kIncarnation);
    proto::PeerUpdate* peer = message.add_peers();
    peer->set_address(address);
    peer->set_version(version);
    return message;
  };
  const std::string a("\x0a\x4d\x00\x02", 4), b("\x0a\x4d\x00\x03", 4);
  Receive(with_peer(a, 5));
  Receive(with_peer(a, 4));
  Receive(with_peer(a, 5));
  Receive(with_peer(b, 1));
  Receive(with_peer(a, 6));
  Receive(with_peer("bad", 9));
  EXPECT_THAT(peers_, testing::ElementsAre("10.77.0.2/5", "10.77.0.3/1", "10.77.0.2/6"));
  std::vector<uint64_t> acknowledged;
  for (const auto& message : sent_)
    for (uint64_t version : message.acknowledged_peers()) acknowledged.push_back(version);
  EXPECT_THAT(acknowledged, testing::ElementsAre(5, 4, 5, 1, 6, 9));
}

TEST_F(ControlClientTest, OtherIncarnationsAndGarbageAreIgnored) {
  client_.OnConnected(now_);
  proto::ToAgent message;
  message.set_incarnation(kIncarnation - 1);
  message.mutable_desired()->set_version(9);
  message.set_acknowledged_status(LastVersion());
  message.add_peers()->set_version(1);
  Receive(message);
  const uint8_t garbage[] = {0xff, 0xff, 0xff, 0x07, 0x01};
  client_.OnMessage(garbage);
  EXPECT_TRUE(desired_.empty());
  EXPECT_TRUE(peers_.empty());
  EXPECT_EQ(sent_.size(), 1u);
  EXPECT_NE(client_.NextDeadline(), kNever);
}

TEST_F(ControlClientTest, FiguresAreToldOnlyWhenTheyMoved) {
  client_.OnConnected(now_);
  Acknowledge(LastVersion());
  proto::InstanceStatus status;
  EXPECT_FALSE(client_.Refresh(status, now_)) << "nothing new";
  status.set_idle_for_ms(5000);
  EXPECT_FALSE(client_.Refresh(status, now_)) << "time alone is none";
  status.set_cpu_ns(10'000'000);
  EXPECT_TRUE(client_.Refresh(status, now_));
  status.set_cpu_ns(10'000'100);
  EXPECT_FALSE(client_.Refresh(status, now_));
  status.set_inside_rx_bytes(1);
  EXPECT_TRUE(client_.Refresh(status, now_));
  (*status.mutable_drops())["malformed"] = 1;
  EXPECT_TRUE(client_.Refresh(status, now_));
  EXPECT_FALSE(client_.Refresh(status, now_));
}

}  // namespace
}  // namespace im::agent
