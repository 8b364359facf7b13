// Large segments, seen from the wire: what leaves, what leaves again.

#include "netstack/tcp_segments.h"

#include <algorithm>
#include <map>

#include "base/big_endian.h"
#include "netstack/block_pool.h"
#include "netstack/tcp_connection_fixture.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kMss = 1380;

class TcpSegmentsTest : public TcpConnectionTest {
 protected:
  // A connection whose congestion window is wide open, nothing in flight.
  void EstablishWide() {
    Establish();
    handler_.connection->SetNoDelay(true);
    first_ = peer_->acknowledgment;
    Write(400 * kMss);
    for (int i = 0; i < 40 && !Silent(); ++i) {
      while (!Silent()) peer_->Got(Next());
      clock_.Advance(milliseconds(10));
      Deliver(peer_->Packet(kTcpAck));
    }
    ASSERT_EQ(peer_->acknowledgment, first_ + 400 * kMss);
  }
  void Write(size_t size) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(PatternByte(written_ + i));
    ASSERT_EQ(handler_.connection->Write(Bytes(bytes)), size);
    written_ += size;
  }
  // All that is on the wire, by place in the stream; the bytes must be right.
  std::map<uint32_t, uint32_t> TakeSent() {
    std::map<uint32_t, uint32_t> sizes;
    while (!Silent()) {
      const SentPacket packet = Next();
      if (packet.payload.empty()) continue;
      const uint32_t at = packet.view.tcp_sequence - first_;
      for (size_t i = 0; i < packet.payload.size(); ++i) {
        if (static_cast<uint8_t>(packet.payload[i]) == PatternByte(at + i)) continue;
        ADD_FAILURE() << "wrong byte at " << at + i;
        break;
      }
      EXPECT_LE(packet.payload.size(), kMss);
      sizes[at] = static_cast<uint32_t>(packet.payload.size());
    }
    return sizes;
  }
  // Has all before `upto` and the ranges.
  void Acknowledge(uint32_t upto, const std::vector<std::pair<uint32_t, uint32_t>>& ranges) {
    std::vector<uint8_t> options;
    if (!ranges.empty()) {
      options.resize(4 + 8 * ranges.size(), 1);
      options[2] = 5;
      options[3] = static_cast<uint8_t>(2 + 8 * ranges.size());
      for (size_t i = 0; i < ranges.size(); ++i) {
        StoreBig32(&options[4 + 8 * i], first_ + ranges[i].first);
        StoreBig32(&options[8 + 8 * i], first_ + ranges[i].second);
      }
    }
    peer_->acknowledgment = first_ + upto;
    Deliver(peer_->Packet(kTcpAck, "", options));
  }

  uint32_t first_ = 0;
  size_t written_ = 0;
};

TEST_F(TcpSegmentsTest, MuchLeavesAsSuperPackets) {
  EstablishWide();
  wire_.super_packets = 0;
  Write(90 * kMss);
  const auto sent = TakeSent();
  EXPECT_EQ(sent.size(), 90u);
  EXPECT_LE(wire_.super_packets, 4);
  EXPECT_GE(wire_.super_packets, 2);
}

#ifndef __SANITIZE_ADDRESS__  // keeps no blocks
TEST_F(TcpSegmentsTest, TheirMemoryIsKeptUntilItIsQuiet) {
  EstablishWide();
  TrimBlocks();
  Write(400 * kMss);
  while (!Silent()) peer_->Got(Next());
  Deliver(peer_->Packet(kTcpAck));
  EXPECT_GE(PooledBytes(), 400 * kMss);
  Leap(seconds(3));
  EXPECT_EQ(PooledBytes(), 0u);
}
#endif

TEST_F(TcpSegmentsTest, OnlyTheHoleIsSentAgain) {
  EstablishWide();
  const uint32_t begin = 400 * kMss;
  Write(40 * kMss);
  ASSERT_EQ(TakeSent().size(), 40u);
  clock_.Advance(milliseconds(10));
  Acknowledge(begin + 3 * kMss, {{begin + 4 * kMss, begin + 20 * kMss},
                                 {begin + 22 * kMss, begin + 40 * kMss}});
  const auto again = TakeSent();
  EXPECT_EQ(again, (std::map<uint32_t, uint32_t>{{begin + 3 * kMss, kMss},
                                                 {begin + 20 * kMss, kMss},
                                                 {begin + 21 * kMss, kMss}}));
  Acknowledge(begin + 40 * kMss, {});
  Advance(seconds(5));
  EXPECT_TRUE(Silent());
}

