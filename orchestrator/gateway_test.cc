#include "orchestrator/gateway.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "orchestrator/control_channel.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

constexpr uint32_t kGatewayNumber = 1;

tunnel::PublicKey KeyOfNumber(uint32_t n) {
  tunnel::PublicKey key;
  key.bytes[0] = static_cast<uint8_t>(n);
  return key;
}

class FakeTunnel final : public TunnelEdge {
 public:
  absl::Status SetPeer(const tunnel::PeerConfig&) override { return absl::OkStatus(); }
  void RemovePeer(const tunnel::PublicKey&) override {}
  void Connect(const tunnel::PublicKey&) override {}
  void SendTo(const tunnel::PublicKey& peer, PacketBatch batch) override {
    ++batches;
    for (const Packet& packet : batch) {
      sent[peer.bytes[0]].push_back({packet.data, packet.data + packet.size});
    }
  }
  std::optional<Endpoint> EndpointOf(const tunnel::PublicKey&) const override {
    return std::nullopt;
  }
  std::optional<tunnel::PeerStatus> StatusOf(const tunnel::PublicKey&) const override {
    return std::nullopt;
  }
  DropCounters Drops() const override { return {}; }
  std::map<uint32_t, std::vector<std::vector<uint8_t>>> sent;
  int batches = 0;
};

class FakeStack final : public PacketSink {
 public:
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch) got.push_back({packet.data, packet.data + packet.size});
  }
  std::vector<std::vector<uint8_t>> got;
};

class GatewayTest : public testing::Test, public Gateway::Delegate {
 protected:
  GatewayTest() {
    gateway_.SetStack(&stack_);
    for (const uint32_t n : {2, 3}) gateway_.AddRoute(TestAddress(n), KeyOfNumber(n));
    sleepers_ = {TestAddress(9)};
  }

  void OnControlPacket(const Packet&, const IpView& view) override {
    control_.push_back(view.source);
  }
  void OnForwarded(const IpAddress& from, const IpAddress& to) override {
    forwarded_.insert({from, to});
  }
  bool OnPacketToSleeper(const Packet&, const IpView& view) override {
    if (!sleepers_.contains(dual_stack_.Plain(view.destination))) return false;
    woken_.push_back(view.destination);
    return true;
  }
  std::optional<tunnel::PublicKey> PeerOf(const IpAddress& host) const override {
    return host == TestAddress(4) ? std::optional(KeyOfNumber(4)) : std::nullopt;  // is starting
  }

  void FromTunnel(const std::vector<std::vector<uint8_t>>& packets) {
    PacketBatch batch;
    for (const auto& packet : packets) batch.AppendCopy(packet);
    gateway_.Write(std::move(batch));
  }
  void FromStack(const std::vector<uint8_t>& packet) {
    gateway_.from_stack().Write(SinglePacket(packet));
  }
  IpAddress Address6(uint32_t n) const { return dual_stack_.ToV6(TestAddress(n)); }
  std::vector<uint8_t> Packet6(uint32_t from, uint32_t to, uint8_t flags = kTcpAck,
                               uint32_t sequence = 1) const {
    return BuildTcp({Address6(from), 1000}, {Address6(to), 80},
                    {.sequence = sequence, .flags = flags});
  }
  static std::vector<uint8_t> Packet2(uint32_t from, uint32_t to, uint32_t sequence = 1) {
    return Tcp(from, 1000, to, 80, kTcpAck, sequence);
  }

  FakeTunnel tunnel_;
  FakeStack stack_;
  const DualStack dual_stack_{*IpPrefix::Parse("fd00:77::/64")};
  Gateway gateway_{*IpPrefix::Parse("10.77.0.0/16"), TestAddress(kGatewayNumber), dual_stack_,
                   tunnel_, *this};
  std::vector<IpAddress> control_;
  std::vector<IpAddress> woken_;
  std::set<IpAddress> sleepers_;
  std::set<std::pair<IpAddress, IpAddress>> forwarded_;
};

TEST_F(GatewayTest, a_batch_for_one_host_goes_as_a_whole) {
  FromTunnel({Packet2(2, 3, 1), Packet2(2, 3, 2), Packet2(2, 3, 3)});
  EXPECT_EQ(tunnel_.batches, 1);
  EXPECT_EQ(tunnel_.sent[3].size(), 3u);
  EXPECT_EQ(forwarded_.size(), 1u);
  EXPECT_EQ(gateway_.forwarded_packets(), 3u);
  EXPECT_EQ(gateway_.forwarded_bytes(), 120u);
}

