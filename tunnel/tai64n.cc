#include "tunnel/tai64n.h"

#include <algorithm>

#include "base/clock.h"

namespace im::tunnel {
namespace {

// 1970-01-01 00:00:00 UTC as a TAI64 label, with the ten leap seconds of then;
// later ones do not matter here.
constexpr uint64_t kUnixEpochLabel = 0x400000000000000aULL;
// What clock readings are rounded down to: 17 ms.
constexpr int64_t kCoarseNanos = 1 << 24;

}  // namespace

Tai64n Tai64n::FromUnixNanos(int64_t unix_nanos) {
  const uint64_t seconds = kUnixEpochLabel + static_cast<uint64_t>(unix_nanos / kNanosPerSecond);
  const auto nanos = static_cast<uint32_t>(unix_nanos % kNanosPerSecond);
  Tai64n label;
  for (int i = 0; i < 8; ++i) label.bytes[i] = static_cast<uint8_t>(seconds >> (56 - 8 * i));
  for (int i = 0; i < 4; ++i) label.bytes[8 + i] = static_cast<uint8_t>(nanos >> (24 - 8 * i));
  return label;
}

Tai64n StampSource::Next(int64_t unix_nanos, int64_t& last) {
  const int64_t coarse = std::max<int64_t>(unix_nanos, 0) / kCoarseNanos * kCoarseNanos;
  floor_ = std::max(floor_, coarse);
  last = std::max(floor_, last + 1);
  return Tai64n::FromUnixNanos(last);
}

void StampSource::Forget(int64_t last) { floor_ = std::max(floor_, last + 1); }

}  // namespace im::tunnel
