#include "orchestrator/connections_on_disk.h"

#include <gtest/gtest.h>

#include <array>

#include "base/checksum.h"
#include "base/ip_build.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using DiskVerdict = ConnectionsOnDisk::Verdict;

constexpr HostId kHost = 3;
constexpr uint32_t kReceived = 1000;  // up to there, without
constexpr uint32_t kSent = 0xffffff00;

class ConnectionsOnDiskTest : public testing::Test {
 protected:
  ConnectionsOnDiskTest() {
    manifest_.set_address(std::string("\x0a\x4d\x00\x02", 4));
    proto::KeptConnection& kept = *manifest_.add_connections();
    kept.set_peer(std::string("\x0a\x4d\x00\x03", 4));
    kept.set_port(6379);
    kept.set_peer_port(40000);
    kept.set_receive_next(kReceived);
    kept.set_send_next(kSent);
    kept.set_window(500);
    kept.set_timestamp(77);
  }
  proto::KeptConnection& kept() { return *manifest_.mutable_connections(0); }

  DiskVerdict Send(const TcpFields& fields, size_t payload = 0, uint16_t from_port = 40000) {
    const std::vector<uint8_t> bytes(payload, 'x');
    TestPacket packet(BuildTcp({peer_, from_port}, {host_, 6379}, fields, bytes));
    connections_.Set(kHost, manifest_);
    answer_.clear();
    return connections_.OnPacket(kHost, packet.packet(), packet.view(), answer_);
  }
  static TcpFields Segment(uint32_t sequence, uint32_t acknowledgment, uint8_t flags = kTcpAck) {
    return {.sequence = sequence, .acknowledgment = acknowledgment, .flags = flags, .window = 100};
  }

  const IpAddress host_ = *IpAddress::Parse("10.77.0.2");
  const IpAddress peer_ = *IpAddress::Parse("10.77.0.3");
  proto::CheckpointManifest manifest_;
  ConnectionsOnDisk connections_;
  std::vector<uint8_t> answer_;
};

TEST_F(ConnectionsOnDiskTest, AKeepaliveIsAnsweredWithWhatIsAcknowledged) {
  // Timestamp 0x01020304, behind two no-operations.
  const std::array<uint8_t, 12> options{1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 9};
  for (const size_t payload : {0, 1}) {
    TcpFields probe = Segment(kReceived - 1, kSent);
    probe.options = options;
    ASSERT_EQ(Send(probe, payload), DiskVerdict::kAnswer);
    const std::optional<IpView> view = ParseIp(answer_);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->source, host_);
    EXPECT_EQ(view->destination, peer_);
    EXPECT_EQ(view->source_port, 6379);
    EXPECT_EQ(view->destination_port, 40000);
    EXPECT_EQ(view->tcp_flags, kTcpAck);
    EXPECT_EQ(view->tcp_sequence, kSent);
    EXPECT_EQ(view->tcp_acknowledgment, kReceived);
    EXPECT_EQ(view->payload_size(), 0);
    const std::vector<uint8_t> sent(answer_.begin() + 40, answer_.end());
    EXPECT_EQ(sent, (std::vector<uint8_t>{1, 1, 8, 10, 0, 0, 0, 77, 1, 2, 3, 4}));
  }
  EXPECT_EQ(connections_.answers(), 2u);
}

TEST_F(ConnectionsOnDiskTest, WithoutTimestampsThereAreNoneInTheAnswer) {
  kept().clear_timestamp();
  ASSERT_EQ(Send(Segment(kReceived - 1, kSent)), DiskVerdict::kAnswer);
  EXPECT_EQ(answer_.size(), 40u);
}

TEST_F(ConnectionsOnDiskTest, OptionsThatMakeNoSenseDoNoHarm) {
  const std::array<uint8_t, 4> options{8, 200, 1, 8};
  TcpFields probe = Segment(kReceived - 1, kSent);
  probe.options = options;
  ASSERT_EQ(Send(probe), DiskVerdict::kAnswer);
  EXPECT_EQ(std::vector<uint8_t>(answer_.end() - 4, answer_.end()), std::vector<uint8_t>(4, 0));
}

TEST_F(ConnectionsOnDiskTest, AnAcknowledgmentOfWhatIsKnownNeedsNothing) {
  EXPECT_EQ(Send(Segment(kReceived, kSent)), DiskVerdict::kNothing);
}

TEST_F(ConnectionsOnDiskTest, AllElseIsForTheHost) {
  EXPECT_EQ(Send(Segment(kReceived, kSent), 1), DiskVerdict::kForHost);        // data
  EXPECT_EQ(Send(Segment(kReceived - 1, kSent), 2), DiskVerdict::kForHost);    // one old, one new
  EXPECT_EQ(Send(Segment(kReceived - 2, kSent)), DiskVerdict::kForHost);       // what it missed
  EXPECT_EQ(Send(Segment(kReceived - 1, kSent + 1)), DiskVerdict::kForHost);
  EXPECT_EQ(Send(Segment(kReceived, kSent - 1)), DiskVerdict::kForHost);
  for (const int flag : {kTcpFin, kTcpRst, kTcpSyn}) {
    EXPECT_EQ(Send(Segment(kReceived - 1, kSent, static_cast<uint8_t>(kTcpAck | flag))),
              DiskVerdict::kForHost);
  }
  EXPECT_EQ(Send(Segment(kReceived - 1, kSent), 0, 40001), DiskVerdict::kForHost);  // of another one
}

TEST_F(ConnectionsOnDiskTest, WhoWaitsForAnAcknowledgmentOrForRoomHearsOfIt) {
  kept().set_unacknowledged(true);
  EXPECT_EQ(Send(Segment(kReceived, kSent)), DiskVerdict::kForHost);
  kept().set_unacknowledged(false);
  kept().set_unsent(true);
  EXPECT_EQ(Send(Segment(kReceived, kSent)), DiskVerdict::kForHost);
}

TEST_F(ConnectionsOnDiskTest, WhoIsForgottenIsNotAnsweredFor) {
  ASSERT_EQ(Send(Segment(kReceived - 1, kSent)), DiskVerdict::kAnswer);
  connections_.Forget(kHost);
  TestPacket packet(BuildTcp({peer_, 40000}, {host_, 6379}, Segment(kReceived - 1, kSent)));
  EXPECT_EQ(connections_.OnPacket(kHost, packet.packet(), packet.view(), answer_),
            DiskVerdict::kForHost);
}

TEST_F(ConnectionsOnDiskTest, ThoseOverIpv6AreOfTheHostsOtherAddress) {
  const DualStack dual_stack(*IpPrefix::Parse("fd00:77::/96"));
  const IpAddress peer = dual_stack.ToV6(peer_), host = dual_stack.ToV6(host_);
  kept().set_peer(peer.ToBytes());
  TestPacket probe(BuildTcp({peer, 40000}, {host, 6379}, Segment(kReceived - 1, kSent), {}));
  // Without the address there is no such connection.
  connections_.Set(kHost, manifest_);
  EXPECT_EQ(connections_.OnPacket(kHost, probe.packet(), probe.view(), answer_),
            DiskVerdict::kForHost);
  ConnectionsOnDisk connections(dual_stack);
  connections.Set(kHost, manifest_);
  ASSERT_EQ(connections.OnPacket(kHost, probe.packet(), probe.view(), answer_), DiskVerdict::kAnswer);
  const std::optional<IpView> view = ParseIp(answer_);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->source, host);
  EXPECT_EQ(view->destination, peer);
  EXPECT_EQ(view->tcp_acknowledgment, kReceived);
}

}  // namespace
}  // namespace im::orchestrator
