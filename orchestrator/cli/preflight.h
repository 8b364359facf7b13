// What the machine must permit before a cluster is started, tried out rather
// than guessed: network, mount, UTS and PID namespaces, mounts that the machine
// does not see, and a TUN device.

#ifndef IM_ORCHESTRATOR_CLI_PREFLIGHT_H_
#define IM_ORCHESTRATOR_CLI_PREFLIGHT_H_

#include <optional>
#include <string>

namespace im::orchestrator::cli {

struct Preflight {
  bool root = false;
  int namespaces_errno = 0;  // of unshare(2); 0: permitted
  int mounts_errno = 0;      // of making the new namespace's mounts private
  int tun_errno = 0;         // of /dev/net/tun; 0: usable
};

// Tries in a child process; nothing is left of it.
Preflight TryMachine();

// What is missing and what to do about it; nullopt if nothing is.
std::optional<std::string> ExplainPreflight(const Preflight& preflight);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_PREFLIGHT_H_
