#include "bench/machine.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

std::string CpuModel() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string FirstLineOrNothing(const std::string& shell_command) {
  return FirstLine(shell_command + " 2>/dev/null").value_or("");
}

}  // namespace

Machine LookAtMachine(const std::string& bin) {
  Machine machine;
  machine.cpu = CpuModel();
  machine.cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  machine.memory_gb = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                      static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e9;
  utsname kernel{};
  uname(&kernel);
  machine.kernel = kernel.release;
  std::getline(std::ifstream("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
               machine.governor);
  machine.commit =
      FirstLineOrNothing(absl::StrCat("git -C '", bin, "' describe --always --dirty"));
  for (const auto& [name, command] : std::map<std::string, std::string>{
           {"im", absl::StrCat("'", bin, "/im' --version")},
           {"congestion control", "cat /proc/sys/net/ipv4/tcp_congestion_control"},
           {"iperf3", "iperf3 --version"},
           {"criu", absl::StrCat("PATH=\"", bin, ":$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; "
                                 "\"${IM_CRIU:-criu}\" --version")},
           {"redis", "redis-server --version"},
           {"nginx", "nginx -v 2>&1"},
           {"wrk", "wrk -v 2>&1; true"},
           {"slirp4netns", "slirp4netns --version"},
           {"pasta", "pasta --version"},
           {"boringtun", "${IM_BENCH_BORINGTUN:-boringtun-cli} --version"},
           {"gotatun", "${IM_BENCH_GOTATUN:-gotatun} --version"},
           {"runc", "runc --version"},
           {"crun", "crun --version"},
           {"wireguard-go", "${IM_BENCH_WIREGUARD_GO:-wireguard-go} --version"},
       }) {
    const std::string version = FirstLineOrNothing(command);
    if (!version.empty()) machine.versions[name] = version;
  }
  return machine;
}

}  // namespace im::bench
