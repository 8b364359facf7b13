#include "bench/markup.h"

#include <cmath>
#include <cstddef>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace im::bench {

std::string EscapeMarkup(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string ShortNumber(double value) {
  if (value != 0 && std::abs(value) < 0.1) return absl::StrFormat("%.4f", value);
  if (std::abs(value) < 100) return absl::StrFormat("%.2f", value);
  const std::string digits = absl::StrFormat("%.0f", std::abs(value));
  std::string text = value < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

bool IsOurs(const std::string& way) {
  return way.rfind("im", 0) == 0 || way.rfind("embedded", 0) == 0;
}

}  // namespace im::bench
