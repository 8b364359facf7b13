#include "bench/progress.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im::bench {
namespace {

constexpr int kBarWidth = 20;
// A first measurement is mostly preparation, and says little about the rest.
constexpr double kShareThatTells = 0.02;

std::string About(double seconds) {
  if (seconds < 90) return absl::StrCat(std::lround(std::max(1.0, seconds)), " s");
  return absl::StrCat(std::lround(seconds / 60), " min");
}

}  // namespace

Progress::Progress(std::vector<Part> parts, Instant now) : parts_(std::move(parts)), began_(now) {
  for (const Part& part : parts_) {
    IM_CHECK(part.expected_s > 0);
    expected_all_ += part.expected_s;
  }
}

void Progress::Begin(size_t part) {
  IM_CHECK(part < parts_.size());
  part_ = part;
  part_share_ = 0;
  doing_.clear();
  expected_before_ = 0;
  for (size_t i = 0; i < part; ++i) expected_before_ += parts_[i].expected_s;
}

void Progress::Set(double share, const std::string& doing) {
  part_share_ = std::clamp(share, 0.0, 1.0);
  doing_ = doing;
}

double Progress::ExpectedSoFar() const {
  return expected_before_ + part_share_ * parts_[part_].expected_s;
}

double Progress::share() const { return ExpectedSoFar() / expected_all_; }

double Progress::SecondsLeft(Instant now) const {
  const double left = expected_all_ - ExpectedSoFar();
  if (share() < kShareThatTells) return left;
  const double elapsed = std::chrono::duration<double>(now - began_).count();
  return left * elapsed / ExpectedSoFar();
}

std::string Progress::Line(Instant now) const {
  const int full = static_cast<int>(share() * kBarWidth);
  return absl::StrCat("[", std::string(static_cast<size_t>(full), '#'),
                      std::string(static_cast<size_t>(kBarWidth - full), '.'), "] ",
                      std::lround(share() * 100), " %  ", parts_[part_].name,
                      doing_.empty() ? "" : ": ", doing_, ", about ", About(SecondsLeft(now)),
                      " left");
}

}  // namespace im::bench
