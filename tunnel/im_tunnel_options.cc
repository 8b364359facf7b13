#include "tunnel/im_tunnel_options.h"

#include <net/if.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace im::tunnel {
namespace {

using Backend = ImTunnelOptions::Backend;

std::optional<Backend> ParseBackend(const std::string& text) {
  if (text == "userspace") return Backend::kUserspace;
  if (text == "kernel") return Backend::kKernel;
  if (text == "auto") return Backend::kAuto;
  return std::nullopt;
}

std::optional<LogLevel> ParseLogLevel(const std::string& text) {
  if (text == "debug" || text == "verbose") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  if (text == "silent") return LogLevel::kSilent;
  return std::nullopt;
}

// What the kernel takes, and what is safe as part of a socket's path.
bool IsInterfaceName(const std::string& name) {
  return !name.empty() && name.size() < IFNAMSIZ && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) {
           return c <= ' ' || c == '/' || c == ':' || c == '%' || c >= 0x7f;
         });
}

absl::Status ReadDescriptor(const char* variable, const char* value, std::optional<int>& out) {
  if (value == nullptr || *value == '\0') return absl::OkStatus();
  int fd;
  if (!absl::SimpleAtoi(value, &fd) || fd < 0) {
    return absl::InvalidArgumentError(absl::StrCat(variable, "=", value, ": not a descriptor"));
  }
  out = fd;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ImTunnelOptions> ParseImTunnelOptions(
    const std::vector<std::string>& arguments,
    const std::function<const char*(const char*)>& env) {
  ImTunnelOptions options;
  const auto bad = [](const std::string& what) { return absl::InvalidArgumentError(what); };
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    std::optional<std::string> backend;
    if (argument == "-h" || argument == "--help") {
      options.action = ImTunnelOptions::Action::kHelp;
      return options;
    } else if (argument == "--version") {
      options.action = ImTunnelOptions::Action::kVersion;
      return options;
    } else if (argument == "--drops") {
      options.action = ImTunnelOptions::Action::kDrops;
    } else if (argument == "-f" || argument == "--foreground") {
      options.foreground = true;
    } else if (argument == "--backend") {
      if (++i == arguments.size()) return bad("--backend needs a value");
      backend = arguments[i];
    } else if (argument.rfind("--backend=", 0) == 0) {
      backend = argument.substr(std::string("--backend=").size());
    } else if (!argument.empty() && argument[0] == '-') {
      return bad(absl::StrCat("unknown option ", argument));
    } else if (!options.interface_name.empty()) {
      return bad(absl::StrCat("one interface, not also \"", argument, "\""));
    } else if (!IsInterfaceName(argument)) {
      return bad(absl::StrCat("\"", argument, "\" is no name for a network interface"));
    } else {
      options.interface_name = argument;
    }
    if (backend) {
      const std::optional<Backend> parsed = ParseBackend(*backend);
      if (!parsed) {
        return bad(absl::StrCat("--backend ", *backend, ": not userspace, kernel or auto"));
      }
      options.backend = *parsed;
    }
  }
  if (options.interface_name.empty()) return bad("which interface?");

  if (const char* value = env("WG_PROCESS_FOREGROUND"); value && std::string(value) == "1") {
    options.foreground = true;
  }
  if (const char* value = env("LOG_LEVEL"); value && *value != '\0') {
    // The variable has many users: a word that is none of ours stops nothing.
    options.log_level = ParseLogLevel(value).value_or(options.log_level);
    options.log_level_set = true;
  }
  if (absl::Status status = ReadDescriptor("WG_TUN_FD", env("WG_TUN_FD"), options.tun_fd);
      !status.ok()) {
    return status;
  }
  if (absl::Status status = ReadDescriptor("WG_UAPI_FD", env("WG_UAPI_FD"), options.uapi_fd);
      !status.ok()) {
    return status;
  }
  return options;
}

}  // namespace im::tunnel
