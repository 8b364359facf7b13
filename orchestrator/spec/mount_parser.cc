// `volumes:` and `tmpfs:`: "./data:/data", "name:/data:ro", "/data", or a
// mapping of type, source and target.

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {
namespace {

constexpr char kVolumeHint[] = "volumes look like ./data:/data, name:/data or ./conf:/conf:ro";

bool CheckTarget(absl::string_view target, SourcePosition at, DiagnosticSink& sink) {
  if (target.size() > 1 && target[0] == '/' && !absl::StrContains(target, "/../")) return true;
  sink.Error(at, absl::StrCat("the path inside the host must be absolute, found ", Quote(target)),
             kVolumeHint);
  return false;
}

bool IsPath(absl::string_view source) {
  return absl::StartsWith(source, "/") || absl::StartsWith(source, ".") ||
         absl::StartsWith(source, "~");
}

// Sets kind and source from what stands before the colon.
bool SetSource(absl::string_view source, const std::string& base_directory, SourcePosition at,
               MountSpec& mount, DiagnosticSink& sink) {
  if (!IsPath(source)) {
    mount.kind = MountSpec::Kind::kVolume;
    mount.source = std::string(source);
    if (IsHostName(source)) return true;
    sink.Error(at, absl::StrCat(Quote(source), " cannot be a volume's name"),
               "paths begin with / or ./; names are of lower-case letters, digits, - and _");
    return false;
  }
  if (absl::StartsWith(source, "~")) {
    sink.Error(at, "~ is not known here", "write the whole path");
    return false;
  }
  mount.kind = MountSpec::Kind::kBind;
  absl::ConsumePrefix(&source, "./");
  if (absl::StartsWith(source, "/")) {
    mount.source = std::string(source);
  } else if (source == ".") {
    mount.source = base_directory;
  } else {
    mount.source = absl::StrCat(base_directory == "/" ? "" : base_directory, "/", source);
  }
  return true;
}

std::optional<MountSpec> ParseShortForm(const std::string& text, const std::string& base_directory,
                                        SourcePosition at, DiagnosticSink& sink) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  MountSpec mount;
  if (parts.size() == 1) {
    // An anonymous volume lives as long as its host's instance.
    mount.kind = MountSpec::Kind::kTmpfs;
    mount.target = text;
    return CheckTarget(text, at, sink) ? std::optional(mount) : std::nullopt;
  }
  if (parts.size() > 3 || parts[0].empty()) {
    sink.Error(at, absl::StrCat(Quote(text), " is not a volume"), kVolumeHint);
    return std::nullopt;
  }
  bool good = SetSource(parts[0], base_directory, at, mount, sink);
  mount.target = std::string(parts[1]);
  good = CheckTarget(parts[1], at, sink) && good;
  if (parts.size() == 3) {
    for (absl::string_view option : absl::StrSplit(parts[2], ',')) {
      if (option == "ro") {
        mount.read_only = true;
      } else if (option != "rw" && option != "z" && option != "Z" && option != "cached" &&
                 option != "delegated" && option != "consistent") {
        sink.Error(at, absl::StrCat("unknown option ", Quote(option), " of a volume"),
                   "known are ro and rw");
        good = false;
      }
    }
  }
  return good ? std::optional(mount) : std::nullopt;
}

}  // namespace

std::optional<MountSpec> ParseTmpfs(const std::string& text, SourcePosition at,
                                    DiagnosticSink& sink) {
  const absl::string_view target = absl::string_view(text).substr(0, text.find(':'));
  if (target.size() != text.size()) {
    sink.Warning(at, "options of a tmpfs are not honoured yet");
  }
  if (!CheckTarget(target, at, sink)) return std::nullopt;
  MountSpec mount;
  mount.kind = MountSpec::Kind::kTmpfs;
  mount.target = std::string(target);
  return mount;
}

std::optional<MountSpec> ParseMount(const YamlNode& node, const std::string& base_directory,
                                    DiagnosticSink& sink) {
  if (node.kind != YamlNode::Kind::kMap) {
    const auto text = ReadText(node, sink);
    return text ? ParseShortForm(*text, base_directory, node.at, sink) : std::nullopt;
  }
  MapReader reader(node, "volume", sink);
  const auto type = reader.Word("type", {"bind", "volume", "tmpfs"});
  const auto source = reader.Text("source");
  const auto target = reader.Text("target");
  MountSpec mount;
  mount.read_only = reader.Bool("read_only").value_or(false);
  reader.Ignore({"consistency"});
  reader.NotHonoured({"bind", "volume", "tmpfs", "image"});
  reader.Finish();
  if (!target) {
    if (node.Find("target") == nullptr) sink.Error(node.at, "volume: target is missing");
    return std::nullopt;
  }
  mount.target = *target;
  bool good = CheckTarget(*target, reader.Get("target")->at, sink);
  if (type == 2 || (!source && type != 0)) {
    mount.kind = MountSpec::Kind::kTmpfs;
  } else if (!source) {
    sink.Error(node.at, "volume: source is missing");
    good = false;
  } else {
    good = SetSource(*source, base_directory, reader.Get("source")->at, mount, sink) && good;
    if (type && good && (*type == 0) != (mount.kind == MountSpec::Kind::kBind)) {
      sink.Error(reader.Get("source")->at,
                 *type == 0 ? "volume: a bind needs a path that begins with / or ./"
                            : "volume: a volume needs a name, not a path");
      good = false;
    }
  }
  return good ? std::optional(mount) : std::nullopt;
}

}  // namespace im::orchestrator