TEST_F(GatewayTest, pairs_are_counted_while_somebody_looks) {
  FromTunnel({Packet2(2, 3)});
  EXPECT_TRUE(gateway_.pairs().Take().empty());
  gateway_.pairs().SetWatched(true);
  FromTunnel({Packet2(2, 3), Packet2(2, 3)});
  FromTunnel({Packet2(3, 2), Packet2(2, kGatewayNumber), Packet2(2, 9)});
  FromStack(Packet2(kGatewayNumber, 3));
  const IpAddress gateway = TestAddress(kGatewayNumber);
  const PairBytes::Map expected = {{{TestAddress(2), TestAddress(3)}, 80},
                                   {{TestAddress(3), TestAddress(2)}, 40},
                                   {{TestAddress(2), gateway}, 40},
                                   {{gateway, TestAddress(3)}, 40}};
  EXPECT_EQ(gateway_.pairs().Take(), expected);
  EXPECT_TRUE(gateway_.pairs().Take().empty());
}

TEST_F(GatewayTest, mixed_batches_are_sorted_by_destination_in_order) {
  FromTunnel({Packet2(2, 3, 1), Packet2(3, 2, 2), Packet2(2, 3, 3), Packet2(2, 9, 4),
              Packet2(3, 2, 5), Packet2(2, 3, 6)});
  EXPECT_EQ(tunnel_.batches, 2);
  ASSERT_EQ(tunnel_.sent[3].size(), 3u);
  EXPECT_EQ(ParseIp(tunnel_.sent[3][0])->tcp_sequence, 1u);
  EXPECT_EQ(ParseIp(tunnel_.sent[3][1])->tcp_sequence, 3u);
  EXPECT_EQ(ParseIp(tunnel_.sent[3][2])->tcp_sequence, 6u);
  ASSERT_EQ(tunnel_.sent[2].size(), 2u);
  EXPECT_EQ(ParseIp(tunnel_.sent[2][1])->tcp_sequence, 5u);
  EXPECT_EQ(woken_, std::vector{TestAddress(9)});
}

TEST_F(GatewayTest, its_own_address_is_control_or_stack) {
  const std::vector<uint8_t> nothing;
  FromTunnel({BuildUdp({TestAddress(2), 1}, {TestAddress(kGatewayNumber), kControlPort}, nothing),
              BuildUdp({TestAddress(2), 1}, {TestAddress(kGatewayNumber), 53}, nothing),
              Packet2(2, kGatewayNumber)});
  EXPECT_EQ(control_, std::vector{TestAddress(2)});
  EXPECT_EQ(stack_.got.size(), 2u);
}

TEST_F(GatewayTest, an_unknown_address_is_refused_to_the_sender) {
  FromTunnel({Tcp(2, 1000, 77, 80, kTcpSyn, 5)});
  ASSERT_EQ(tunnel_.sent[2].size(), 1u);
  const auto answer = ParseIp(tunnel_.sent[2][0]);
  EXPECT_TRUE(answer->is_rst());
  EXPECT_EQ(answer->source, TestAddress(77));
  EXPECT_EQ(answer->tcp_acknowledgment, 6u);
  FromStack(BuildUdp({TestAddress(kGatewayNumber), 1}, {TestAddress(77), 9}, {}));
  ASSERT_EQ(stack_.got.size(), 1u);
  EXPECT_EQ(ParseIp(stack_.got[0])->protocol, kProtocolIcmp);
}

TEST_F(GatewayTest, the_gateways_own_packets_wake_but_do_not_count) {
  FromStack(Tcp(kGatewayNumber, 1000, 9, 80, kTcpSyn, 1));
  EXPECT_EQ(woken_.size(), 1u);
  FromStack(Packet2(kGatewayNumber, 2));
  EXPECT_EQ(tunnel_.sent[2].size(), 1u);
  EXPECT_EQ(gateway_.forwarded_bytes(), 0u);
  EXPECT_TRUE(forwarded_.empty());
}

TEST_F(GatewayTest, an_answer_about_a_name_reaches_who_asked_and_wakes_nobody) {
  const Endpoint resolver{TestAddress(kGatewayNumber), 53};
  FromStack(BuildUdp(resolver, {TestAddress(4), 5000}, {}));  // is starting
  EXPECT_EQ(tunnel_.sent[4].size(), 1u);
  FromStack(BuildUdp(resolver, {TestAddress(9), 5000}, {}));  // has left meanwhile
  EXPECT_TRUE(tunnel_.sent[9].empty());
  EXPECT_TRUE(woken_.empty());
}

TEST_F(GatewayTest, nobody_speaks_for_the_gateway) {
  FromTunnel({Packet2(kGatewayNumber, 3)});
  FromTunnel({Packet2(kGatewayNumber, 9)});
  FromStack(Packet2(2, 3));
  EXPECT_EQ(gateway_.drops()[DropReason::kSpoofed], 3u);
  EXPECT_TRUE(tunnel_.sent.empty());
  EXPECT_TRUE(woken_.empty());
}

