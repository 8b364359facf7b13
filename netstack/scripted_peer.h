// For the tests of this folder: a stack under a clock that is moved by hand,
// and the other end of its wire, played packet by packet.

#ifndef IM_NETSTACK_SCRIPTED_PEER_H_
#define IM_NETSTACK_SCRIPTED_PEER_H_

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/ip_build.h"
#include "netstack/test_support.h"

namespace im::netstack {

inline const IpAddress kOurs = IpAddress::V4(0x0a4d0001);
inline const IpAddress kTheirs = IpAddress::V4(0x0a4d0002);

// A packet of the stack, taken apart.
struct SentPacket {
  std::vector<uint8_t> bytes;
  IpView view;
  std::string payload;
  uint16_t window = 0;                // TCP, unscaled
  std::vector<uint8_t> tcp_options;

  bool Is(uint8_t flags) const {
    return view.is_tcp() && (view.tcp_flags & (kTcpSyn | kTcpAck | kTcpFin | kTcpRst)) == flags;
  }
};

class ScriptedTest : public ::testing::Test {
 protected:
  ScriptedTest() : loop_(EventLoop::Create(clock_).value()), stack_(std::make_unique<Stack>(*loop_)) {
    nic_ = stack_->AddInterface({.address = kOurs, .prefix_length = 16}, wire_).value();
  }

  void Turn() { loop_->RunOnce(Duration::zero()); }
  // Moves the clock on in steps of 5 ms, with a turn at each.
  void Advance(Duration by) {
    for (const Duration step = std::chrono::milliseconds(5); by > Duration::zero(); by -= step) {
      clock_.Advance(std::min(by, step));
      Turn();
    }
  }
  // In few turns: the clock jumps to each next deadline.
  void Leap(Duration by) {
    const Instant end = clock_.Now() + by;
    Turn();
    while (clock_.Now() < end) {
      const Instant next = std::min(loop_->NextDeadline(), end);
      if (next > clock_.Now()) clock_.Advance(next - clock_.Now());
      Turn();
    }
  }

  void Deliver(std::span<const uint8_t> packet) {
    nic_->Write(SinglePacket(packet));
    Turn();
  }

  // The next packet on the wire; fails the test if there is none.
  SentPacket Next() {
    Turn();
    SentPacket packet;
    if (wire_.sent.empty()) {
      ADD_FAILURE() << "nothing was sent";
      return packet;
    }
    packet.bytes = wire_.sent.front().bytes;
    wire_.sent.pop_front();
    const std::optional<IpView> view = ParseIp(packet.bytes);
    if (!view.has_value()) {
      ADD_FAILURE() << "malformed packet sent";
      return packet;
    }
    packet.view = *view;
    const uint8_t* begin = packet.bytes.data();
    packet.payload.assign(begin + view->payload_offset, begin + view->total_size);
    if (view->is_tcp()) {
      EXPECT_TRUE(TransportChecksumIsRight(packet.bytes, *view));
      packet.window = static_cast<uint16_t>(begin[view->transport_offset + 14] << 8 |
                                            begin[view->transport_offset + 15]);
      packet.tcp_options.assign(begin + view->transport_offset + 20, begin + view->payload_offset);
    }
    return packet;
  }
  bool Silent() {
    Turn();
    return wire_.sent.empty();
  }

  ManualClock clock_;
  std::unique_ptr<EventLoop> loop_;
  Wire wire_;
  Wire wire6_;  // for a second interface
  std::unique_ptr<Stack> stack_;
  Interface* nic_ = nullptr;
};

// MSS 1380, window scale 7, SACK permitted.
inline const std::vector<uint8_t> kSynOptions = {2, 4, 0x05, 0x64, 1, 3, 3, 7, 1, 1, 4, 2};

// The far end of one connection.
class Peer {
 public:
  Peer(const Endpoint& self, const Endpoint& stack) : self_(self), stack_(stack) {}

  std::vector<uint8_t> Packet(uint8_t flags, const std::string& payload = "",
                              std::span<const uint8_t> options = {}) {
    std::vector<uint8_t> packet =
        BuildTcp(self_, stack_,
                 {.sequence = sequence, .acknowledgment = acknowledgment, .flags = flags,
                  .window = window, .options = options},
                 Bytes(payload));
    sequence += static_cast<uint32_t>(payload.size());
    if ((flags & (kTcpSyn | kTcpFin)) != 0) ++sequence;
    return packet;
  }
  // Notes that all of `packet` came.
  void Got(const SentPacket& packet) {
    acknowledgment = packet.view.tcp_sequence + static_cast<uint32_t>(packet.payload.size());
    if ((packet.view.tcp_flags & (kTcpSyn | kTcpFin)) != 0) ++acknowledgment;
  }

  uint32_t sequence = 0x10000000;
  uint32_t acknowledgment = 0;
  uint16_t window = 0xffff;

 private:
  Endpoint self_;
  Endpoint stack_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SCRIPTED_PEER_H_
