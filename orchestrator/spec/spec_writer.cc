#include "orchestrator/spec/spec_writer.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "orchestrator/spec/network_fields.h"

namespace im::orchestrator {
namespace {

// Plain where that can be read as nothing but this text (YAML 1.2 10.3.2 and 7.3.3), and a word
// of letters to begin with; else in double quotes. A "$" would begin a variable.
std::string Scalar(absl::string_view text) {
  bool plain = !text.empty() && (absl::ascii_isalpha(text[0]) || text[0] == '/');
  for (const char c : text) {
    plain = plain && (absl::ascii_isalnum(c) || c == '/' || c == '.' || c == '_' || c == '-');
  }
  for (absl::string_view word : {"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
    plain = plain && !absl::EqualsIgnoreCase(text, word);
  if (plain) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (c == '$') {
      out += "$$";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string List(const std::vector<std::string>& texts) {
  return absl::StrCat("[", absl::StrJoin(texts, ", ", [](std::string* out, const auto& text) {
                        absl::StrAppend(out, Scalar(text));
                      }), "]");
}

// Exactly: "90s", "1500ms".
std::string Time(Duration duration) {
  const int64_t nanos = duration.count();
  if (nanos == 0) return "0s";
  struct Unit {
    int64_t nanos;
    const char* name;
  };
  for (const Unit unit : {Unit{3'600'000'000'000, "h"}, {60'000'000'000, "m"},
                          {1'000'000'000, "s"}, {1'000'000, "ms"}, {1'000, "us"}}) {
    if (nanos % unit.nanos == 0) return absl::StrCat(nanos / unit.nanos, unit.name);
  }
  return absl::StrCat(nanos, "ns");
}

class Writer {
 public:
  explicit Writer(const ClusterSpec& spec) : spec_(spec) {}

  std::string Write() {
    Line(0, "name", Scalar(spec_.name));
    WriteNetwork();
    WriteLimits();
    WriteGroups();
    absl::StrAppend(&out_, "hosts:\n");
    for (size_t i = 0; i < spec_.hosts.size();) {
      size_t end = i + 1;
      while (end < spec_.hosts.size() && spec_.hosts[end].service == spec_.hosts[i].service) ++end;
      WriteHosts(i, end);
      i = end;
    }
    return std::move(out_);
  }

 private:
  void Line(int depth, absl::string_view key, absl::string_view value) {
    absl::StrAppend(&out_, std::string(static_cast<size_t>(2 * depth), ' '), key, ":",
                    value.empty() ? "" : " ", value, "\n");
  }

  void WriteNetwork() {
    Line(0, "network", "");
    Line(1, "cidr", spec_.network.ToString());
    if (spec_.dual_stack == DeriveDualStack(spec_.name, spec_.network)) {
      Line(1, "ipv6", "true");
    } else if (spec_.dual_stack.on()) {
      Line(1, "ipv6", spec_.dual_stack.network().ToString());
    }
    Line(1, "domain", Scalar(spec_.domain));
    if (spec_.mtu != kHostMtuMax) Line(1, "mtu", absl::StrCat(spec_.mtu));
    if (spec_.listen != kDefaultListen) Line(1, "listen", Scalar(spec_.listen.ToString()));
  }

  void WriteLimits() {
    const LimitsSpec usual;
    if (spec_.limits.max_starting == usual.max_starting &&
        spec_.limits.min_free_memory_bytes == usual.min_free_memory_bytes)
      return;
    Line(0, "limits", "");
    Line(1, "max_starting", absl::StrCat(spec_.limits.max_starting));
    Line(1, "min_free_memory", absl::StrCat(spec_.limits.min_free_memory_bytes));
  }

  void WriteGroups() {
    if (spec_.groups.empty()) return;
    Line(0, "groups", "");
    for (const GroupSpec& group : spec_.groups) {
      Line(1, Scalar(group.name),
           group.suspend_together
               ? absl::StrCat("{suspend: together, heartbeat: {below_bytes_per_s: ",
                              group.heartbeat_bytes_per_s, "}}")
               : "{suspend: apart}");
    }
  }

  // Those of one service.
  void WriteHosts(size_t begin, size_t end) {
    const HostSpec host = spec_.hosts[begin];
    Line(1, Scalar(host.service), "");
    const bool replicas = host.name != host.service;
    if (replicas) Line(2, "replicas", absl::StrCat(end - begin));
    WriteProgram(host);
    if (host.hostname != host.name) Line(2, "hostname", Scalar(host.hostname));
    if (!host.aliases.empty()) Line(2, "aliases", List(host.aliases));
    if (end - begin == 1) Line(2, "address", host.address.ToString());
    if (!host.ports.empty()) WritePorts(host);
    if (host.attach == AttachMode::kNetstack) Line(2, "attach", "netstack");
    WriteResources(host);
    WriteLife(host, begin, end);
  }

  void WriteProgram(const HostSpec& host) {
    if (!host.image.empty()) Line(2, "image", Scalar(host.image));
    // Of an image, too: `command` alone would stand behind its entrypoint.
    Line(2, host.image.empty() ? "command" : "entrypoint", List(host.argv));
    if (!host.environment.empty()) {
      Line(2, "environment", "");
      for (const auto& [name, value] : host.environment) Line(3, Key(name), Scalar(value));
    }
    Line(2, "working_dir", Scalar(host.working_dir));
    if (!host.user.empty()) Line(2, "user", Scalar(host.user));
    std::vector<std::string> mounts;
    for (const MountSpec& mount : host.mounts) {
      const char* type = mount.kind == MountSpec::Kind::kBind     ? "bind"
                         : mount.kind == MountSpec::Kind::kVolume ? "volume"
                                                                   : "tmpfs";
      mounts.push_back(absl::StrCat(
          "{type: ", type,
          mount.source.empty() ? "" : absl::StrCat(", source: ", Scalar(mount.source)),
          ", target: ", Scalar(mount.target), mount.read_only ? ", read_only: true" : "", "}"));
    }
    if (mounts.empty()) return;
    Line(2, "volumes", "");
    for (const std::string& mount : mounts) absl::StrAppend(&out_, "      - ", mount, "\n");
  }

  // Keys are never replaced.
  static std::string Key(const std::string& name) {
    const std::string text = Scalar(name);
    return name.find('$') == std::string::npos ? text : absl::StrCat("\"", name, "\"");
  }

  void WritePorts(const HostSpec& host) {
    std::vector<std::string> ports;
    for (const PublishedPort& port : host.ports)
      ports.push_back(absl::StrCat(port.listen.ToString(), ":", port.target));
    Line(2, "ports", List(ports));
  }

  void WriteResources(const HostSpec& host) {
    const HostSpec usual;
    // An image may have another usual one.
    if (host.stop_signal != usual.stop_signal || !host.image.empty())
      Line(2, "stop_signal", host.stop_signal);
    if (host.stop_grace_period != usual.stop_grace_period)
      Line(2, "stop_grace_period", Time(host.stop_grace_period));
    if (!host.ulimits.empty()) {
      Line(2, "ulimits", "");
      for (const auto& [name, value] : host.ulimits)
        Line(3, name, value == UINT64_MAX ? "-1" : absl::StrCat(value));
    }
    if (host.mem_limit_bytes != 0) Line(2, "mem_limit", absl::StrCat(host.mem_limit_bytes));
    if (host.cpus != 0) Line(2, "cpus", absl::StrFormat("%.17g", host.cpus));
    if (!(host.logging == usual.logging)) {
      Line(2, "logging", absl::StrCat("{max_size: ", host.logging.max_size_bytes,
                                      ", files: ", host.logging.files_max, "}"));
    }
  }

  void WriteLife(const HostSpec& host, size_t begin, size_t end) {
    const HostSpec usual;
    if (!(host.idle == usual.idle)) WriteIdle(host.idle);
    if (host.start_timeout != usual.start_timeout)
      Line(2, "start_timeout", Time(host.start_timeout));
    if (host.healthcheck) WriteHealthcheck(*host.healthcheck);
    if (host.restart == RestartPolicy::kAlways) Line(2, "restart", "always");
    if (host.restart == RestartPolicy::kOnFailure) {
      Line(2, "restart",
           host.restart_attempts_max == 0
               ? "on-failure"
               : absl::StrCat("\"on-failure:", host.restart_attempts_max, "\""));
    }
    size_t min_running = 0;
    for (size_t i = begin; i < end; ++i) {
      const HostSpec one = spec_.hosts[i];
      min_running += one.min_running ? 1 : 0;
    }
    if (min_running > 0) Line(2, "min_running", absl::StrCat(min_running));
    if (host.on_release == OnRelease::kCheckpoint) Line(2, "on_release", "checkpoint");
    if (host.checkpoint_expires) Line(2, "checkpoint_expires", Time(*host.checkpoint_expires));
    if (host.max_lifetime) Line(2, "max_lifetime", Time(*host.max_lifetime));
    if (!host.depends_on.empty()) WriteDependencies(host);
    if (!host.wake_with.empty()) Line(2, "wake_with", List(host.wake_with));
    if (!host.group.empty()) Line(2, "group", Scalar(host.group));
  }

  void WriteHealthcheck(const HealthcheckSpec& check) {
    std::vector<std::string> test = check.argv;
    test.insert(test.begin(), "CMD");
    Line(2, "healthcheck", "");
    Line(3, "test", List(test));
    Line(3, "interval", Time(check.interval));
    Line(3, "timeout", Time(check.timeout));
    Line(3, "retries", absl::StrCat(check.retries));
    if (check.start_period != Duration(0)) Line(3, "start_period", Time(check.start_period));
    if (check.start_interval) Line(3, "start_interval", Time(*check.start_interval));
  }

  void WriteDependencies(const HostSpec& host) {
    using Condition = DependencySpec::Condition;
    Line(2, "depends_on", "");
    for (const DependencySpec& dependency : host.depends_on) {
      const char* condition =
          dependency.condition == Condition::kStarted   ? "service_started"
          : dependency.condition == Condition::kHealthy ? "service_healthy"
                                                        : "service_completed_successfully";
      Line(3, Key(dependency.host), absl::StrCat("{condition: ", condition, "}"));
    }
  }

  void WriteIdle(const IdleSpec& idle) {
    const IdleSpec usual;
    constexpr const char* kModes[] = {"quiet", "no_connections", "never"};
    constexpr const char* kTimers[] = {"auto", "honor", "ignore"};
    Line(2, "idle", "");
    Line(3, "policy", kModes[static_cast<int>(idle.mode)]);
    Line(3, "after", Time(idle.after));
    Line(3, "release_after", idle.release_after ? Time(*idle.release_after) : "never");
    if (idle.cpu_below_permille != usual.cpu_below_permille)
      Line(3, "cpu_below", absl::StrCat(idle.cpu_below_permille / 10, ".",
                                        idle.cpu_below_permille % 10, "%"));
    if (!idle.busy_file.empty()) Line(3, "busy_file", Scalar(idle.busy_file));
    Line(3, "timers", kTimers[static_cast<int>(idle.timers)]);
    if (idle.timer_horizon != usual.timer_horizon)
      Line(3, "timer_horizon", Time(idle.timer_horizon));
    if (idle.tick_max) Line(3, "tick_max", Time(*idle.tick_max));
    if (idle.below_bytes_per_s != 0)
      Line(3, "below_bytes_per_s", absl::StrCat(idle.below_bytes_per_s));
    if (idle.reclaim) Line(3, "reclaim", "true");
    if (idle.ignore_ports.empty() && idle.ignore_from.empty()) return;
    Line(3, "ignore", "");
    if (!idle.ignore_ports.empty())
      Line(4, "ports", absl::StrCat("[", absl::StrJoin(idle.ignore_ports, ", "), "]"));
    std::vector<std::string> from;
    for (const IpPrefix& prefix : idle.ignore_from) from.push_back(prefix.ToString());
    if (!from.empty()) Line(4, "from", List(from));
  }

  const ClusterSpec& spec_;
  std::string out_;
};

}  // namespace

std::string WriteClusterSpec(const ClusterSpec& spec) { return Writer(spec).Write(); }

}  // namespace im::orchestrator
