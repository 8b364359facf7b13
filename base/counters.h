// Why packets were dropped, counted.

#ifndef IM_BASE_COUNTERS_H_
#define IM_BASE_COUNTERS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace im {

enum class DropReason : uint8_t {
  kMalformed,           // not an IP packet, or not a message of the protocol
  kUnknownIndex,        // transport data for no session of ours
  kBadMac,              // handshake MAC1 or MAC2 wrong
  kDecryptFailed,       // forged, corrupted, or under a key we no longer have
  kReplayed,            // counter seen before or too old
  kSourceNotAllowed,    // inner source address outside the peer's AllowedIPs
  kNoRoute,             // no peer's AllowedIPs contain the destination
  kNoEndpoint,          // the peer's endpoint is not known
  kQueueFull,           // a named limit was hit
  kRateLimited,
  kStaleTimestamp,      // handshake replayed
  kUnknownPeer,         // handshake of a key that we do not know
  kTooBig,
  kSendFailed,          // the kernel refused the datagram
  kHeldTooLong,         // a packet for a starting host aged out
  kSpoofed,             // a source that the sender does not own
  kCount,
};

absl::string_view DropReasonName(DropReason reason);

// Owned by the data plane's thread.
class DropCounters {
 public:
  void Add(DropReason reason, uint64_t n = 1) { counts_[static_cast<size_t>(reason)] += n; }
  void Add(const DropCounters& others) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += others.counts_[i];
  }
  uint64_t operator[](DropReason reason) const { return counts_[static_cast<size_t>(reason)]; }
  uint64_t total() const;
  // Calls visit(name, count) for each reason that was ever met.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] != 0) visit(DropReasonName(static_cast<DropReason>(i)), counts_[i]);
    }
  }

 private:
  std::array<uint64_t, static_cast<size_t>(DropReason::kCount)> counts_{};
};

}  // namespace im

#endif  // IM_BASE_COUNTERS_H_
