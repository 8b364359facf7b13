#include "netstack/cubic.h"

#include <algorithm>
#include <cmath>

namespace im::netstack {
namespace {

constexpr double kC = 0.4;     // segments per s³ (RFC 9438 5)
constexpr double kBeta = 0.7;  // what a loss leaves (4.6)
// With it the friendly region is as fast as a window that is halved (4.3).
constexpr double kAlpha = 3 * (1 - kBeta) / (1 + kBeta);

}  // namespace

uint32_t Cubic::OnLoss(uint32_t window, uint32_t segment_bytes) {
  const double segments = static_cast<double>(window) / segment_bytes;
  // Below the last one there is less room than then: leave some (4.7).
  last_max_ = segments < last_max_ ? segments * (1 + kBeta) / 2 : segments;
  epoch_ = kNever;
  return std::max(static_cast<uint32_t>(window * kBeta), 2 * segment_bytes);
}

uint32_t Cubic::OnAcknowledged(uint32_t window, uint32_t bytes, uint32_t segment_bytes,
                               Duration rtt, Instant now) {
  const double segments = static_cast<double>(window) / segment_bytes;
  if (epoch_ == kNever) {
    epoch_ = now;
    origin_ = std::max(last_max_, segments);
    period_s_ = std::cbrt((origin_ - segments) / kC);
    reno_ = segments;
    fraction_ = 0;
  }
  const double rounds = static_cast<double>(bytes) / window;
  reno_ += (reno_ < last_max_ ? kAlpha : 1.0) * rounds;
  const double t = std::chrono::duration<double>(now - epoch_ + rtt).count() - period_s_;
  const double aim = std::clamp(origin_ + kC * t * t * t, segments, 1.5 * segments);
  const double grown = std::max(segments + (aim - segments) * std::min(rounds, 1.0), reno_);
  const double more = (grown - segments) * segment_bytes + fraction_;
  if (more <= 0) return window;
  const double whole = std::min(std::floor(more), static_cast<double>(window));
  fraction_ = std::min(more - whole, 1.0);
  return window + static_cast<uint32_t>(whole);
}

}  // namespace im::netstack
