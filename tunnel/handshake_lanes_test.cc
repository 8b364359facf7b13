// On loopback, where whatever is sent is there, or dropped, when send returns.

#include "tunnel/handshake_lanes.h"

#include <poll.h>

#include <algorithm>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tunnel/udp_socket.h"

namespace im::tunnel {
namespace {

constexpr uint64_t kSalt = 0x9e3779b97f4a7c15;
constexpr int kFlood = 5000;  // more than a lane holds

std::unique_ptr<UdpSocket> OpenSalted(const Endpoint& listen, DropCounters& drops) {
  UdpSocket::Options options;
  options.listen = listen;
  options.salt = kSalt;
  absl::StatusOr<std::unique_ptr<UdpSocket>> socket = UdpSocket::Open(options, drops);
  EXPECT_TRUE(socket.ok()) << socket.status();
  return socket.ok() ? *std::move(socket) : nullptr;
}

Endpoint V4(uint32_t last_byte) { return {IpAddress::V4(0x7f000000 | last_byte), 0}; }

std::vector<uint8_t> Message(uint8_t type, size_t size, bool mac2 = false) {
  std::vector<uint8_t> bytes(size);
  bytes[0] = type;
  if (mac2) bytes[size - 3] = 1;
  return bytes;
}

class HandshakeLanesTest : public ::testing::Test {
 protected:
  void Send(UdpSocket& from, const std::vector<uint8_t>& message, int count = 1) {
    Endpoint to = receiver->local_endpoint();
    if (to.address.is_unspecified()) to.address = IpAddress::V4(0x7f000001);
    for (int i = 0; i < count; ++i) {
      DatagramBatch batch;
      batch.AddCopy(to, message);
      from.Send(batch);
    }
  }
  struct Count {
    int all = 0;
    int with_mac2 = 0;
    std::set<IpAddress> sources;
  };
  Count ReadLanes() {
    Count count;
    DatagramBatch batch;
    while (receiver->handshakes()->Receive(batch)) {
      EXPECT_LE(batch.runs().size(), kMessagesPerLane);
      for (const DatagramRun& run : batch.runs()) {
        EXPECT_NE(run.bytes[0], 4);
        EXPECT_FALSE(run.local.is_unspecified());
        ++count.all;
        count.with_mac2 += run.bytes[run.bytes.size() - 3];
        count.sources.insert(run.peer.address);
      }
      batch.Clear();
    }
    return count;
  }
  size_t ReadData() {
    size_t bytes = 0;
    DatagramBatch batch;
    while (receiver->Receive(batch)) {
      for (const DatagramRun& run : batch.runs()) {
        EXPECT_EQ(run.bytes[0], 4);
        bytes += run.bytes.size();
      }
      batch.Clear();
    }
    return bytes;
  }

  DropCounters drops;
  std::unique_ptr<UdpSocket> receiver = OpenSalted(V4(1), drops);
};

TEST_F(HandshakeLanesTest, AFloodLeavesRoomForData) {
  for (const Endpoint& listen :
       {V4(1), Endpoint{*IpAddress::Parse("::1"), 0}, Endpoint()}) {
    receiver = OpenSalted(listen, drops);
    const auto sender = OpenSalted(listen, drops);
    ASSERT_TRUE(receiver && sender && receiver->handshakes() != nullptr);
    Send(*sender, Message(1, 148), kFlood);
    Send(*sender, Message(4, 1452), 10);
    EXPECT_EQ(ReadData(), 10u * 1452);
    const Count count = ReadLanes();
    EXPECT_GT(count.all, 100);
    EXPECT_LT(count.all, kFlood);
  }
}

TEST_F(HandshakeLanesTest, AFloodLeavesRoomForWhoShowsACookie) {
  const auto sender = OpenSalted(V4(1), drops);
  Send(*sender, Message(1, 148), kFlood);
  Send(*sender, Message(1, 148, /*mac2=*/true));
  Send(*sender, Message(2, 92, /*mac2=*/true));
  EXPECT_EQ(ReadLanes().with_mac2, 2);
}

TEST_F(HandshakeLanesTest, AFloodLeavesRoomForMostOtherSources) {
  constexpr uint32_t kOthers = 32;
  for (const bool mac2 : {false, true}) {
    Send(*OpenSalted(V4(1), drops), Message(1, 148, mac2), kFlood);
    for (uint32_t i = 0; i < kOthers; ++i) Send(*OpenSalted(V4(2 + i), drops), Message(1, 148, mac2));
    // A quarter of them shares the flooder's lane.
    const size_t heard = ReadLanes().sources.size() - 1;
    EXPECT_GT(heard, kOthers / 2);
    EXPECT_LT(heard, kOthers);
  }
}

TEST_F(HandshakeLanesTest, NobodySharesAFloodersLaneForLong) {
  const auto flooder = OpenSalted(V4(1), drops);
  std::set<IpAddress> heard;
  constexpr uint32_t kOthers = 16;
  for (uint64_t i = 0; i < 12 && heard.size() < kOthers + 1; ++i) {
    receiver->handshakes()->SetSalt(kSalt * (2 * i + 3));
    Send(*flooder, Message(1, 148), kFlood);
    for (uint32_t n = 0; n < kOthers; ++n) Send(*OpenSalted(V4(2 + n), drops), Message(1, 148));
    heard.merge(ReadLanes().sources);
  }
  EXPECT_EQ(heard.size(), kOthers + 1);
}

TEST_F(HandshakeLanesTest, WhateverIsNoDataGoesPastTheFirstSocket) {
  const auto sender = OpenSalted(V4(1), drops);
  for (const size_t size : {size_t{1}, size_t{12}, size_t{91}, size_t{149}, size_t{1400}}) {
    for (const uint8_t type : {0, 1, 2, 3, 5}) {
      Send(*sender, Message(type, std::max(size, size_t{3})));
      EXPECT_EQ(ReadData(), 0u);
      EXPECT_EQ(ReadLanes().all, 1);
    }
  }
}

TEST_F(HandshakeLanesTest, TheDescriptorIsReadableWhileALaneIs) {
  const auto sender = OpenSalted(V4(1), drops);
  pollfd readable{receiver->handshakes()->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&readable, 1, 0), 0);
  Send(*sender, Message(1, 148), 3);
  EXPECT_EQ(poll(&readable, 1, 0), 1);
  EXPECT_EQ(ReadLanes().all, 3);
  EXPECT_EQ(poll(&readable, 1, 0), 0);
  EXPECT_EQ(receiver->handshakes()->received_bytes(), 3u * 148);
  EXPECT_EQ(receiver->received_bytes(), 3u * 148);
}

}  // namespace
}  // namespace im::tunnel
