#include "base/counters.h"

#include "base/check.h"

namespace im {

absl::string_view DropReasonName(DropReason reason) {
  switch (reason) {
    case DropReason::kMalformed: return "malformed";
    case DropReason::kUnknownIndex: return "unknown_index";
    case DropReason::kBadMac: return "bad_mac";
    case DropReason::kDecryptFailed: return "decrypt_failed";
    case DropReason::kReplayed: return "replayed";
    case DropReason::kSourceNotAllowed: return "source_not_allowed";
    case DropReason::kNoRoute: return "no_route";
    case DropReason::kNoEndpoint: return "no_endpoint";
    case DropReason::kQueueFull: return "queue_full";
    case DropReason::kRateLimited: return "rate_limited";
    case DropReason::kStaleTimestamp: return "stale_timestamp";
    case DropReason::kUnknownPeer: return "unknown_peer";
    case DropReason::kTooBig: return "too_big";
    case DropReason::kSendFailed: return "send_failed";
    case DropReason::kHeldTooLong: return "held_too_long";
    case DropReason::kSpoofed: return "spoofed";
    case DropReason::kCount: break;
  }
  IM_CHECK(!"a DropReason");
}

uint64_t DropCounters::total() const {
  uint64_t sum = 0;
  for (const uint64_t n : counts_) sum += n;
  return sum;
}

}  // namespace im
