// Events on the terminal: one line each, every event once.

#ifndef IM_ORCHESTRATOR_CLI_EVENT_VIEW_H_
#define IM_ORCHESTRATOR_CLI_EVENT_VIEW_H_

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "orchestrator/cli/terminal.h"
#include "proto/api.pb.h"

namespace im::orchestrator::cli {

// EventLine (event_log.h) with the new state, and errors, in colour.
std::string RenderEvent(const proto::Event& event, size_t host_width, const Terminal& terminal);

// The width that the longest of the names needs; long names do not push the
// others' lines aside.
size_t HostWidth(const std::vector<proto::HostInfo>& hosts);

// Writes lines to stdout. Two streams may bring the same event (the one that
// is followed, and the one of Down). Thread-safe.
class EventPrinter {
 public:
  EventPrinter(size_t host_width, Terminal terminal)
      : host_width_(host_width), terminal_(terminal) {}

  void Print(const proto::Event& event);

 private:
  const size_t host_width_;
  const Terminal terminal_;
  std::mutex mutex_;
  uint64_t last_sequence_ = 0;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_EVENT_VIEW_H_
