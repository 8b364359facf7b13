#include "bench/tunnel_pair.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace im::bench {
namespace {

// TEST-NET-1 outside (RFC 5737), a private network inside.
constexpr const char* kOuter[] = {"192.0.2.1", "192.0.2.2"};
constexpr const char* kInner[] = {"10.99.0.1", "10.99.0.2"};
constexpr char kPort[] = "51820";
// What WireGuard has by default.
constexpr char kMtu[] = "1420";

std::vector<std::string> InNamespace(pid_t pid, const std::vector<std::string>& argv) {
  std::vector<std::string> all = {"nsenter", "-t", absl::StrCat(pid), "-n"};
  all.insert(all.end(), argv.begin(), argv.end());
  return all;
}

absl::Status RunAll(const std::vector<std::vector<std::string>>& commands) {
  for (const auto& command : commands) IM_RETURN_IF_ERROR(RunCommand(command).status());
  return absl::OkStatus();
}

absl::StatusOr<std::string> FirstLine(const std::string& shell_command) {
  IM_ASSIGN_OR_RETURN(const std::string text, RunCommand({"sh", "-c", shell_command}));
  return text.substr(0, text.find('\n'));
}

// What a program does that has just been started it does in a moment.
template <typename Condition>
absl::Status Await(const std::string& what, const Condition& condition) {
  constexpr int kAttemptsMax = 10'000;
  for (int i = 0; i < kAttemptsMax; ++i) {
    if (condition()) return absl::OkStatus();
    usleep(1000);
  }
  return absl::DeadlineExceededError(absl::StrCat(what, " did not appear"));
}

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

absl::StatusOr<std::unique_ptr<TunnelPair>> TunnelPair::Up(const std::string& program, int number,
                                                           const std::string& peer) {
  std::unique_ptr<TunnelPair> pair(new TunnelPair());
  for (int end = 0; end < 2; ++end) {
    // im-peer without a command to come: sleeps for as long as we live.
    IM_ASSIGN_OR_RETURN(Process holder, Process::Start({.argv = {peer, "drive"},
                                                        .new_network = true,
                                                        .wait_for_go = true}));
    holder.Go();
    pair->ends_.push_back(std::move(holder));
  }
  IM_RETURN_IF_ERROR(pair->Join(number));
  pair->server_ = program.empty() ? kOuter[1] : kInner[1];
  if (!program.empty()) IM_RETURN_IF_ERROR(pair->StartTunnels(program, number));
  return pair;
}

TunnelPair::~TunnelPair() {
  tunnels_.clear();
  std::error_code ignored;
  for (const std::string& socket : sockets_) std::filesystem::remove(socket, ignored);
}

absl::Status TunnelPair::Join(int number) {
  const std::string near = absl::StrCat("imp", number, "a");
  const std::string far = absl::StrCat("imp", number, "b");
  const pid_t pids[] = {ends_[0].pid(), ends_[1].pid()};
  IM_RETURN_IF_ERROR(RunAll({{"ip", "link", "add", near, "netns", absl::StrCat(pids[0]), "type",
                              "veth", "peer", "name", far, "netns", absl::StrCat(pids[1])}}));
  for (int end = 0; end < 2; ++end) {
    const std::string& name = end == 0 ? near : far;
    const pid_t pid = pids[end];
    IM_RETURN_IF_ERROR(RunAll({
        InNamespace(pid, {"ip", "link", "set", "lo", "up"}),
        InNamespace(pid, {"ip", "addr", "add", absl::StrCat(kOuter[end], "/24"), "dev", name}),
        InNamespace(pid, {"ip", "link", "set", name, "up"}),
    }));
  }
  return absl::OkStatus();
}

absl::Status TunnelPair::StartTunnels(const std::string& program, int number) {
  std::string private_keys[2], public_keys[2];
  for (int end = 0; end < 2; ++end) {
    IM_ASSIGN_OR_RETURN(private_keys[end], FirstLine("wg genkey"));
    IM_ASSIGN_OR_RETURN(public_keys[end],
                        FirstLine(absl::StrCat("echo ", private_keys[end], " | wg pubkey")));
  }
  for (int end = 0; end < 2; ++end) {
    const std::string name = absl::StrCat("imb", getpid(), "n", number, end == 0 ? "a" : "b");
    const pid_t pid = ends_[end].pid();
    IM_ASSIGN_OR_RETURN(Process tunnel,
                        Process::Start({.argv = InNamespace(pid, {program, "-f", name}),
                                        .environment = {"LOG_LEVEL=error"},
                                        .discard_output = true}));
    tunnels_.push_back(std::move(tunnel));
    sockets_.push_back(absl::StrCat("/var/run/wireguard/", name, ".sock"));
    IM_RETURN_IF_ERROR(
        Await(sockets_.back(), [&] { return std::filesystem::exists(sockets_.back()); }));
    IM_RETURN_IF_ERROR(RunAll({
        {"sh", "-c",
         absl::StrCat("echo ", private_keys[end], " | wg set ", name, " listen-port ", kPort,
                      " private-key /dev/stdin peer ", public_keys[1 - end], " endpoint ",
                      kOuter[1 - end], ":", kPort, " allowed-ips ", kInner[1 - end], "/32")},
        InNamespace(pid, {"ip", "addr", "add", absl::StrCat(kInner[end], "/24"), "dev", name}),
        InNamespace(pid, {"ip", "link", "set", name, "mtu", kMtu, "up"}),
    }));
  }
  return absl::OkStatus();
}

std::vector<std::string> TunnelPair::AtNear(const std::vector<std::string>& argv) const {
  return InNamespace(ends_[0].pid(), argv);
}

absl::StatusOr<Process> TunnelPair::StartFar(const std::vector<std::string>& argv) const {
  return Process::Start(
      {.argv = InNamespace(ends_[1].pid(), argv), .discard_output = true});
}

absl::Status TunnelPair::AwaitListener(int tcp_port) const {
  const std::string folder = absl::StrCat("/proc/", ends_[1].pid(), "/net/");
  return Await(absl::StrCat("a listener on port ", tcp_port), [&] {
    return HasListener(folder + "tcp", tcp_port) || HasListener(folder + "tcp6", tcp_port);
  });
}

double TunnelPair::CpuSeconds() const {
  double sum = 0;
  for (const Process& tunnel : tunnels_) sum += tunnel.CpuSeconds();
  return sum;
}

double TunnelPair::ResidentMegabytes() const {
  double most = 0;
  for (const Process& tunnel : tunnels_) most = std::max(most, tunnel.ResidentMegabytes());
  return most;
}

}  // namespace im::bench