TEST_F(TcpSegmentsTest, AfterATimeoutOnePacketIsSentAgain) {
  EstablishWide();
  const uint32_t begin = 400 * kMss;
  Write(40 * kMss);
  ASSERT_EQ(TakeSent().size(), 40u);
  std::map<uint32_t, uint32_t> again;
  // The probe of the tail, then the timer.
  for (const uint32_t expected : {begin + 39 * kMss, begin}) {
    again.clear();
    for (int i = 0; i < 400 && again.empty(); ++i) {
      clock_.Advance(milliseconds(5));
      again = TakeSent();
    }
    EXPECT_EQ(again, (std::map<uint32_t, uint32_t>{{expected, kMss}}));
  }
  Acknowledge(begin + kMss, {});
  again = TakeSent();
  EXPECT_EQ(again, (std::map<uint32_t, uint32_t>{{begin + kMss, kMss}, {begin + 2 * kMss, kMss}}));
}

TEST_F(TcpSegmentsTest, TheWindowIsFilledWithWholePackets) {
  EstablishWide();
  peer_->window = 40;  // 5120 bytes
  // A smaller window counts only with newer data than that of the last.
  for (int i = 0; i < 2; ++i) Deliver(peer_->Packet(kTcpAck, "x"));
  Write(40 * kMss);
  EXPECT_EQ(TakeSent().size(), 3u);
  const uint32_t begin = 400 * kMss;
  Acknowledge(begin + 3 * kMss, {});
  EXPECT_EQ(TakeSent().size(), 3u);
}

// lwIP splits what does not fit, and asserts on what is larger than an MSS.
TEST_F(TcpSegmentsTest, AWindowSmallerThanAPacketIsProbed) {
  EstablishWide();
  for (const uint16_t window : {3, 0, 1, 11}) {
    peer_->window = window;
    for (int i = 0; i < 2; ++i) Deliver(peer_->Packet(kTcpAck, "x"));
    Write(40 * kMss);
    Leap(seconds(3));
    TakeSent();
  }
  const uint32_t end = static_cast<uint32_t>(written_);
  peer_->window = 0xffff;
  uint32_t upto = 400 * kMss;
  for (int i = 0; i < 2000 && upto < end; ++i) {
    Acknowledge(upto, {});
    clock_.Advance(milliseconds(10));
    for (const auto& [at, size] : TakeSent())
      if (at <= upto) upto = std::max(upto, at + size);
  }
  EXPECT_EQ(upto, end);
}

// A peer that takes what it likes in any order, and says so as it likes.
TEST_F(TcpSegmentsTest, AnyAcknowledgmentLeavesTheBytesRight) {
  EstablishWide();
  SeededRandom random(7);
  constexpr uint32_t kEnd = 1000 * kMss;
  std::vector<bool> has(2 * kEnd, false);
  uint32_t upto = 400 * kMss;
  for (int step = 0; step < 6000 && upto < kEnd; ++step) {
    if (written_ < kEnd && handler_.connection->WritableBytes() > 100'000)
      Write(1 + random.Below(100'000));
    for (const auto& [at, size] : TakeSent()) {
      ASSERT_LE(at + size, written_);
      if (random.Below(10) != 0) std::fill_n(has.begin() + at, size, true);
    }
    while (upto < written_ && has[upto]) ++upto;
    // Ranges that it has, cut off anywhere.
    std::vector<std::pair<uint32_t, uint32_t>> ranges;
    for (uint32_t at = upto; at < written_ && ranges.size() < 3; at += 97) {
      if (!has[at]) continue;
      uint32_t end = at;
      while (end < written_ && has[end]) ++end;
      const auto trim = static_cast<uint32_t>(random.Below(3) == 0 ? random.Below(900) : 0);
      if (end - at > 2 * trim + 1) ranges.emplace_back(at + trim, end - trim);
      at = end;
    }
    peer_->window = static_cast<uint16_t>(random.Below(20) == 0 ? random.Below(60) : 2000);
    const auto said = upto - static_cast<uint32_t>(random.Below(4) == 0 ? random.Below(700) : 0);
    if (static_cast<int32_t>(first_ + said - peer_->acknowledgment) >= 0) Acknowledge(said, ranges);
    clock_.Advance(milliseconds(random.Below(30)));
  }
  EXPECT_GE(upto, kEnd);
  EXPECT_FALSE(handler_.closed);
}

}  // namespace
}  // namespace im::netstack
