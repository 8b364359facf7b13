#include "orchestrator/cli/doctor_report.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/cli/json.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

using State = Finding::State;

// Before it, UDP_GRO cannot be relied upon; before those, a checkpoint cannot.
constexpr Version kNewSocketOptions{6, 16};  // needs CRIU 4.2
constexpr Version kCriuForNewKernels{4, 2};

absl::string_view StateName(State state) {
  switch (state) {
    case State::kFine:
      return "ok";
    case State::kLacking:
      return "lacking";
    case State::kMissing:
      return "missing";
    case State::kUnknown:
      return "unknown";
    case State::kNeutral:
      return "info";
  }
  return "";
}

std::string ErrorText(int error) { return strerrordesc_np(error) ? strerrordesc_np(error) : ""; }

Finding Namespaces(const Machine& machine) {
  Finding finding{.name = "namespaces"};
  const Preflight& preflight = machine.preflight;
  if (preflight.namespaces_errno == 0 && preflight.mounts_errno == 0) {
    finding.found = "network, mount, UTS and PID namespaces may be made";
    return finding;
  }
  finding.state = State::kMissing;
  finding.found = preflight.namespaces_errno != 0
                      ? absl::StrCat("may not be made: ", ErrorText(preflight.namespaces_errno))
                      : absl::StrCat("mounts cannot be made private: ",
                                     ErrorText(preflight.mounts_errno));
  finding.costs = "no attach: tun: hosts share the machine's files, processes and host name";
  finding.remedy = !preflight.root ? "run im with sudo"
                   : preflight.namespaces_errno == EPERM || preflight.mounts_errno == EACCES
                       ? "in a container: docker run --privileged"
                   : preflight.mounts_errno == EINVAL
                       ? "this is a chroot whose / is no mount: mount --bind it on itself first"
                       : "a kernel with CONFIG_NET_NS and CONFIG_PID_NS";
  return finding;
}

Finding UserNamespaces(const Machine& machine) {
  return {.name = "user namespaces",
          .state = State::kNeutral,
          .found = machine.user_namespace_errno == 0
                       ? "may be made (clusters do not need them)"
                       : absl::StrCat("may not be made (clusters do not need them): ",
                                      ErrorText(machine.user_namespace_errno))};
}

Finding Tun(const Machine& machine) {
  Finding finding{.name = "TUN devices"};
  const int error = machine.preflight.tun_errno;
  if (error != 0) {
    finding.state = State::kMissing;
    finding.found = absl::StrCat("/dev/net/tun: ", ErrorText(error));
    finding.costs = "no attach: tun: hosts have no network of the kernel's";
    finding.remedy = !machine.preflight.root ? "run im with sudo"
                     : error == ENOENT || error == ENODEV || error == ENXIO
                         ? "modprobe tun; in a container: --device /dev/net/tun"
                         : "in a container: --cap-add NET_ADMIN --device /dev/net/tun";
    return finding;
  }
  finding.found = "usable";
  if (!machine.tun_uso.has_value()) return finding;
  if (*machine.tun_uso) {
    finding.found = "usable, with UDP super-packets (USO)";
  } else {
    finding.state = State::kLacking;
    finding.found = "usable, without UDP super-packets (USO)";
    finding.costs = "bulk UDP between hosts costs about twice the CPU";
    finding.remedy = "Linux 6.2 or newer";
  }
  return finding;
}

Finding Freezer(const Machine& machine) {
  constexpr const char* kKinds[] = {"no cgroups", "cgroups of version 1", "cgroups of version 2",
                                    "cgroups of both versions"};
  const std::string kind = kKinds[static_cast<int>(machine.cgroups)];
  Finding finding{.name = "pausing"};
  switch (machine.freezer) {
    case Machine::Freezer::kV2:
      finding.found = kind + ", freezer of version 2";
      return finding;
    case Machine::Freezer::kV1:
      finding.found = kind + ", freezer of version 1";
      return finding;
    case Machine::Freezer::kSignals:
      break;
  }
  finding.state = State::kLacking;
  finding.found = absl::StrCat(kind, ", none may be made: ", ErrorText(machine.cgroup_errno),
                               "; hosts are paused by SIGSTOP");
  finding.costs = "parents may see their children stop; mem_limit and cpus have no effect";
  finding.remedy = machine.preflight.root ? "mount /sys/fs/cgroup writable"
                                          : "run im with sudo, or get a cgroup delegated "
                                            "(systemd-run --user -p Delegate=yes)";
  return finding;
}

Finding MemoryLimits(const Machine& machine) {
  Finding finding{.name = "memory limits"};
  if (machine.memory_limits) {
    finding.found = "there is a memory controller";
  } else {
    finding.state = State::kLacking;
    finding.found = "no memory controller";
    finding.costs = "mem_limit has no effect";
    finding.remedy = "boot with cgroup_enable=memory";
  }
  return finding;
}

