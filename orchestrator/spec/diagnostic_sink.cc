#include "orchestrator/spec/diagnostic_sink.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

// While reading, more are kept than are shown, so that sorting shows the first.
constexpr size_t kCollectedMax = 10 * kDiagnosticsMax;
constexpr size_t kQuotedBytesMax = 60;
// Names of fields and hosts are short; longer ones are not compared.
constexpr size_t kComparedBytesMax = 64;

// Letters to insert, drop, replace or swap with their neighbour.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1);  // the row two above
  std::vector<size_t> above(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

void DiagnosticSink::Error(SourcePosition at, std::string message, std::string hint) {
  if (errors_.size() < kCollectedMax) {
    errors_.push_back({file_, at, std::move(message), std::move(hint)});
  }
}

void DiagnosticSink::Warning(SourcePosition at, std::string message, std::string hint) {
  if (warnings_.size() < kCollectedMax) {
    warnings_.push_back({file_, at, std::move(message), std::move(hint)});
  }
}

void DiagnosticSink::Absorb(DiagnosticSink& other) {
  for (Diagnostic& d : other.TakeErrors()) errors_.push_back(std::move(d));
  for (Diagnostic& d : other.TakeWarnings()) warnings_.push_back(std::move(d));
}

std::vector<Diagnostic> DiagnosticSink::Take(std::vector<Diagnostic>& list) {
  std::stable_sort(list.begin(), list.end(),
                   [this](const Diagnostic& a, const Diagnostic& b) {
                     const bool a_other = a.file != file_;
                     const bool b_other = b.file != file_;
                     return std::tie(a_other, a.file, a.at) < std::tie(b_other, b.file, b.at);
                   });
  // An anchor that is used twice is read twice.
  list.erase(std::unique(list.begin(), list.end(),
                         [](const Diagnostic& a, const Diagnostic& b) {
                           return a.file == b.file && a.at == b.at && a.message == b.message;
                         }),
             list.end());
  if (list.size() > kDiagnosticsMax) {
    const size_t more = list.size() - kDiagnosticsMax;
    const SourcePosition at = list[kDiagnosticsMax].at;
    list.resize(kDiagnosticsMax);
    list.push_back({file_, at, absl::StrCat("and at least ", more, " more"), ""});
  }
  return std::move(list);
}

std::string Quote(absl::string_view name) {
  const bool cut = name.size() > kQuotedBytesMax;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kQuotedBytesMax)),
                      cut ? "…\"" : "\"");
}

absl::string_view Nearest(absl::string_view name,
                          const std::vector<absl::string_view>& candidates) {
  if (name.size() > kComparedBytesMax) return {};
  absl::string_view best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;
  for (absl::string_view candidate : candidates) {
    if (candidate.size() > kComparedBytesMax) continue;
    const size_t difference = candidate.size() > name.size() ? candidate.size() - name.size()
                                                             : name.size() - candidate.size();
    if (difference >= best_distance) continue;
    const size_t distance = EditDistance(name, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace im::orchestrator
