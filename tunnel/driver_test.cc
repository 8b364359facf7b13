// Two drivers on loopback, one loop.

#include "tunnel/driver.h"

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/ip_build.h"
#include "base/ip_header.h"
#include "base/random.h"
#include "base/segment_split.h"
#include "gtest/gtest.h"
#include "tunnel/udp_socket.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class CollectingSink final : public PacketSink {
 public:
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch) {
      bytes_seen += packet.size;
      segments_seen += SegmentCount(packet);
      packets.emplace_back(packet.bytes().begin(), packet.bytes().end());
    }
    if (on_write) on_write(packets.back());
  }
  std::vector<std::vector<uint8_t>> packets;
  size_t segments_seen = 0;
  size_t bytes_seen = 0;
  std::function<void(const std::vector<uint8_t>&)> on_write;
};

const IpAddress kAddressA = IpAddress::V4(0x0a4d0001);
const IpAddress kAddressB = IpAddress::V4(0x0a4d0002);

class DriverTest : public testing::Test {
 protected:
  struct Node {
    PrivateKey key;
    CollectingSink inside;
    std::unique_ptr<Driver> driver;
    PublicKey public_key() const { return DerivePublicKey(key); }
  };

  DriverTest() {
    loop_ = *EventLoop::Create(clock_);
    for (Node* node : {&a_, &b_}) {
      node->key = GeneratePrivateKey(random_);
      Driver::Options options;
      options.listen = {IpAddress::V4(0x7f000001), 0};
      absl::StatusOr<std::unique_ptr<Driver>> driver =
          Driver::Create(node->key, options, *loop_, random_, node->inside, nullptr);
      EXPECT_TRUE(driver.ok()) << driver.status();
      node->driver = *std::move(driver);
    }
    PeerConfig b_of_a;
    b_of_a.public_key = b_.public_key();
    b_of_a.endpoint = b_.driver->local_endpoint();
    b_of_a.allowed_ips = {IpPrefix::Host(kAddressB)};
    EXPECT_TRUE(a_.driver->SetPeer(b_of_a).ok());
    PeerConfig a_of_b;  // no endpoint: learnt from the handshake
    a_of_b.public_key = a_.public_key();
    a_of_b.allowed_ips = {IpPrefix::Host(kAddressA)};
    EXPECT_TRUE(b_.driver->SetPeer(a_of_b).ok());
  }

  bool RunUntil(const std::function<bool()>& done) {
    const Instant deadline = clock_.Now() + seconds(10);
    while (!done()) {
      if (clock_.Now() > deadline) return false;
      loop_->RunOnce(milliseconds(100));
    }
    return true;
  }

  std::vector<uint8_t> FromA(size_t size) {
    return BuildUdp({kAddressA, 1}, {kAddressB, 2}, std::vector<uint8_t>(size, 0x5a));
  }

  RealClock clock_;
  SecureRandom random_;
  std::unique_ptr<EventLoop> loop_;
  Node a_, b_;
};

TEST_F(DriverTest, TheFirstPacketBringsTheTunnelUpAndArrives) {
  const std::vector<uint8_t> packet = FromA(100);
  a_.driver->Write(SinglePacket(packet));
  ASSERT_TRUE(RunUntil([&] { return !b_.inside.packets.empty(); }));
  EXPECT_EQ(b_.inside.packets[0], packet);
  EXPECT_GT(a_.driver->tx_bytes(), 0u);
  EXPECT_GT(b_.driver->rx_bytes(), 0u);
  EXPECT_EQ(b_.driver->device().GetPeer(a_.public_key())->endpoint, a_.driver->local_endpoint());
}

TEST_F(DriverTest, RepliesWrittenFromWithinTheSinkLeaveToo) {
  b_.inside.on_write = [&](const std::vector<uint8_t>& packet) {
    b_.driver->Write(SinglePacket(*BuildEchoReply(packet)));
  };
  a_.driver->Write(SinglePacket(BuildEchoRequest(kAddressA, kAddressB, 1, 1)));
  ASSERT_TRUE(RunUntil([&] { return !a_.inside.packets.empty(); }));
  EXPECT_EQ(ParseIp(a_.inside.packets[0])->icmp_type, 0);
}

TEST_F(DriverTest, SuperPacketsCrossAndAreMergedAgain) {
  a_.driver->Write(SinglePacket(FromA(10)));
  ASSERT_TRUE(RunUntil([&] { return !b_.inside.packets.empty(); }));
  b_.inside = {};
  constexpr int kBatches = 20;
  for (int i = 0; i < kBatches; ++i) {
    PacketBatch batch;
    batch.AppendCopy(FromA(40 * 1200)).segment_size = 1200;
    a_.driver->Write(std::move(batch));
  }
  ASSERT_TRUE(RunUntil([&] { return b_.inside.segments_seen == kBatches * 40; }));
  EXPECT_LT(b_.inside.packets.size(), kBatches * 10);
  EXPECT_EQ(a_.driver->Drops().total(), 0u);
}

