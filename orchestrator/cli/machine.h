// What this machine permits, tried out rather than guessed, for im doctor.
//
// Each trial is small, leaves nothing behind, and is made in a child process
// where it would change us. An ordinary user may try everything; what only root
// may find out stays unknown (nullopt).

#ifndef IM_ORCHESTRATOR_CLI_MACHINE_H_
#define IM_ORCHESTRATOR_CLI_MACHINE_H_

#include <optional>
#include <string>

#include "orchestrator/cli/preflight.h"

namespace im::orchestrator::cli {

struct Machine {
  std::string kernel;  // "6.18.2-amd64"
  Preflight preflight;
  int user_namespace_errno = 0;  // of unshare(CLONE_NEWUSER)
  std::optional<bool> tun_uso;   // UDP super-packets of a TUN device

  enum class Cgroups { kNone, kV1, kV2, kHybrid };
  Cgroups cgroups = Cgroups::kNone;
  enum class Freezer { kSignals, kV1, kV2 };
  Freezer freezer = Freezer::kSignals;
  int cgroup_errno = 0;       // of making one; 0: may be made
  bool memory_limits = false;  // a memory controller is there
  bool cgroup_reclaim = false;  // memory.reclaim
  bool process_madvise = false;
  uint64_t swap_bytes = 0;
  bool zram = false;

  int seccomp_errno = 0;       // of a filter with a notification descriptor
  bool seccomp_wait_killable = false;  // 5.19
  bool seccomp_sync_wake_up = false;   // 6.6
  int pidfd_getfd_errno = 0;   // of taking a child's descriptor
  int yama = -1;               // kernel.yama.ptrace_scope; -1: none

  bool udp_gso = true;
  bool udp_gro = true;
  bool ipsec_mb = false;
  enum class WireGuard { kNone, kModule, kLoaded };
  WireGuard wireguard = WireGuard::kNone;

  std::string criu_version;              // empty: there is none
  std::optional<bool> criu_check;        // root alone
  std::string criu_says;                 // its last line

  uint64_t descriptors_max = 0;  // hard limit
};

Machine ExamineMachine();

// The first two numbers of a version: "6.18.2-amd64", "4.2.1"; {0, 0} if there
// are none.
struct Version {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};
Version ParseVersion(const std::string& text);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_MACHINE_H_
