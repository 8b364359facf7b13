#include "orchestrator/image/image_config.h"

#include <sys/utsname.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace im::orchestrator {
namespace {

using Json = nlohmann::json;

constexpr size_t kNameBytesMax = 255;
constexpr size_t kTagBytesMax = 128;

absl::Status WrongType(absl::string_view field, absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("the image's configuration: ", field, " is not ", expected));
}

absl::Status ReadText(const Json& from, const char* field, std::string& to) {
  const auto it = from.find(field);
  if (it == from.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_string()) return WrongType(field, "text");
  to = it->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadTexts(const Json& from, const char* field, std::vector<std::string>& to) {
  const auto it = from.find(field);
  if (it == from.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_array()) return WrongType(field, "a list");
  for (const Json& item : *it) {
    if (!item.is_string()) return WrongType(field, "a list of texts");
    to.push_back(item.get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status Read(const Json& root, ImageConfig& config) {
  if (absl::Status status = ReadText(root, "architecture", config.architecture); !status.ok())
    return status;
  const auto it = root.find("config");
  if (it == root.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_object()) return WrongType("config", "an object");
  for (const auto& [field, to] : {std::pair("Env", &config.environment),
                                  {"Entrypoint", &config.entrypoint},
                                  {"Cmd", &config.command}}) {
    if (absl::Status status = ReadTexts(*it, field, *to); !status.ok()) return status;
  }
  for (const auto& [field, to] : {std::pair("WorkingDir", &config.working_dir),
                                  {"User", &config.user},
                                  {"StopSignal", &config.stop_signal}}) {
    if (absl::Status status = ReadText(*it, field, *to); !status.ok()) return status;
  }
  const auto ports = it->find("ExposedPorts");
  if (ports == it->end() || ports->is_null()) return absl::OkStatus();
  if (!ports->is_object()) return WrongType("ExposedPorts", "an object");
  for (const auto& [port, nothing] : ports->items()) config.exposed_ports.push_back(port);
  return absl::OkStatus();
}

bool IsPathComponent(absl::string_view text) {
  const auto is_word = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !text.empty() && is_word(text.front()) && is_word(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return is_word(c) || c == '.' || c == '_' || c == '-';
         });
}

// The first part of a path that may be a registry's host and port.
bool IsRegistry(absl::string_view text) {
  const size_t colon = text.find(':');
  if (colon == absl::string_view::npos) return IsPathComponent(text);
  const absl::string_view port = text.substr(colon + 1);
  return IsPathComponent(text.substr(0, colon)) && !port.empty() &&
         std::all_of(port.begin(), port.end(), absl::ascii_isdigit);
}

bool IsTag(absl::string_view text) {
  return !text.empty() && text.size() <= kTagBytesMax && text[0] != '.' && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

}  // namespace

std::string ImageConfig::ToJson() const {
  Json ports = Json::object();
  for (const std::string& port : exposed_ports) ports[port] = Json::object();
  const Json root = {{"architecture", architecture},
                     {"config",
                      {{"Env", environment},
                       {"Entrypoint", entrypoint},
                       {"Cmd", command},
                       {"WorkingDir", working_dir},
                       {"User", user},
                       {"StopSignal", stop_signal},
                       {"ExposedPorts", ports}}}};
  // What is no UTF-8 stays readable.
  return root.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<ImageConfig> ParseImageConfig(absl::string_view json) {
  if (json.size() > kImageJsonBytesMax)
    return absl::InvalidArgumentError("the image's configuration is too large");
  const Json root = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object())
    return absl::InvalidArgumentError("the image's configuration is no JSON object");
  ImageConfig config;
  if (absl::Status status = Read(root, config); !status.ok()) return status;
  return config;
}

absl::StatusOr<std::string> CanonicalImageName(absl::string_view name) {
  const std::string given(name);
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("\"", given, "\" ", why));
  };
  if (name.find('@') != absl::string_view::npos)
    return bad("names an image by its digest; names here are NAME or NAME:TAG");
  while (absl::ConsumePrefix(&name, "docker.io/library/") ||
         absl::ConsumePrefix(&name, "docker.io/")) {
  }
  absl::string_view tag = "latest";
  const size_t slash = name.rfind('/');
  const size_t colon = name.rfind(':');
  if (colon != absl::string_view::npos && (slash == absl::string_view::npos || colon > slash)) {
    tag = name.substr(colon + 1);
    name = name.substr(0, colon);
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  bool good = name.size() <= kNameBytesMax && IsTag(tag) && IsPathComponent(parts.back());
  for (size_t i = 0; good && i + 1 < parts.size(); ++i)
    good = i == 0 ? IsRegistry(parts[i]) : IsPathComponent(parts[i]);
  if (!good) return bad("is no name of an image; they look like redis:7 or example.org/team/web");
  return absl::StrCat(name, ":", tag);
}

std::string MachineArchitecture() {
  utsname names{};
  uname(&names);
  const absl::string_view machine = names.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return std::string(machine);
}

}  // namespace im::orchestrator