TEST_F(DriverTest, RebindingKeepsTheSession) {
  a_.driver->Write(SinglePacket(FromA(10)));
  ASSERT_TRUE(RunUntil([&] { return b_.inside.packets.size() == 1; }));
  const Endpoint before = a_.driver->local_endpoint();
  const uint64_t tx_before = a_.driver->tx_bytes();
  ASSERT_TRUE(a_.driver->Rebind({before.address, 0}).ok());
  EXPECT_NE(a_.driver->local_endpoint(), before);
  EXPECT_EQ(a_.driver->tx_bytes(), tx_before);
  a_.driver->Write(SinglePacket(FromA(10)));
  ASSERT_TRUE(RunUntil([&] { return b_.inside.packets.size() == 2; }));
  // B answers to where A is now.
  b_.driver->Write(SinglePacket(
      BuildUdp({kAddressB, 2}, {kAddressA, 1}, std::vector<uint8_t>(10, 1))));
  EXPECT_TRUE(RunUntil([&] { return !a_.inside.packets.empty(); }));
}

TEST_F(DriverTest, AFailedRebindKeepsTheOldSocket) {
  const Endpoint before = a_.driver->local_endpoint();
  EXPECT_TRUE(absl::IsAlreadyExists(a_.driver->Rebind(b_.driver->local_endpoint())));
  EXPECT_EQ(a_.driver->local_endpoint(), before);
  a_.driver->Write(SinglePacket(FromA(10)));
  EXPECT_TRUE(RunUntil([&] { return !b_.inside.packets.empty(); }));
}

TEST_F(DriverTest, DownTheSocketIsClosedAndUpItHasTheSamePort) {
  a_.driver->Write(SinglePacket(FromA(10)));
  ASSERT_TRUE(RunUntil([&] { return b_.inside.packets.size() == 1; }));
  const Endpoint endpoint = a_.driver->local_endpoint();
  const uint64_t tx_before = a_.driver->tx_bytes();
  ASSERT_TRUE(a_.driver->SetUp(false).ok());
  EXPECT_FALSE(a_.driver->device().GetPeer(b_.public_key())->session_live);
  a_.driver->Write(SinglePacket(FromA(10)));
  loop_->RunOnce(milliseconds(0));
  EXPECT_EQ(a_.driver->tx_bytes(), tx_before);
  {
    DropCounters drops;
    EXPECT_TRUE(UdpSocket::Open({.listen = endpoint}, drops).ok());  // the port is free
    EXPECT_TRUE(a_.driver->SetFwmark(0).ok());
  }
  ASSERT_TRUE(a_.driver->SetUp(true).ok());
  EXPECT_EQ(a_.driver->local_endpoint(), endpoint);
  a_.driver->Write(SinglePacket(FromA(10)));
  EXPECT_TRUE(RunUntil([&] { return b_.inside.packets.size() >= 2; }));
}

TEST_F(DriverTest, APortThatIsTakenKeepsItDownUntilAnotherIsAskedFor) {
  ASSERT_TRUE(a_.driver->SetUp(false).ok());
  ASSERT_TRUE(a_.driver->Rebind(b_.driver->local_endpoint()).ok());  // when it comes up
  EXPECT_TRUE(absl::IsAlreadyExists(a_.driver->SetUp(true)));
  EXPECT_FALSE(a_.driver->up());
  ASSERT_TRUE(a_.driver->Rebind({IpAddress::V4(0x7f000001), 0}).ok());
  ASSERT_TRUE(a_.driver->SetUp(true).ok());
  EXPECT_NE(a_.driver->local_endpoint().port, 0);
}

TEST_F(DriverTest, ADriverThatGoesWithinATurnIsNotFlushed) {
  a_.driver->Write(SinglePacket(FromA(10)));  // asks for a flush
  a_.driver.reset();
  loop_->RunOnce(milliseconds(0));
}

TEST_F(DriverTest, TheDelegateMayConfigurePeersFromWithin) {
  struct Adder final : Device::Delegate {
    void OnSessionUp(const PublicKey&) override {
      ++ups;
      PeerConfig other;
      other.public_key.bytes.fill(9);
      other.allowed_ips = {*IpPrefix::Parse("10.78.0.0/16")};
      EXPECT_TRUE(driver->SetPeer(other).ok());
    }
    void OnSessionDown(const PublicKey&) override {}
    Driver* driver = nullptr;
    int ups = 0;
  } adder;
  CollectingSink inside;
  Driver::Options options;
  options.listen = {IpAddress::V4(0x7f000001), 0};
  const PrivateKey key = GeneratePrivateKey(random_);
  auto c = Driver::Create(key, options, *loop_, random_, inside, &adder);
  ASSERT_TRUE(c.ok());
  adder.driver = c->get();
  PeerConfig a;
  a.public_key = a_.public_key();
  a.allowed_ips = {IpPrefix::Host(kAddressA)};
  ASSERT_TRUE((*c)->SetPeer(a).ok());
  PeerConfig c_of_a;
  c_of_a.public_key = DerivePublicKey(key);
  c_of_a.endpoint = (*c)->local_endpoint();
  c_of_a.allowed_ips = {*IpPrefix::Parse("10.79.0.0/16")};
  ASSERT_TRUE(a_.driver->SetPeer(c_of_a).ok());
  a_.driver->Write(SinglePacket(
      BuildUdp({kAddressA, 1}, {IpAddress::V4(0x0a4f0001), 2}, std::vector<uint8_t>(10, 1))));
  ASSERT_TRUE(RunUntil([&] { return !inside.packets.empty(); }));
  EXPECT_EQ(adder.ups, 1);
  EXPECT_EQ((*c)->device().ListPeers().size(), 2u);
}

}  // namespace
}  // namespace im::tunnel
