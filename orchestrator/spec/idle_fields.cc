// The fields of `idle:`.

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "orchestrator/spec/host_parser.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator {
namespace {

// Shorter idle times make a host flap between two packets of one request.
constexpr Duration kIdleAfterMin = std::chrono::milliseconds(10);
// Of either kind: compared with each packet.
constexpr size_t kIgnoredMax = 64;

void ReadIgnore(const YamlNode& node, IdleSpec& idle, DiagnosticSink& sink) {
  MapReader reader(node, "ignore", sink);
  if (const YamlNode* ports = reader.Get("ports")) {
    idle.ignore_ports.clear();
    for (const auto& [text, at] : ReadTexts(*ports, sink)) {
      uint32_t port = 0;
      if (absl::SimpleAtoi(text, &port) && port > 0 && port <= UINT16_MAX) {
        idle.ignore_ports.push_back(static_cast<uint16_t>(port));
      } else {
        sink.Error(at, absl::StrCat("expected a port, found ", Quote(text)));
      }
    }
    if (idle.ignore_ports.size() > kIgnoredMax)
      sink.Error(ports->at, absl::StrCat("ports: more than ", kIgnoredMax));
  }
  if (const YamlNode* from = reader.Get("from")) {
    idle.ignore_from.clear();
    for (const auto& [text, at] : ReadTexts(*from, sink)) {
      if (const std::optional<IpPrefix> prefix = IpPrefix::Parse(text)) {
        idle.ignore_from.push_back(*prefix);
      } else {
        sink.Error(at, absl::StrCat("expected an IP address or network, found ", Quote(text)));
      }
    }
    if (idle.ignore_from.size() > kIgnoredMax)
      sink.Error(from->at, absl::StrCat("from: more than ", kIgnoredMax));
  }
  reader.Finish();
}

}  // namespace

void HostParser::ReadIdle(const YamlNode& node, IdleSpec& idle) {
  // Short forms: `idle: never`, `idle: 30s`.
  if (node.kind == YamlNode::Kind::kScalar) {
    if (node.scalar == "never") {
      idle.mode = IdleMode::kNever;
    } else if (auto after = ReadDuration(node, sink_)) {
      idle.after = std::max(*after, kIdleAfterMin);
    }
    return;
  }
  MapReader reader(node, "idle", sink_);
  switch (reader.Word("policy", {"quiet", "no_connections", "never"}).value_or(-1)) {
    case 0: idle.mode = IdleMode::kQuiet; break;
    case 1: idle.mode = IdleMode::kNoConnections; break;
    case 2: idle.mode = IdleMode::kNever; break;
    default: break;
  }
  if (auto after = reader.Time("after")) {
    if (*after < kIdleAfterMin) {
      sink_.Error(reader.Get("after")->at,
                  absl::StrCat("idle.after must be at least ", FormatDuration(kIdleAfterMin)),
                  "a host that never pauses: policy: never");
    } else {
      idle.after = *after;
    }
  }
  if (const YamlNode* release = reader.Get("release_after")) {
    if (release->kind == YamlNode::Kind::kScalar && release->scalar == "never") {
      idle.release_after.reset();
    } else if (auto after = ReadDuration(*release, sink_)) {
      idle.release_after = *after;
    }
  }
  if (const YamlNode* below = reader.Get("cpu_below")) {
    const auto text = ReadText(*below, sink_);
    const auto permille = text ? ParsePermille(*text) : std::nullopt;
    if (permille) {
      idle.cpu_below_permille = *permille;
    } else if (text) {
      sink_.Error(below->at, absl::StrCat("expected a share of one core, found ", Quote(*text)),
                  "shares look like 2% or 0.5%");
    }
  }
  if (const YamlNode* busy = reader.Get("busy_file")) {
    const auto text = ReadText(*busy, sink_);
    if (text && !absl::StartsWith(*text, "/")) {
      sink_.Error(busy->at, absl::StrCat("busy_file must be an absolute path, found ",
                                         Quote(*text)));
    } else if (text) {
      idle.busy_file = *text;
    }
  }
  switch (reader.Word("timers", {"auto", "honor", "ignore"}).value_or(-1)) {
    case 0: idle.timers = TimersMode::kAuto; break;
    case 1: idle.timers = TimersMode::kHonor; break;
    case 2: idle.timers = TimersMode::kIgnore; break;
    default: break;
  }
  if (auto horizon = reader.Time("timer_horizon")) idle.timer_horizon = *horizon;
  if (auto tick = reader.Time("tick_max")) idle.tick_max = *tick;
  if (auto bytes = reader.Size("below_bytes_per_s")) idle.below_bytes_per_s = *bytes;
  if (const YamlNode* ignore = reader.Get("ignore")) ReadIgnore(*ignore, idle, sink_);
  if (auto reclaim = reader.Bool("reclaim")) idle.reclaim = *reclaim;
  reader.Finish();
}

}  // namespace im::orchestrator
