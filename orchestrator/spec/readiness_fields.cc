// Fields about when a host is up, and what it needs before its program begins.

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {
namespace {

constexpr int64_t kRetriesMax = 1000;
// Of a start_timeout that nobody has written.
constexpr Duration kPatienceMax = std::chrono::hours(24);

// Compose's: a list that begins with how it is run, or a line for the shell. Nothing if it
// is NONE, or after a diagnostic.
std::vector<std::string> ReadTest(const YamlNode& node, DiagnosticSink& sink) {
  const bool line = node.kind != YamlNode::Kind::kSequence;
  std::vector<std::string> words;
  for (auto& [word, at] : ReadTexts(node, sink)) words.push_back(std::move(word));
  if (words.empty()) return {};
  if (line) return {"/bin/sh", "-c", words[0]};
  const std::string how = words[0];
  words.erase(words.begin());
  if (how == "NONE" && words.empty()) return {};
  if (how == "CMD" && !words.empty() && !words[0].empty()) return words;
  if (how == "CMD-SHELL" && words.size() == 1) return {"/bin/sh", "-c", words[0]};
  sink.Error(node.at, "healthcheck: test is none that is known",
             "write [CMD, PROGRAM, ARGUMENT, ...], [CMD-SHELL, LINE], [NONE] or a line alone");
  return {};
}

}  // namespace

void HostParser::ReadStartTimeout(MapReader& reader, HostDraft& draft) {
  const std::optional<Duration> timeout = reader.Time("start_timeout");
  if (!timeout) return;
  if (*timeout <= Duration(0)) {
    sink_.Error(reader.Get("start_timeout")->at, "start_timeout must be more than 0");
    return;
  }
  draft.spec.start_timeout = *timeout;
  draft.start_timeout_given = true;
}

// Who says how patient the healthcheck is need not say it twice.
void HostParser::FillStartTimeout(HostDraft& draft) {
  HostSpec& host = draft.spec;
  if (draft.start_timeout_given || !host.healthcheck) return;
  const HealthcheckSpec& check = *host.healthcheck;
  const Duration patience = check.start_period + check.retries * check.interval + check.timeout;
  host.start_timeout = std::max(host.start_timeout, std::min(patience, kPatienceMax));
}

void HostParser::ReadHealthcheck(const YamlNode& node, HostSpec& host) {
  host.healthcheck.reset();  // that of `defaults`
  MapReader reader(node, "healthcheck", sink_);
  HealthcheckSpec check;
  const YamlNode* const test = reader.Get("test");
  if (test != nullptr) check.argv = ReadTest(*test, sink_);
  const auto positive = [&](absl::string_view field) {
    std::optional<Duration> time = reader.Time(field);
    if (time && *time < std::chrono::milliseconds(1)) {
      sink_.Error(reader.Get(field)->at, absl::StrCat("healthcheck: ", field,
                                                      " must be at least 1ms"));
      time.reset();
    }
    return time;
  };
  check.interval = positive("interval").value_or(check.interval);
  check.timeout = positive("timeout").value_or(check.timeout);
  check.start_interval = positive("start_interval");
  check.start_period = reader.Time("start_period").value_or(check.start_period);
  check.retries =
      static_cast<uint32_t>(reader.Integer("retries", 1, kRetriesMax).value_or(check.retries));
  const bool disabled = reader.Bool("disable").value_or(false);
  reader.Finish();
  if (disabled) return;
  if (test == nullptr) {
    sink_.Warning(node.at, "a healthcheck without a test is not honoured",
                  "that of an image is not read");
    return;
  }
  if (!check.argv.empty()) host.healthcheck = std::move(check);
}

void HostParser::ReadDependencies(const YamlNode& node, HostDraft& draft) {
  using Condition = DependencySpec::Condition;
  if (node.kind != YamlNode::Kind::kMap) {
    for (auto& [name, at] : ReadTexts(node, sink_))
      draft.depends_on.push_back({{name, at}, Condition::kStarted});
    return;
  }
  for (const YamlNode::Entry& entry : node.entries) {
    MapReader reader(*entry.value, absl::StrCat("depends_on ", entry.key), sink_);
    constexpr Condition kConditions[] = {Condition::kStarted, Condition::kHealthy,
                                         Condition::kCompleted};
    const int condition =
        reader.Word("condition",
                    {"service_started", "service_healthy", "service_completed_successfully"})
            .value_or(0);
    draft.depends_on.push_back({{entry.key, entry.at}, kConditions[condition]});
    reader.Ignore({"restart", "required"});
    reader.Finish();
  }
}

}  // namespace im::orchestrator
