// Command line and environment of im-tunnel.

#ifndef IM_TUNNEL_IM_TUNNEL_OPTIONS_H_
#define IM_TUNNEL_IM_TUNNEL_OPTIONS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/log.h"

namespace im::tunnel {

inline constexpr char kImTunnelUsage[] =
    "Usage: im-tunnel [OPTION]... INTERFACE\n"
    "\n"
    "Makes a WireGuard interface, to be configured with wg(8), ip(8) or wg-quick(8).\n"
    "\n"
    "  -f, --foreground     stay in the foreground (also WG_PROCESS_FOREGROUND=1)\n"
    "      --backend WHICH  userspace (default), kernel, or auto: the kernel's where\n"
    "                       it has one\n"
    "      --drops          print what the running INTERFACE has dropped, by reason\n"
    "  -h, --help           print this text\n"
    "      --version        print the version\n"
    "\n"
    "Environment:\n"
    "  LOG_LEVEL            debug (or verbose), info, warning, error, silent; where it\n"
    "                       is not set, a process in the background is silent\n"
    "  WG_TUN_FD            descriptor of a TUN device to use\n"
    "  WG_UAPI_FD           descriptor of a listening Unix socket to use\n"
    "\n"
    "SIGTERM, SIGINT, removing the interface and removing its socket file end it.\n"
    "SIGUSR1 logs what was dropped, by reason. SIGUSR2 renews all sessions: for whoever\n"
    "takes up a saved state of the process.\n";

struct ImTunnelOptions {
  enum class Action { kRun, kDrops, kHelp, kVersion };
  enum class Backend { kUserspace, kKernel, kAuto };

  Action action = Action::kRun;
  std::string interface_name;
  bool foreground = false;
  Backend backend = Backend::kUserspace;
  LogLevel log_level = LogLevel::kWarning;
  bool log_level_set = false;  // LOG_LEVEL names one
  std::optional<int> tun_fd;
  std::optional<int> uapi_fd;
};

// `arguments` without the program's name; `env` gives a variable's value or
// null. InvalidArgument says what is wrong.
absl::StatusOr<ImTunnelOptions> ParseImTunnelOptions(
    const std::vector<std::string>& arguments,
    const std::function<const char*(const char*)>& env);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_IM_TUNNEL_OPTIONS_H_
