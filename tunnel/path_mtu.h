// PathMtu: the largest inner packet that the path to a peer carries in one
// datagram, found by probing as RFC 8899 has it. No clock, no IO.
//
// A probe is a transport message of the size in question that must not be
// fragmented; the other end, one of ours too, answers it. That a probe is lost
// proves little and that it arrives proves everything, so the size goes up at
// the first answer and down only after kProbesMax losses. ICMP is not believed:
// it can be forged, and where it is filtered the path is a black hole.
//
//   state    meaning                          answered       lost, or refused here
//   idle     nobody has sent anything large
//   hello    does the other end answer at     base           silent
//            all? the smallest probe
//   base     does the usual size pass?        search above   search from the least
//   search   next size of the ladder          next one       done
//   done     the size is known                confirmed      hello, with the usual size
//   silent   no answer to anything: the       -              -          -
//            usual size, until something changes
//
// From `done`, a size in use is confirmed every kConfirmInterval; without an
// answer it is given up at once (a black hole). The ladder is tried again
// after kRaiseInterval. Both only while large packets are being sent, so an
// idle peer costs nothing. A path that changed begins anew.

#ifndef IM_TUNNEL_PATH_MTU_H_
#define IM_TUNNEL_PATH_MTU_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/random.h"
#include "tunnel/constants.h"

namespace im::tunnel {

// Losses in a row that count (RFC 8899 5.1.2: MAX_PROBES).
inline constexpr int kProbesMax = 3;
// Until a probe counts as lost: any round trip that we expect to live with.
inline constexpr std::chrono::seconds kProbeTimeout{1};
// RFC 8899 5.1.1: CONFIRMATION_TIMER. TCP has survived a black hole of this
// length and kProbesMax timeouts.
inline constexpr std::chrono::seconds kConfirmInterval{5};
// RFC 8899 5.1.1: PMTU_RAISE_TIMER.
inline constexpr std::chrono::seconds kRaiseInterval{600};

// Sizes of inner packets, in bytes, with 60 (IPv4) or 80 (IPv6) around them:
// links of 576, 1280 (the least of IPv6) and what tunnels leave of 1500; 1500
// itself by either family; 4352 and 8896 of some clouds, 9000 by either, and
// the largest datagram.
inline constexpr std::array<int, 11> kPathMtuLadder = {516,  1200, 1280, 1340, 1420, 1440,
                                                       4272, 8816, 8920, 8940, 65475};
// What everybody begins with.
inline constexpr int kPathMtuBase = 1420;

// The plaintext of a probe or of its answer. IP version 0: whoever does not
// know it drops it as no packet.
struct ProbeMessage {
  bool answer = false;
  uint32_t size = 0;   // plaintext bytes of the probe
  uint64_t token = 0;  // the answer repeats it
};
inline constexpr size_t kProbeBytesMin = 16;

// Writes the head and zeros. Preconditions: out.size() >= kProbeBytesMin.
void WriteProbe(const ProbeMessage& probe, std::span<uint8_t> out);
// nullopt for anything else, and for a probe that is not as long as it says.
std::optional<ProbeMessage> ParseProbe(std::span<const uint8_t> plaintext);

class PathMtu {
 public:
  struct Probe {
    int size = 0;
    uint64_t token = 0;
  };

  // The peer's slot is part of its tokens, which lead a refusal back to it.
  PathMtu(uint32_t peer_slot, const ProtocolTimes& times) : slot_(peer_slot), times_(times) {}

  // The largest packet to be sent now.
  int mtu() const { return mtu_; }
  // No larger one is being tried: whoever sends larger ones may be told.
  bool settled() const { return state_ == State::kDone; }
  // Not yet, but soon.
  bool searching() const { return state_ != State::kDone && state_ != State::kSilent; }

  // A packet of this size was sent, or would have been but for mtu().
  void OnSent(int size, Instant now, Random& random);
  void OnAnswer(uint64_t token, Instant now, Random& random);
  // Our own kernel would not send it: larger than the link.
  void OnRefused(uint64_t token, Instant now, Random& random);
  // The peer is somewhere else now.
  void OnPathChanged();
  // There is a new session: the peer is there.
  void OnPeerHeard();
  void OnTimer(Instant now, Random& random);

  static uint32_t SlotOf(uint64_t token) { return static_cast<uint32_t>(token >> 32); }

  Instant next() const { return deadline_; }
  // What is to be sent, once.
  std::optional<Probe> TakeProbe();

 private:
  enum class State : uint8_t { kIdle, kHello, kBase, kSearch, kDone, kSilent };

  void StartProbe(State state, int size, Instant now, Random& random);
  void SearchAbove(int size, Instant now, Random& random);
  void Succeed(Instant now, Random& random);
  void Fail(Instant now, Random& random);
  void Settle(Instant now);

  const uint32_t slot_;
  const ProtocolTimes& times_;
  State state_ = State::kIdle;
  int mtu_ = kPathMtuBase;
  int ceiling_ = 0;  // a size that failed since the last raise; 0: none
  // The probe that is out.
  int probe_size_ = 0;
  uint64_t token_ = 0;  // 0: none is
  int losses_ = 0;
  bool unsent_ = false;
  Instant deadline_ = kNever;
  Instant confirm_after_{};
  Instant raise_after_{};
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_PATH_MTU_H_
