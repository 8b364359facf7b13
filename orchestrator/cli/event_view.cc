#include "orchestrator/cli/event_view.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "orchestrator/event_log.h"

namespace im::orchestrator::cli {
namespace {

constexpr size_t kHostWidthMin = 4;
constexpr size_t kHostWidthMax = 24;
constexpr char kArrow[] = "→ ";

}  // namespace

std::string RenderEvent(const proto::Event& event, size_t host_width, const Terminal& terminal) {
  std::string line = EventLine(event, host_width);
  if (event.error()) {
    line = terminal.Paint(line, Colour::kRed);
  } else if (!event.to().empty()) {
    const std::string target = absl::StrCat(kArrow, event.to());
    const size_t at = line.find(target);
    if (at != std::string::npos) {
      line.replace(at, target.size(),
                   absl::StrCat(kArrow, terminal.Paint(event.to(), ColourOfState(event.to()))));
    }
  }
  return terminal.Plain(line);
}

size_t HostWidth(const std::vector<proto::HostInfo>& hosts) {
  size_t width = kHostWidthMin;
  for (const proto::HostInfo& host : hosts) width = std::max(width, host.name().size());
  return std::min(width, kHostWidthMax);
}

void EventPrinter::Print(const proto::Event& event) {
  const std::lock_guard lock(mutex_);
  if (event.sequence() != 0 && event.sequence() <= last_sequence_) return;
  last_sequence_ = std::max(last_sequence_, event.sequence());
  const std::string line = absl::StrCat(RenderEvent(event, host_width_, terminal_), "\n");
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace im::orchestrator::cli
