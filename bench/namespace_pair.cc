#include "bench/namespace_pair.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

// In a table of sockets as proc(5) has it.
bool HasListener(const std::string& table, int tcp_port) {
  constexpr char kListen[] = "0A";
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);  // the heading
  std::string number, local, remote, state;
  while (std::getline(file, line)) {
    if (!(std::istringstream(line) >> number >> local >> remote >> state)) continue;
    const int port = std::stoi(local.substr(local.rfind(':') + 1), nullptr, 16);
    if (state == kListen && port == tcp_port) return true;
  }
  return false;
}

}  // namespace

absl::Status RunAll(const std::vector<std::vector<std::string>>& commands) {
  for (const auto& command : commands) IM_RETURN_IF_ERROR(RunCommand(command).status());
  return absl::OkStatus();
}

absl::Status NamespacePair::MakeNamespaces(const std::string& peer) {
  for (int end = 0; end < 2; ++end) {
    // im-peer without a command to come: sleeps for as long as we live.
    IM_ASSIGN_OR_RETURN(Process holder, Process::Start({.argv = {peer, "drive"},
                                                        .new_network = true,
                                                        .wait_for_go = true}));
    holder.Go();
    ends_.push_back(std::move(holder));
    IM_RETURN_IF_ERROR(
        RunCommand(InNamespaceOf(ends_.back().pid(), {"ip", "link", "set", "lo", "up"})).status());
  }
  return absl::OkStatus();
}

std::vector<std::string> NamespacePair::AtNear(const std::vector<std::string>& argv) const {
  return InNamespaceOf(near_pid(), argv);
}

std::vector<std::string> NamespacePair::AtFar(const std::vector<std::string>& argv) const {
  return InNamespaceOf(far_pid(), argv);
}

absl::StatusOr<Process> NamespacePair::StartFar(const std::vector<std::string>& argv) const {
  return Process::Start({.argv = AtFar(argv), .discard_output = true});
}

absl::Status NamespacePair::AwaitListener(int tcp_port) const {
  const std::string folder = absl::StrCat("/proc/", far_pid(), "/net/");
  return Await(absl::StrCat("a listener on port ", tcp_port), [&] {
    return HasListener(folder + "tcp", tcp_port) || HasListener(folder + "tcp6", tcp_port);
  });
}

std::vector<pid_t> NamespacePair::CarrierPids() const {
  std::vector<pid_t> pids;
  for (const Process& carrier : carriers_) pids.push_back(carrier.pid());
  return pids;
}

double NamespacePair::CpuSeconds() const {
  double sum_s = 0;
  for (const pid_t pid : CarrierPids()) sum_s += CpuSecondsOf(pid);
  return sum_s;
}

double NamespacePair::ResidentMegabytes() const {
  double most = 0;
  for (const pid_t pid : CarrierPids()) most = std::max(most, ResidentMegabytesOf(pid));
  return most;
}

}  // namespace im::bench
