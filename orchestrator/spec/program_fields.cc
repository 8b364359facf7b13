// HostParser, second half: what a host's program is run with.

#include <signal.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {
namespace {

// All of setrlimit(2).
constexpr absl::string_view kUlimitNames[] = {
    "as",     "core", "cpu",    "data", "fsize",  "locks",      "memlock", "msgqueue",
    "nice",   "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};

// Less than a page of the program's own: it would never start.
constexpr uint64_t kMemLimitMin = 1 << 20;
constexpr double kCpusMax = 1024;
constexpr int64_t kLogFilesMax = 1000;
constexpr uint64_t kLogSizeMin = 4096;

struct StopSignal {
  const char* name;
  int number;
};
constexpr StopSignal kStopSignals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},     {"QUIT", SIGQUIT},   {"ABRT", SIGABRT},
    {"KILL", SIGKILL}, {"USR1", SIGUSR1},   {"USR2", SIGUSR2},   {"PIPE", SIGPIPE},
    {"ALRM", SIGALRM}, {"TERM", SIGTERM},   {"CONT", SIGCONT},   {"WINCH", SIGWINCH},
    {"PWR", SIGPWR},   {"STOP", SIGSTOP}};

bool IsUserPart(absl::string_view part) {
  return !part.empty() && part.size() <= 32 && std::all_of(part.begin(), part.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}

}  // namespace

std::string HostParser::Absolute(const std::string& path) const {
  if (absl::StartsWith(path, "/")) return path;
  absl::string_view rest = path;
  absl::ConsumePrefix(&rest, "./");
  if (rest.empty() || rest == ".") return base_directory_;
  return absl::StrCat(base_directory_ == "/" ? "" : base_directory_, "/", rest);
}

void HostParser::ReadProgram(MapReader& reader, HostSpec& host) {
  ReadEnvironment(reader, host);
  if (auto directory = reader.Text("working_dir")) {
    host.working_dir = Absolute(*directory);
  } else if (host.working_dir.empty()) {
    host.working_dir = base_directory_;
  }
  if (const YamlNode* node = reader.Get("user")) ReadUser(*node, host);
  if (const YamlNode* node = reader.Get("volumes")) {
    if (node->kind != YamlNode::Kind::kSequence) {
      sink_.Error(node->at, absl::StrCat("volumes: expected a list, found ", node->KindName()));
    }
    for (const auto& item : node->items) {
      if (auto mount = ParseMount(*item, base_directory_, sink_)) host.mounts.push_back(*mount);
    }
  }
  if (const YamlNode* node = reader.Get("tmpfs")) {
    for (const auto& [text, at] : ReadTexts(*node, sink_)) {
      if (auto mount = ParseTmpfs(text, at, sink_)) host.mounts.push_back(*mount);
    }
  }
  if (const YamlNode* node = reader.Get("stop_signal")) ReadStopSignal(*node, host);
  if (auto grace = reader.Time("stop_grace_period")) host.stop_grace_period = *grace;
  if (const YamlNode* node = reader.Get("ulimits")) ReadUlimits(*node, host);
  if (auto limit = reader.Size("mem_limit")) {
    if (*limit != 0 && *limit < kMemLimitMin) {
      sink_.Error(reader.Get("mem_limit")->at, "mem_limit must be at least 1m");
    }
    host.mem_limit_bytes = *limit;
  }
  if (const YamlNode* node = reader.Get("cpus")) ReadCpus(*node, host);
  if (const YamlNode* node = reader.Get("logging")) ReadLogging(*node, host.logging);
}