TEST_F(GatewayTest, what_leaves_the_network_or_makes_no_sense_is_dropped) {
  FromTunnel({BuildUdp({TestAddress(2), 1}, {IpAddress::V4(0x08080808), 53}, {})});
  EXPECT_EQ(gateway_.drops()[DropReason::kNoRoute], 1u);
  FromTunnel({std::vector<uint8_t>(40, 0xee)});
  EXPECT_EQ(gateway_.drops()[DropReason::kMalformed], 1u);
  EXPECT_TRUE(tunnel_.sent.empty());
}

TEST_F(GatewayTest, delivered_packets_introduce_their_senders) {
  PacketBatch held;
  held.AppendCopy(Packet2(2, 3));
  held.AppendCopy(Packet2(kGatewayNumber, 3));
  gateway_.Deliver(TestAddress(3), std::move(held));
  EXPECT_EQ(tunnel_.batches, 1);
  EXPECT_EQ(tunnel_.sent[3].size(), 2u);
  EXPECT_EQ(forwarded_.size(), 1u);
}

TEST_F(GatewayTest, a_refusal_reaches_a_host_whose_status_is_still_on_its_way) {
  FromTunnel({Tcp(4, 1000, 77, 80, kTcpSyn, 5)});
  ASSERT_EQ(tunnel_.sent[4].size(), 1u);
  EXPECT_TRUE(ParseIp(tunnel_.sent[4][0])->is_rst());
}

TEST_F(GatewayTest, a_hosts_ipv6_address_leads_where_its_ipv4_address_does) {
  gateway_.pairs().SetWatched(true);
  FromTunnel({Packet6(2, 3), Packet6(2, 3)});
  FromTunnel({Packet2(2, 3, 7), Packet6(2, 3), Packet6(3, 2), Packet6(2, 9)});
  EXPECT_EQ(tunnel_.batches, 3);
  EXPECT_EQ(tunnel_.sent[3].size(), 4u);
  EXPECT_EQ(ParseIp(tunnel_.sent[3][2])->tcp_sequence, 7u);
  EXPECT_EQ(tunnel_.sent[2].size(), 1u);
  // Known by the other one.
  EXPECT_EQ(forwarded_, (std::set<std::pair<IpAddress, IpAddress>>{
                            {TestAddress(2), TestAddress(3)}, {TestAddress(3), TestAddress(2)}}));
  EXPECT_EQ((gateway_.pairs().Take()[{TestAddress(2), TestAddress(3)}]), 3 * 60u + 40u);
  EXPECT_EQ(woken_, std::vector{Address6(9)});
}

TEST_F(GatewayTest, what_is_refused_over_ipv4_is_over_ipv6) {
  FromTunnel({Packet6(2, 77, kTcpSyn, 5)});
  ASSERT_EQ(tunnel_.sent[2].size(), 1u);
  const auto reset = ParseIp(tunnel_.sent[2][0]);
  EXPECT_TRUE(reset->is_rst());
  EXPECT_EQ(reset->source, Address6(77));
  EXPECT_EQ(reset->tcp_acknowledgment, 6u);
  // Of the /96, though of no host: hosts have it on their link.
  const IpAddress outside = dual_stack_.ToV6(IpAddress::V4(0x01020304));
  FromTunnel({BuildUdp({Address6(2), 1}, {outside, 9}, {})});
  ASSERT_EQ(tunnel_.sent[2].size(), 2u);
  EXPECT_EQ(ParseIp(tunnel_.sent[2][1])->protocol, kProtocolIcmpV6);
  FromTunnel({BuildUdp({Address6(2), 1}, {*IpAddress::Parse("fd00:78::1"), 9}, {})});
  EXPECT_EQ(tunnel_.sent[2].size(), 2u);
  FromTunnel({Packet6(kGatewayNumber, 3)});
  EXPECT_EQ(gateway_.drops()[DropReason::kSpoofed], 1u);
}

TEST_F(GatewayTest, its_own_ipv6_address_is_the_stacks) {
  FromTunnel({Packet6(2, kGatewayNumber)});
  EXPECT_EQ(stack_.got.size(), 1u);
  FromStack(Packet6(kGatewayNumber, 3));
  EXPECT_EQ(tunnel_.sent[3].size(), 1u);
  EXPECT_TRUE(forwarded_.empty());
  gateway_.Send(Packet6(77, 2), Address6(2));
  EXPECT_EQ(tunnel_.sent[2].size(), 1u);
}

TEST_F(GatewayTest, refusals_wake_nobody) {
  PacketBatch held;
  held.AppendCopy(Tcp(9, 1000, 3, 80, kTcpSyn, 1));  // its sender has gone to sleep
  gateway_.Refuse(held);
  EXPECT_TRUE(woken_.empty());
  EXPECT_TRUE(tunnel_.sent.empty());
}

}  // namespace
}  // namespace im::orchestrator
