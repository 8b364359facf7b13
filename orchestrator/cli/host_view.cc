#include "orchestrator/cli/host_view.h"

#include <chrono>
#include <map>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/table.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

std::string InMilliseconds(uint64_t ms) {
  return FormatDuration(std::chrono::milliseconds(static_cast<int64_t>(ms)));
}

bool HasInstance(const proto::HostInfo& host) {
  return host.state() != "imaginary" && host.state() != "checkpointed";
}

}  // namespace

std::string TextSince(const proto::HostInfo& host, int64_t now_unix_nanos) {
  const int64_t since = host.state_since_unix_nanos();
  if (since <= 0 || since > now_unix_nanos) return "";
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::nanoseconds(now_unix_nanos - since));
  return FormatDuration(age);
}

std::string TextOfWake(const proto::HostInfo& host, const Terminal& terminal) {
  if (host.wake_kind().empty()) return "";
  if (host.wake_ns() == 0) return host.wake_kind();
  return absl::StrCat(host.wake_kind(), " ",
                      FormatDuration(Duration(static_cast<int64_t>(host.wake_ns())),
                                     terminal.micro()));
}

std::string TextOfNext(const proto::HostInfo& host) {
  if (host.state() == "imaginary") {
    if (host.last_error().empty()) return "";
    return host.retry_in_ms() == 0
               ? host.last_error()
               : absl::StrCat(host.last_error(), "; not again for ",
                              InMilliseconds(host.retry_in_ms()));
  }
  if (host.state() == "running") {
    if (host.pause_in_ms() > 0) return absl::StrCat("pauses in ", InMilliseconds(host.pause_in_ms()));
    return host.busy().empty() ? "" : absl::StrCat("busy: ", host.busy());
  }
  if (host.state() == "paused" && host.release_in_ms() > 0) {
    return absl::StrCat("released in ", InMilliseconds(host.release_in_ms()));
  }
  if (host.state() == "paused" && host.timer_in_ms() > 0) {
    return absl::StrCat("timer in ", InMilliseconds(host.timer_in_ms()));
  }
  if (host.held_packets() > 0) {
    return absl::StrCat(host.held_packets(), host.held_packets() == 1 ? " packet" : " packets",
                        " held");
  }
  return "";
}

std::string HostTable(const std::vector<proto::HostInfo>& hosts, int64_t now_unix_nanos,
                      const Terminal& terminal) {
  using Align = Table::Align;
  Table table({{"HOST"},
               {"STATE"},
               {"SINCE", Align::kRight},
               {"ADDRESS"},
               {"LAST WAKE"},
               {"TOOK"},
               {"MEMORY", Align::kRight},
               {"NEXT"}});
  for (const proto::HostInfo& host : hosts) {
    const std::string next = TextOfNext(host);
    const bool failed = host.state() == "imaginary" && !host.last_error().empty();
    table.Add({host.name(), terminal.Paint(host.state(), ColourOfState(host.state())),
               TextSince(host, now_unix_nanos), host.address(), terminal.Plain(host.cause_text()),
               TextOfWake(host, terminal), HasInstance(host) && host.memory_bytes() > 0
                                               ? FormatSize(host.memory_bytes())
                                               : "",
               terminal.Paint(terminal.Plain(next),
                              failed && !next.empty() ? Colour::kRed : Colour::kNone)});
  }
  return table.ToString(terminal);
}

std::string DropTable(const proto::Cluster& cluster, const std::vector<proto::HostInfo>& hosts,
                      const Terminal& terminal) {
  Table table({{"HOST"}, {"DROPPED", Table::Align::kRight}, {"REASON"}});
  bool empty = true;
  const auto add = [&](const std::string& host, const auto& drops) {
    const std::map<std::string, uint64_t> sorted(drops.begin(), drops.end());
    for (const auto& [reason, count] : sorted) {
      table.Add({host, absl::StrCat(count), reason});
      empty = false;
    }
  };
  add("(gateway)", cluster.drops());
  for (const proto::HostInfo& host : hosts) add(host.name(), host.status().drops());
  return empty ? "" : table.ToString(terminal);
}

}  // namespace im::orchestrator::cli
