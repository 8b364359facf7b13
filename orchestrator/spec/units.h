// The values of a cluster.yaml: durations, sizes, shares and truths, as people write
// them.

#ifndef IM_ORCHESTRATOR_SPEC_UNITS_H_
#define IM_ORCHESTRATOR_SPEC_UNITS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace im::orchestrator {

// Longest duration: what fits into 32 bits of milliseconds, as messages carry
// it (49 days).
inline constexpr Duration kDurationMax = std::chrono::milliseconds(UINT32_MAX);

// "500ms", "5s", "1m30s", "1.5h", "2d", "0". A number needs a unit unless it
// is zero: Compose and others disagree on what a bare number means.
std::optional<Duration> ParseDuration(absl::string_view text);

// "1048576", "64m", "64MB", "64MiB", "1.5g": powers of 1024, as Compose has it.
std::optional<uint64_t> ParseSize(absl::string_view text);

// "2%", "0.5%" in thousandths (20, 5); 0 to 10,000 (ten whole cores).
std::optional<uint32_t> ParsePermille(absl::string_view text);

// "true", "yes", "on" and their opposites, in any case of letters.
std::optional<bool> ParseBool(absl::string_view text);

// The other way, for messages and tables: "1m30s", "480ms", "12.5ms", "85µs".
// `micro` is what stands for the micro sign.
std::string FormatDuration(Duration duration, absl::string_view micro = "u");

// "12.3M", "512K", "0".
std::string FormatSize(uint64_t bytes);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_UNITS_H_