void HostParser::ReadEnvironment(MapReader& reader, HostSpec& host) {
  if (const YamlNode* node = reader.Get("env_file")) {
    std::vector<const YamlNode*> items;
    if (node->kind == YamlNode::Kind::kSequence) {
      for (const auto& item : node->items) items.push_back(item.get());
    } else {
      items.push_back(node);
    }
    for (const YamlNode* item : items) {
      if (item->kind == YamlNode::Kind::kMap) {
        MapReader file(*item, "env_file", sink_);
        const auto path = file.Text("path");
        const bool required = file.Bool("required").value_or(true);
        if (path) {
          ReadEnvFile(*path, file.Get("path")->at, required, host);
        } else {
          sink_.Error(item->at, "env_file: path is missing");
        }
        file.NotHonoured({"format"});
        file.Finish();
      } else if (auto path = ReadText(*item, sink_)) {
        ReadEnvFile(*path, item->at, /*required=*/true, host);
      }
    }
  }
  const YamlNode* node = reader.Get("environment");
  if (node == nullptr) return;
  // A name without a value passes on the variable of whoever runs `im up`.
  const auto pass_on = [&](const std::string& name) {
    if (auto value = lookup_(name)) host.environment[name] = *value;
  };
  if (node->kind == YamlNode::Kind::kMap) {
    for (const YamlNode::Entry& entry : node->entries) {
      if (entry.key.empty() || absl::StrContains(entry.key, "=")) {
        sink_.Error(entry.at, absl::StrCat(Quote(entry.key), " is no name of a variable"));
      } else if (entry.value->kind == YamlNode::Kind::kNull) {
        pass_on(entry.key);
      } else if (auto value = ReadText(*entry.value, sink_)) {
        host.environment[entry.key] = *value;
      }
    }
    return;
  }
  for (const auto& [text, at] : ReadTexts(*node, sink_)) {
    const size_t equals = text.find('=');
    if (text.empty() || equals == 0) {
      sink_.Error(at, absl::StrCat("expected NAME=value, found ", Quote(text)));
    } else if (equals == std::string::npos) {
      pass_on(text);
    } else {
      host.environment[text.substr(0, equals)] = text.substr(equals + 1);
    }
  }
}

void HostParser::ReadEnvFile(const std::string& path, SourcePosition at, bool required,
                             HostSpec& host) {
  const auto text = sources_.read_file(Absolute(path));
  if (!text.ok()) {
    if (required) {
      sink_.Error(at, absl::StrCat("env_file: ", std::string(text.status().message())));
    }
    return;
  }
  DiagnosticSink file_sink(path);
  for (auto& [name, value] : ParseEnvFile(*text, lookup_, file_sink)) {
    host.environment[name] = std::move(value);
  }
  sink_.Absorb(file_sink);
}

void HostParser::ReadUser(const YamlNode& node, HostSpec& host) {
  const auto text = ReadText(node, sink_);
  if (!text) return;
  const size_t colon = text->find(':');
  const bool good = colon == std::string::npos
                        ? IsUserPart(*text)
                        : IsUserPart(text->substr(0, colon)) && IsUserPart(text->substr(colon + 1));
  if (!good) {
    sink_.Error(node.at, absl::StrCat("user: ", Quote(*text), " is not a user"),
                "users look like redis, 1000, www-data:adm or 1000:1000");
    return;
  }
  host.user = *text;
}

std::optional<std::string> HostParser::SignalName(absl::string_view text) {
  absl::ConsumePrefix(&text, "SIG");
  int number = 0;
  const bool numeric = absl::SimpleAtoi(text, &number);
  for (const StopSignal& signal : kStopSignals) {
    if (numeric ? number == signal.number : text == signal.name)
      return absl::StrCat("SIG", signal.name);
  }
  return std::nullopt;
}

void HostParser::ReadStopSignal(const YamlNode& node, HostSpec& host) {
  const auto text = ReadText(node, sink_);
  if (!text) return;
  if (const auto name = SignalName(*text)) {
    host.stop_signal = *name;
    return;
  }
  sink_.Error(node.at, absl::StrCat("stop_signal: ", Quote(*text), " is not known"),
              "signals look like SIGTERM, SIGINT, SIGQUIT");
}

