#include "orchestrator/metrics_text.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace im::orchestrator {
namespace {

absl::string_view TypeName(MetricsText::Type type) {
  switch (type) {
    case MetricsText::Type::kCounter:
      return "counter";
    case MetricsText::Type::kGauge:
      return "gauge";
    case MetricsText::Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

std::string SecondsText(Duration duration) {
  return absl::StrFormat("%.9g", im::Seconds(duration));
}

}  // namespace

void MetricsText::Family(absl::string_view name, Type type, absl::string_view help) {
  family_ = std::string(name);
  absl::StrAppend(&text_, "# HELP ", name, " ",
                  absl::StrReplaceAll(help, {{"\\", "\\\\"}, {"\n", "\\n"}}), "\n# TYPE ", name,
                  " ", TypeName(type), "\n");
}

void MetricsText::Line(absl::string_view suffix, Labels labels, absl::string_view value) {
  absl::StrAppend(&text_, family_, suffix);
  const char* separator = "{";
  for (const auto& [name, of] : labels) {
    absl::StrAppend(&text_, separator, name, "=\"",
                    absl::StrReplaceAll(of, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}), "\"");
    separator = ",";
  }
  absl::StrAppend(&text_, labels.size() > 0 ? "} " : " ", value, "\n");
}

void MetricsText::Sample(uint64_t value, Labels labels) { Line("", labels, absl::StrCat(value)); }

void MetricsText::Sample(double value, Labels labels) {
  Line("", labels, absl::StrFormat("%.15g", value));
}

void MetricsText::Sample(const Histogram& histogram) {
  for (size_t i = 0; i < Histogram::kBounds; ++i) {
    Line("_bucket", {{"le", SecondsText(Histogram::Bounds()[i])}},
         absl::StrCat(histogram.CountUpTo(i)));
  }
  Line("_bucket", {{"le", "+Inf"}}, absl::StrCat(histogram.count()));
  Line("_sum", {}, SecondsText(histogram.sum()));
  Line("_count", {}, absl::StrCat(histogram.count()));
}

}  // namespace im::orchestrator
