#include "tunnel/rate_limiter.h"

#include <algorithm>

namespace im::tunnel {
namespace {

constexpr int kIpv6SourceBits = 64;
// A full table is swept at most this often: it costs its size.
constexpr std::chrono::seconds kSweepInterval{1};

IpAddress SourceOf(const IpAddress& address) {
  return address.is_v4() ? address : IpPrefix(address, kIpv6SourceBits).address();
}

}  // namespace

bool RateLimiter::Allow(const IpAddress& source, Instant now) {
  const Duration cost = Cost();
  const IpAddress key = SourceOf(source);
  auto it = buckets_.find(key);
  if (it == buckets_.end()) {
    if (buckets_.size() >= limits_.sources_max) ForgetFull(now);
    if (buckets_.size() >= limits_.sources_max) return false;
    it = buckets_.emplace(key, now).first;
  }
  const Instant full = std::max(it->second, now);
  if (full + cost - now > cost * limits_.burst) return false;
  it->second = full + cost;
  return true;
}

bool RateLimiter::IsSpent(const IpAddress& source, Instant now) const {
  const auto it = buckets_.find(SourceOf(source));
  if (it == buckets_.end()) {
    return buckets_.size() >= limits_.sources_max && now - last_sweep_ < kSweepInterval;
  }
  return std::max(it->second, now) + Cost() - now > Cost() * limits_.burst;
}

void RateLimiter::ForgetFull(Instant now) {
  if (now - last_sweep_ < kSweepInterval) return;
  last_sweep_ = now;
  absl::erase_if(buckets_, [now](const auto& entry) { return entry.second <= now; });
}

}  // namespace im::tunnel