void HostParser::ReadUlimits(const YamlNode& node, HostSpec& host) {
  if (node.kind != YamlNode::Kind::kMap) {
    sink_.Error(node.at, absl::StrCat("ulimits: expected a mapping, found ", node.KindName()));
    return;
  }
  const auto read = [&](const YamlNode& value) -> std::optional<uint64_t> {
    if (value.kind == YamlNode::Kind::kScalar && (value.scalar == "unlimited")) return UINT64_MAX;
    const auto number = ReadInteger(value, -1, INT64_MAX, sink_);
    if (!number) return std::nullopt;
    return *number == -1 ? UINT64_MAX : static_cast<uint64_t>(*number);
  };
  const std::vector<absl::string_view> names(std::begin(kUlimitNames), std::end(kUlimitNames));
  for (const YamlNode::Entry& entry : node.entries) {
    if (std::find(names.begin(), names.end(), entry.key) == names.end()) {
      const absl::string_view nearest = Nearest(entry.key, names);
      sink_.Error(entry.at, absl::StrCat("ulimits: unknown limit ", Quote(entry.key)),
                  nearest.empty() ? "" : absl::StrCat("did you mean \"", nearest, "\"?"));
      continue;
    }
    if (entry.value->kind != YamlNode::Kind::kMap) {
      if (auto value = read(*entry.value)) host.ulimits[entry.key] = *value;
      continue;
    }
    MapReader limits(*entry.value, absl::StrCat("ulimits.", entry.key), sink_);
    std::vector<uint64_t> values;  // the soft one first
    for (absl::string_view which : {"soft", "hard"}) {
      const YamlNode* limit = limits.Get(which);
      if (limit == nullptr) continue;
      if (auto value = read(*limit)) values.push_back(*value);
    }
    limits.Finish();
    if (values.empty()) continue;
    if (values.front() != values.back()) {
      sink_.Warning(entry.at, absl::StrCat("ulimits.", entry.key,
                                           ": the soft limit is used for both"));
    }
    host.ulimits[entry.key] = values.front();
  }
}

void HostParser::ReadCpus(const YamlNode& node, HostSpec& host) {
  double cpus = 0;
  if (node.kind == YamlNode::Kind::kScalar && absl::SimpleAtod(node.scalar, &cpus) &&
      cpus >= 0 && cpus <= kCpusMax) {
    host.cpus = cpus;
    return;
  }
  sink_.Error(node.at, "expected a number of cores, such as 0.5 or 2");
}

void HostParser::ReadLogging(const YamlNode& node, LogSpec& logging) {
  MapReader reader(node, "logging", sink_);
  const auto read = [&](MapReader& from, absl::string_view size, absl::string_view files) {
    if (auto bytes = from.Size(size)) {
      if (*bytes < kLogSizeMin) {
        sink_.Error(from.Get(size)->at, absl::StrCat(size, " must be at least 4k"));
      }
      logging.max_size_bytes = *bytes;
    }
    if (auto count = from.Integer(files, 1, kLogFilesMax)) {
      logging.files_max = static_cast<uint32_t>(*count);
    }
  };
  read(reader, "max_size", "files");
  if (const YamlNode* driver = reader.Get("driver")) {
    const auto name = ReadText(*driver, sink_);
    if (name && *name != "local" && *name != "json-file") {
      sink_.Warning(driver->at, absl::StrCat("logging driver ", Quote(*name),
                                             " is not honoured: output goes to files"),
                    "im logs HOST shows them");
    }
  }
  if (const YamlNode* options = reader.Get("options")) {
    MapReader from(*options, "logging.options", sink_);
    read(from, "max-size", "max-file");
    // Options of other drivers are as many as drivers.
    for (const YamlNode::Entry& entry : options->entries) {
      if (entry.key != "max-size" && entry.key != "max-file") {
        sink_.Warning(entry.at, absl::StrCat("logging option ", Quote(entry.key),
                                             " is not honoured"));
      }
    }
  }
  reader.Finish();
}

}  // namespace im::orchestrator
