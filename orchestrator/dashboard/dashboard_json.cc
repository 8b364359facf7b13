#include "orchestrator/dashboard/dashboard_json.h"

#include <chrono>

#include "absl/hash/hash.h"
#include "orchestrator/host_view.h"
#include "orchestrator/version.h"

namespace im::orchestrator {
namespace {

using nlohmann::json;

std::string Text(absl::string_view text) { return std::string(text); }

double Milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

int64_t UnixMs(Instant at, Instant now, int64_t unix_ms) {
  return unix_ms - std::chrono::duration_cast<std::chrono::milliseconds>(now - at).count();
}

void AddHistory(const History& history, json& row) {
  if (!history.cause_text.empty()) row["cause"] = history.cause_text;
  if (history.wake_kind != History::WakeKind::kNone) {
    row["kind"] = Text(WakeKindName(history.wake_kind));
    row["wake_ms"] = Milliseconds(history.wake_duration);
  }
  if (!history.last_error.empty()) row["error"] = history.last_error;
}

}  // namespace

std::string JsonText(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

json ClusterJson(const Controller& controller, int64_t unix_ms) {
  const ClusterSpec& spec = controller.spec();
  return {{"name", spec.name},
          {"network", spec.network.ToString()},
          {"domain", spec.domain},
          {"version", Text(kVersion)},
          {"hosts", controller.hosts().size()},
          {"at", unix_ms}};
}

json HostJson(const Controller& controller, HostId host, Instant now, int64_t unix_ms) {
  const HostTable& hosts = controller.hosts();
  const HostTable::Host& row = hosts[host];
  json told = {{"id", host},
               {"name", row.name},
               {"address", row.address.ToString()},
               {"state", Text(HostStateName(row.state))},
               {"since", UnixMs(row.since, now, unix_ms)}};
  if (row.guest) told["guest"] = true;
  if (const auto group = hosts.GroupOf(host)) told["group"] = hosts.groups()[*group].name;
  if (row.history != nullptr) AddHistory(*row.history, told);
  if (const size_t held = controller.activator().held().packets(host)) told["held"] = held;
  if (const Instance* instance = controller.FindInstance(host)) {
    const proto::InstanceStatus& status = instance->status;
    told["at"] = UnixMs(instance->status_at, now, unix_ms);
    told["memory"] = status.memory_bytes();
    told["cpu_ns"] = status.cpu_ns();
    told["in"] = status.inside_rx_bytes();
    told["out"] = status.inside_tx_bytes();
  }
  return told;
}

uint64_t HostFingerprint(const Controller& controller, HostId host) {
  const HostTable::Host& row = controller.hosts()[host];
  const Instance* instance =
      HasInstance(row.state) ? controller.FindInstance(host) : nullptr;
  // Of the history all but the error changes with these.
  const History* history = row.history.get();
  return absl::HashOf(row.name, row.state, row.since.time_since_epoch().count(), row.incarnation,
                      history != nullptr ? history->thaws + history->starts : 0,
                      history != nullptr ? absl::string_view(history->last_error) : "",
                      instance != nullptr ? instance->status.version() : 0,
                      controller.activator().held().packets(host));
}

json EventJson(const proto::Event& event) {
  json told = {{"sequence", event.sequence()}, {"at", event.unix_nanos() / 1'000'000}};
  if (!event.host().empty()) told["host"] = event.host();
  if (!event.from().empty()) told["from"] = event.from();
  if (!event.to().empty()) told["to"] = event.to();
  if (!event.text().empty()) told["text"] = event.text();
  if (event.duration_ns() != 0) told["ms"] = static_cast<double>(event.duration_ns()) * 1e-6;
  if (event.error()) told["error"] = true;
  return told;
}

json TotalsJson(const Controller& controller, Instant now, int64_t unix_ms) {
  const LifecycleMeter& meter = controller.meter();
  json seconds = json::object();
  json counts = json::object();
  for (int i = 0; i < kHostStates; ++i) {
    const auto state = static_cast<HostState>(i);
    seconds[Text(HostStateName(state))] = Seconds(meter.host_time(state, now));
    counts[Text(HostStateName(state))] = controller.hosts().count(state);
  }
  return {{"at", unix_ms},
          {"configured_s", Seconds(meter.configured_time(now))},
          {"state_s", seconds},
          {"counts", counts},
          {"held", controller.activator().held().packets()},
          {"failed_starts", meter.failed_starts()}};
}

json WhyJson(const proto::WhyReply& why) {
  const proto::HostInfo& host = why.host();
  json told = {{"name", host.name()},
               {"address", host.address()},
               {"state", host.state()},
               {"since", host.state_since_unix_nanos() / 1'000'000},
               {"starts", host.starts()},
               {"thaws", host.thaws()},
               {"cause", host.cause_text()},
               {"kind", host.wake_kind()},
               {"wake_ms", static_cast<double>(host.wake_ns()) * 1e-6},
               {"memory", host.memory_bytes()},
               {"cpu_ns", host.cpu_ns()},
               {"pause_in_ms", host.pause_in_ms()},
               {"release_in_ms", host.release_in_ms()},
               {"timer_in_ms", host.timer_in_ms()},
               {"retry_in_ms", host.retry_in_ms()},
               {"error", host.last_error()},
               {"guest", host.guest()},
               {"keeps_up", json::array()},
               {"events", json::array()}};
  if (host.has_address6()) told["address6"] = host.address6();
  for (const std::string& reason : why.keeps_up()) told["keeps_up"].push_back(reason);
  for (const proto::Event& event : why.events()) told["events"].push_back(EventJson(event));
  return told;
}

}  // namespace im::orchestrator