Finding Reclaim(const Machine& machine) {
  Finding finding{.name = "memory of paused hosts"};
  std::vector<std::string> ways;
  if (machine.process_madvise) ways.push_back("process_madvise");
  if (machine.cgroup_reclaim) ways.push_back("memory.reclaim");
  const std::string swap =
      machine.swap_bytes == 0 ? "no swap"
                              : absl::StrCat(FormatSize(machine.swap_bytes), " of swap",
                                             machine.zram ? " (zram)" : "");
  finding.found = absl::StrCat(ways.empty() ? "cannot be pushed out" : absl::StrJoin(ways, ", "),
                               "; ", swap);
  if (!ways.empty() && machine.swap_bytes > 0) return finding;
  finding.state = State::kLacking;
  finding.costs = "paused hosts keep their memory";
  finding.remedy = ways.empty() ? "Linux 5.10 or newer"
                                : "add swap, or zram: apt-get install zram-tools";
  return finding;
}

Finding Seccomp(const Machine& machine) {
  Finding finding{.name = "interception"};
  if (machine.seccomp_errno != 0) {
    finding.state = State::kMissing;
    finding.found = absl::StrCat("no seccomp notification: ", ErrorText(machine.seccomp_errno));
    finding.costs = "no attach: netstack: programs cannot run without privileges";
    finding.remedy = machine.seccomp_errno == EBUSY
                         ? "another one watches this process (a container's or a sandbox's); "
                           "run im outside of it"
                         : "Linux 5.14 with CONFIG_SECCOMP_FILTER; in a container: "
                           "--security-opt seccomp=unconfined";
    return finding;
  }
  finding.found = "seccomp notification";
  if (!machine.seccomp_wait_killable) {
    finding.state = State::kLacking;
    finding.found += ", which signals interrupt";
    finding.costs = "programs in Go repeat calls endlessly with attach: netstack";
    finding.remedy = "Linux 5.19 or newer";
  } else if (!machine.seccomp_sync_wake_up) {
    finding.state = State::kLacking;
    finding.found += ", without SYNC_WAKE_UP";
    finding.costs = "socket calls with attach: netstack take 10 times as long (40 instead of 4 us)";
    finding.remedy = "Linux 6.6 or newer";
  } else {
    finding.found += ", with WAIT_KILLABLE_RECV and SYNC_WAKE_UP";
  }
  return finding;
}

Finding Descriptors(const Machine& machine) {
  Finding finding{.name = "descriptors of children"};
  const std::string yama =
      machine.yama >= 0 ? absl::StrCat("; kernel.yama.ptrace_scope = ", machine.yama) : "";
  if (machine.pidfd_getfd_errno == 0) {
    finding.found = "pidfd_getfd works" + yama;
    return finding;
  }
  finding.state = State::kMissing;
  finding.found =
      absl::StrCat("pidfd_getfd: ", ErrorText(machine.pidfd_getfd_errno), yama);
  finding.costs = "no attach: netstack: programs cannot run without privileges";
  finding.remedy = machine.yama > 1 ? "sysctl kernel.yama.ptrace_scope=1"
                                    : "Linux 5.6 or newer; in a container: --cap-add SYS_PTRACE";
  return finding;
}

Finding UdpOffload(const Machine& machine) {
  Finding finding{.name = "UDP offload"};
  finding.found = absl::StrCat("UDP_SEGMENT ", machine.udp_gso ? "works" : "does not work",
                               ", UDP_GRO ", machine.udp_gro ? "works" : "does not work");
  if (machine.udp_gso && machine.udp_gro) return finding;
  finding.state = State::kLacking;
  finding.costs = "bulk traffic between machines is several times slower";
  finding.remedy = "Linux 5.12 or newer (7.0 to 7.1.4 are broken)";
  return finding;
}

Finding Cipher(const Machine& machine) {
  Finding finding{.name = "cipher"};
  if (machine.ipsec_mb) {
    finding.found = "IPsec-MB (multi-buffer, AVX2 or AVX-512)";
    return finding;
  }
  finding.state = State::kLacking;
  finding.found = "OpenSSL";
  finding.costs = "bulk traffic costs up to 1.6 times the CPU";
  finding.remedy = "a processor with AVX2, and libipsec-mb-dev when building";
  return finding;
}

Finding WireGuard(const Machine& machine) {
  constexpr const char* kFound[] = {"none in the kernel", "a module of the kernel, not loaded",
                                    "in the kernel"};
  return {.name = "WireGuard",
          .state = State::kNeutral,
          .found = absl::StrCat(kFound[static_cast<int>(machine.wireguard)],
                                " (clusters bring their own)")};
}

