// RateLimiter: a token bucket for each source, in bounded memory.
//
// A source is an IPv4 address or an IPv6 /64: what one party can be taken to
// have for nothing. Under load alone ([W] 5.3), and behind a cookie, so that
// sources are real.

#ifndef IM_TUNNEL_RATE_LIMITER_H_
#define IM_TUNNEL_RATE_LIMITER_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/ip_address.h"

namespace im::tunnel {

class RateLimiter {
 public:
  struct Limits {
    int per_second;
    int burst;
    size_t sources_max;  // a new source above it is refused
  };

  explicit RateLimiter(const Limits& limits) : limits_(limits) {}

  // True if the source may send one message now, which is thereby counted.
  bool Allow(const IpAddress& source, Instant now);
  // True if it may not, at less cost than asking.
  bool IsSpent(const IpAddress& source, Instant now) const;
  size_t sources() const { return buckets_.size(); }

 private:
  // Where a bucket will be full again; in the past: it is.
  using Full = Instant;

  // What a message costs of a bucket.
  Duration Cost() const { return Duration(std::chrono::seconds(1)) / limits_.per_second; }
  void ForgetFull(Instant now);

  Limits limits_;
  absl::flat_hash_map<IpAddress, Full> buckets_;
  Instant last_sweep_{};
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_RATE_LIMITER_H_
