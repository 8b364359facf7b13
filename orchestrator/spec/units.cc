#include "orchestrator/spec/units.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace im::orchestrator {
namespace {

// Longest number that is looked at; more digits say nothing.
constexpr size_t kNumberBytesMax = 24;

// Takes "12" or "1.5" off the front of `text`; no sign, no exponent.
std::optional<double> TakeNumber(absl::string_view& text) {
  size_t size = 0;
  bool point = false;
  while (size < text.size() && size <= kNumberBytesMax &&
         (absl::ascii_isdigit(text[size]) || (text[size] == '.' && !point))) {
    point |= text[size] == '.';
    ++size;
  }
  double value = 0;
  if (size == 0 || size > kNumberBytesMax || text[0] == '.' || text[size - 1] == '.' ||
      !absl::SimpleAtod(text.substr(0, size), &value)) {
    return std::nullopt;
  }
  text.remove_prefix(size);
  return value;
}

absl::string_view TakeLetters(absl::string_view& text) {
  size_t size = 0;
  while (size < text.size() && !absl::ascii_isdigit(text[size]) && text[size] != '.') ++size;
  const absl::string_view letters = text.substr(0, size);
  text.remove_prefix(size);
  return letters;
}

std::optional<double> NanosOfUnit(absl::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "µs") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s") return 1e9;
  if (unit == "m") return 60e9;
  if (unit == "h") return 3600e9;
  if (unit == "d") return 86400e9;
  return std::nullopt;
}

std::optional<double> BytesOfUnit(std::string unit) {
  absl::AsciiStrToLower(&unit);
  if (unit.empty() || unit == "b") return 1;
  if (unit == "k" || unit == "kb" || unit == "kib") return 1024.0;
  if (unit == "m" || unit == "mb" || unit == "mib") return 1048576.0;
  if (unit == "g" || unit == "gb" || unit == "gib") return 1073741824.0;
  if (unit == "t" || unit == "tb" || unit == "tib") return 1099511627776.0;
  return std::nullopt;
}

}  // namespace

std::optional<Duration> ParseDuration(absl::string_view text) {
  if (text == "0") return Duration(0);
  if (text.empty()) return std::nullopt;
  double nanos = 0;
  while (!text.empty()) {
    const std::optional<double> number = TakeNumber(text);
    if (!number) return std::nullopt;
    const std::optional<double> unit = NanosOfUnit(TakeLetters(text));
    if (!unit) return std::nullopt;
    nanos += *number * *unit;
    if (nanos > static_cast<double>(kDurationMax.count())) return std::nullopt;
  }
  return Duration(std::llround(nanos));
}

std::optional<uint64_t> ParseSize(absl::string_view text) {
  const std::optional<double> number = TakeNumber(text);
  if (!number) return std::nullopt;
  const std::optional<double> unit = BytesOfUnit(std::string(text));
  if (!unit) return std::nullopt;
  const double bytes = *number * *unit;
  if (bytes > 9e18) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::optional<uint32_t> ParsePermille(absl::string_view text) {
  const std::optional<double> number = TakeNumber(text);
  if (!number || text != "%" || *number > 1000) return std::nullopt;
  return static_cast<uint32_t>(std::lround(*number * 10));
}

std::optional<bool> ParseBool(absl::string_view text) {
  for (const char* word : {"true", "yes", "on"}) {
    if (absl::EqualsIgnoreCase(text, word)) return true;
  }
  for (const char* word : {"false", "no", "off"}) {
    if (absl::EqualsIgnoreCase(text, word)) return false;
  }
  return std::nullopt;
}

std::string FormatDuration(Duration duration, absl::string_view micro) {
  const int64_t nanos = duration.count();
  if (nanos < 0) return absl::StrCat("-", FormatDuration(-duration, micro));
  if (nanos == 0) return "0s";
  if (nanos < 1'000) return absl::StrCat(nanos, "ns");
  if (nanos < 999'500) return absl::StrFormat("%.3g%ss", nanos / 1e3, micro);
  if (nanos < 999'500'000) return absl::StrFormat("%.3gms", nanos / 1e6);
  if (nanos < 9'950'000'000) return absl::StrFormat("%.2gs", nanos / 1e9);
  const int64_t seconds = (nanos + 500'000'000) / 1'000'000'000;
  if (seconds < 60) return absl::StrCat(seconds, "s");
  if (seconds < 3600) {
    return seconds % 60 == 0 ? absl::StrCat(seconds / 60, "m")
                             : absl::StrCat(seconds / 60, "m", seconds % 60, "s");
  }
  const int64_t minutes = seconds / 60;
  if (minutes < 48 * 60) {
    return minutes % 60 == 0 ? absl::StrCat(minutes / 60, "h")
                             : absl::StrCat(minutes / 60, "h", minutes % 60, "m");
  }
  return absl::StrCat(minutes / 1440, "d", minutes / 60 % 24, "h");
}

std::string FormatSize(uint64_t bytes) {
  if (bytes == 0) return "0";
  if (bytes < 1024) return absl::StrCat(bytes, "B");
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"K", "M", "G", "T"}) {
    if (value < 1000) break;
    value /= 1024;
    unit = next;
  }
  return value < 9.95 ? absl::StrFormat("%.1f%s", value, unit)
                      : absl::StrFormat("%.0f%s", value, unit);
}

}  // namespace im::orchestrator