Finding Checkpoints(const Machine& machine) {
  Finding finding{.name = "checkpoints"};
  const bool new_kernel = ParseVersion(machine.kernel) >= kNewSocketOptions;
  const std::string remedy =
      new_kernel ? "./setup (it builds CRIU 4.2, which Linux 6.16 and newer needs)"
                 : "apt-get install criu";
  if (machine.criu_version.empty()) {
    finding.found = "CRIU is not installed";
    finding.state = State::kLacking;
  } else if (new_kernel && ParseVersion(machine.criu_version) < kCriuForNewKernels) {
    finding.found =
        absl::StrCat("CRIU ", machine.criu_version, " is too old for Linux ", machine.kernel);
    finding.state = State::kLacking;
  } else if (machine.criu_check == false) {
    finding.found = absl::StrCat("CRIU ", machine.criu_version, ": criu check fails: ",
                                 machine.criu_says);
    finding.state = State::kLacking;
  } else if (!machine.criu_check.has_value()) {
    finding.found = absl::StrCat("CRIU ", machine.criu_version, "; only root can try criu check");
    finding.state = State::kUnknown;
    return finding;
  } else {
    finding.found = absl::StrCat("CRIU ", machine.criu_version, ", criu check passes");
    return finding;
  }
  finding.costs = "what was in a released host's memory is gone";
  finding.remedy = remedy;
  return finding;
}

Finding OpenFiles(const Machine& machine) {
  constexpr uint64_t kEnough = 65'536;
  Finding finding{.name = "open files",
                  .found = absl::StrCat("at most ", machine.descriptors_max, " a process")};
  if (machine.descriptors_max >= kEnough) return finding;
  finding.state = State::kLacking;
  finding.costs = absl::StrCat("fewer than ", machine.descriptors_max,
                               " hosts and connections of published ports at once");
  finding.remedy = "raise nofile in /etc/security/limits.conf";
  return finding;
}

Colour ColourOf(State state) {
  switch (state) {
    case State::kFine:
      return Colour::kGreen;
    case State::kLacking:
    case State::kUnknown:
      return Colour::kYellow;
    case State::kMissing:
      return Colour::kRed;
    case State::kNeutral:
      break;
  }
  return Colour::kDim;
}

}  // namespace

DoctorReport Diagnose(const Machine& machine) {
  DoctorReport report;
  report.findings = {Namespaces(machine),   Tun(machine),         Seccomp(machine),
                     Descriptors(machine),  Freezer(machine),     MemoryLimits(machine),
                     Reclaim(machine),      Checkpoints(machine), UdpOffload(machine),
                     Cipher(machine),       OpenFiles(machine),   UserNamespaces(machine),
                     WireGuard(machine)};
  report.tun = machine.preflight.namespaces_errno == 0 && machine.preflight.mounts_errno == 0 &&
               machine.preflight.tun_errno == 0;
  report.netstack = machine.seccomp_errno == 0 && machine.pidfd_getfd_errno == 0;
  return report;
}

std::string VerdictText(const DoctorReport& report) {
  if (report.tun) return "Clusters run here, with networks of the kernel's (attach: tun).";
  if (report.netstack) {
    return "Clusters run here, without privileges (attach: netstack): a network, but files and "
           "processes of the machine.";
  }
  return "Clusters do not run here; what is missing above says what to do.";
}

std::string DoctorText(const DoctorReport& report, const Terminal& terminal) {
  size_t width = 0;
  for (const Finding& finding : report.findings) width = std::max(width, finding.name.size());
  std::string out;
  for (const Finding& finding : report.findings) {
    std::string name = finding.name;
    name.resize(width, ' ');
    std::string state(StateName(finding.state));
    state.resize(7, ' ');
    absl::StrAppend(&out, name, "  ", terminal.Paint(state, ColourOf(finding.state)), "  ",
                    finding.found, "\n");
    const std::string indent(width + 11, ' ');
    if (!finding.costs.empty()) absl::StrAppend(&out, indent, "costs: ", finding.costs, "\n");
    if (!finding.remedy.empty()) absl::StrAppend(&out, indent, "to do: ", finding.remedy, "\n");
  }
  return absl::StrCat(out, "\n", terminal.Paint(VerdictText(report), Colour::kBold), "\n");
}

std::string DoctorJson(const DoctorReport& report) {
  std::vector<std::string> findings;
  for (const Finding& finding : report.findings) {
    findings.push_back(absl::StrCat(
        "{\"name\":", JsonString(finding.name), ",\"state\":", JsonString(StateName(finding.state)),
        ",\"found\":", JsonString(finding.found), ",\"costs\":", JsonString(finding.costs),
        ",\"remedy\":", JsonString(finding.remedy), "}"));
  }
  return absl::StrCat("{\"tun\":", report.tun ? "true" : "false",
                      ",\"netstack\":", report.netstack ? "true" : "false",
                      ",\"verdict\":", JsonString(VerdictText(report)), ",\"findings\":[",
                      absl::StrJoin(findings, ","), "]}");
}

}  // namespace im::orchestrator::cli
