// MetricsText: metrics as Prometheus reads them, text format 0.0.4.
//
//   # HELP im_hosts Hosts by state.
//   # TYPE im_hosts gauge
//   im_hosts{state="running"} 3
//
// A writer of our own, since the format is these three lines: prometheus-cpp
// would bring an HTTP server with threads of its own and libcurl, and wants to
// own every figure, while ours are in the parts that they are about.

#ifndef IM_ORCHESTRATOR_METRICS_TEXT_H_
#define IM_ORCHESTRATOR_METRICS_TEXT_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "orchestrator/histogram.h"

namespace im::orchestrator {

class MetricsText {
 public:
  enum class Type { kCounter, kGauge, kHistogram };
  using Label = std::pair<absl::string_view, absl::string_view>;
  using Labels = std::initializer_list<Label>;

  // Begins a family; its samples follow. Counters' names end in _total.
  void Family(absl::string_view name, Type type, absl::string_view help);
  // Of the family begun last. Values of labels may be anything.
  void Sample(uint64_t value, Labels labels = {});
  void Sample(double value, Labels labels = {});
  void Sample(const Histogram& histogram);

  const std::string& text() const { return text_; }
  std::string Take() { return std::move(text_); }

 private:
  void Line(absl::string_view suffix, Labels labels, absl::string_view value);

  std::string text_;
  std::string family_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_METRICS_TEXT_H_
