// The numbers of the protocol, and our own, kept apart.
//
// Legend of the folder's citations:
//   [W]  Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel",
//        NDSS 2017, revision of 2020-06-01
//   [N]  Perrin, "The Noise Protocol Framework", revision 34

#ifndef IM_TUNNEL_CONSTANTS_H_
#define IM_TUNNEL_CONSTANTS_H_

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace im::tunnel {

// ---- of the specification, [W] 6.1 -----------------------------------------

inline constexpr uint64_t kRekeyAfterMessages = uint64_t{1} << 60;
inline constexpr uint64_t kRejectAfterMessages = UINT64_MAX - (uint64_t{1} << 13);
inline constexpr std::chrono::seconds kRekeyAfterTime{120};
inline constexpr std::chrono::seconds kRejectAfterTime{180};
inline constexpr std::chrono::seconds kRekeyAttemptTime{90};
inline constexpr std::chrono::seconds kRekeyTimeout{5};
inline constexpr std::chrono::seconds kKeepaliveTimeout{10};
// [W] 5.4.7: how long the secret behind cookies, and so a cookie, is good.
inline constexpr std::chrono::seconds kCookieRefreshTime{120};
// [W] 5.4.6: plaintext is padded to a multiple of this many bytes.
inline constexpr size_t kPaddingMultiple = 16;

// ---- of this implementation ------------------------------------------------

// For EventLoop::SetBusyPoll of a tunnel's thread. Two packets of a lively
// conversation are no further apart.
inline constexpr std::chrono::microseconds kBusyPollWindow{100};

// Added at random to every retransmission, so that two ends that started at
// once do not collide for ever ([W] 6.1 leaves the amount open).
inline constexpr std::chrono::milliseconds kHandshakeJitterMax{333};

// Initiations that one peer may have us answer, per second: four Curve25519
// operations each. More are dropped.
inline constexpr int kInitiationsPerSecondPerPeer = 50;

// Handshake messages with a right MAC1 per second, from everybody, above which
// we are "under load" ([W] 5.3) and ask for cookies. A quarter of what one
// core can answer.
inline constexpr int kUnderLoadHandshakesPerSecond = 2000;
// Of those that turned out to be forged, replayed or of nobody we know, so many
// may come at once: some 5 ms of computing. Fewer would let a trickle of bursts
// ask everybody for cookies.
inline constexpr int kWastedHandshakesBurst = 128;
// How long we stay so after the last second that was above it, or after the
// last message that was one too many.
inline constexpr std::chrono::seconds kUnderLoadHold{1};

// Under load, what one source address (/32, /64) with a right cookie may send:
// handshake messages per second, and at once.
inline constexpr int kSourceHandshakesPerSecond = 20;
inline constexpr int kSourceHandshakesBurst = 5;
// And the cookie replies that it is sent: each costs us far more than a forged
// message costs its sender.
inline constexpr int kCookieRepliesPerSecond = 100;
inline constexpr int kCookieRepliesBurst = 100;
// Sources that are watched at once; further ones are refused until some have
// been quiet for a second. 40 bytes each.
inline constexpr size_t kWatchedSourcesMax = 16384;

// Packets that wait for a session, for each peer; the oldest is dropped. The
// kernel's WireGuard keeps as many.
inline constexpr size_t kStagedPacketsMax = 128;
// And their bytes: a super-packet has up to 64 KB.
inline constexpr size_t kStagedBytesMax = size_t{1} << 20;

// Counters behind the greatest one that are still told apart (RFC 6479). At
// 10 Gb/s, 8192 packets of 1420 bytes are 9 ms of reordering.
inline constexpr size_t kReplayWindowBits = 8192;

// A standby peer whose handshake was given up is tried again by traffic, but
// not before this time: its packets have another way meanwhile.
inline constexpr std::chrono::seconds kStandbyRetryTime{60};

// All protocol times, divided by Device::Options::time_divisor.
struct ProtocolTimes {
  explicit ProtocolTimes(int time_divisor) : divisor(time_divisor) {}

  // At least a millisecond: a deadline must lie ahead.
  Duration Scaled(Duration time) const {
    return std::max(time / divisor, Duration(std::chrono::milliseconds(1)));
  }

  int divisor;
  Duration rekey_after = Scaled(kRekeyAfterTime);
  Duration reject_after = Scaled(kRejectAfterTime);
  Duration rekey_attempt = Scaled(kRekeyAttemptTime);
  Duration rekey_timeout = Scaled(kRekeyTimeout);
  Duration keepalive_timeout = Scaled(kKeepaliveTimeout);
  Duration jitter_max = Scaled(kHandshakeJitterMax);
  Duration cookie_refresh = Scaled(kCookieRefreshTime);
  Duration standby_retry = Scaled(kStandbyRetryTime);
  Duration initiation_interval =
      Scaled(Duration(std::chrono::seconds(1)) / kInitiationsPerSecondPerPeer);
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_CONSTANTS_H_
