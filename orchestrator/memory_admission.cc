#include "orchestrator/memory_admission.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator {
namespace {

std::string SizeText(uint64_t bytes) {
  return absl::StrFormat("%.0f MiB", static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

void MemoryAdmission::SetLimit(HostId host, uint64_t mem_limit_bytes) {
  if (mem_limit_bytes > 0) limits_[host] = mem_limit_bytes;
}

void MemoryAdmission::OnUse(HostId host, uint64_t bytes) {
  if (bytes == 0) return;
  uint64_t& most = seen_[host];
  most = std::max(most, bytes);
}

uint64_t MemoryAdmission::NeedOf(HostId host) const {
  const auto limit = limits_.find(host);
  const auto seen = seen_.find(host);
  if (seen == seen_.end()) return limit == limits_.end() ? kNeedUnknown : limit->second;
  return limit == limits_.end() ? seen->second : std::min(seen->second, limit->second);
}

std::optional<std::string> MemoryAdmission::Start(HostId host, Instant now) {
  while (!promises_.empty() && promises_.front().until <= now) {
    promised_ -= promises_.front().bytes;
    promises_.pop_front();
  }
  if (!read_ || now - read_at_ >= kReadingMax) {
    reading_ = available_();
    read_at_ = now;
    read_ = true;
  }
  const uint64_t need = NeedOf(host);
  if (reading_.has_value() && *reading_ < need + keep_free_bytes_ + promised_)
    return absl::StrCat("needs ", SizeText(need), " of memory; of ", SizeText(*reading_),
                        " available ", SizeText(keep_free_bytes_), " are kept free and ",
                        SizeText(promised_), " are for other starts");
  promises_.push_back({now + kSettle, need});
  promised_ += need;
  return std::nullopt;
}

std::optional<uint64_t> ParseMemAvailable(const std::string& meminfo) {
  for (const absl::string_view line : absl::StrSplit(meminfo, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kib = 0;
    if (words.size() >= 2 && words[0] == "MemAvailable:" && absl::SimpleAtoi(words[1], &kib))
      return kib << 10;
  }
  return std::nullopt;
}

std::optional<uint64_t> ReadMemAvailable() {
  std::ifstream file("/proc/meminfo");
  std::stringstream text;
  text << file.rdbuf();
  return ParseMemAvailable(text.str());
}

}  // namespace im::orchestrator
