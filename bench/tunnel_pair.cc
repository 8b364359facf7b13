#include "bench/tunnel_pair.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

// TEST-NET-1 outside (RFC 5737), a private network inside.
constexpr const char* kOuter[] = {"192.0.2.1", "192.0.2.2"};
constexpr const char* kInner[] = {"10.99.0.1", "10.99.0.2"};
constexpr char kPort[] = "51820";
// What WireGuard has by default.
constexpr char kMtu[] = "1420";

absl::Status RunAll(const std::vector<std::vector<std::string>>& commands) {
  for (const auto& command : commands) IM_RETURN_IF_ERROR(RunCommand(command).status());
  return absl::OkStatus();
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

std::vector<std::pair<std::string, std::string>> TunnelPrograms(const RunOptions& options) {
  std::vector<std::pair<std::string, std::string>> programs = {
      {"im-tunnel", options.bin + "/im-tunnel"}};
  if (!options.WantsPeer("wireguard-go")) return programs;
  const char* const named = std::getenv("IM_BENCH_WIREGUARD_GO");
  const std::string other = named == nullptr ? "wireguard-go" : named;
  if (RunCommand({"sh", "-c", absl::StrCat("command -v ", other)}).ok()) {
    programs.push_back({"wireguard-go", other});
  }
  return programs;
}

const char* TunnelPair::client() { return kOuter[0]; }

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
        InNamespaceOf(pid, {"ip", "link", "set", "lo", "up"}),
        InNamespaceOf(pid, {"ip", "addr", "add", absl::StrCat(kOuter[end], "/24"), "dev", name}),
        InNamespaceOf(pid, {"ip", "link", "set", name, "up"}),
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
                        Process::Start({.argv = InNamespaceOf(pid, {program, "-f", name}),
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
        InNamespaceOf(pid, {"ip", "addr", "add", absl::StrCat(kInner[end], "/24"), "dev", name}),
        InNamespaceOf(pid, {"ip", "link", "set", name, "mtu", kMtu, "up"}),
    }));
  }
  return absl::OkStatus();
}

std::vector<std::string> TunnelPair::AtNear(const std::vector<std::string>& argv) const {
  return InNamespaceOf(ends_[0].pid(), argv);
}

std::vector<std::string> TunnelPair::AtFar(const std::vector<std::string>& argv) const {
  return InNamespaceOf(ends_[1].pid(), argv);
}

absl::StatusOr<Process> TunnelPair::StartFar(const std::vector<std::string>& argv) const {
  return Process::Start(
      {.argv = InNamespaceOf(ends_[1].pid(), argv), .discard_output = true});
}

absl::Status TunnelPair::AwaitListener(int tcp_port) const {
  const std::string folder = absl::StrCat("/proc/", ends_[1].pid(), "/net/");
  return Await(absl::StrCat("a listener on port ", tcp_port), [&] {
    return HasListener(folder + "tcp", tcp_port) || HasListener(folder + "tcp6", tcp_port);
  });
}

std::vector<pid_t> TunnelPair::TunnelPids() const {
  std::vector<pid_t> pids;
  for (const Process& tunnel : tunnels_) pids.push_back(tunnel.pid());
  return pids;
}

double TunnelPair::CpuSeconds() const {
  double sum_s = 0;
  for (const Process& tunnel : tunnels_) sum_s += CpuSecondsOf(tunnel.pid());
  return sum_s;
}

double TunnelPair::ResidentMegabytes() const {
  double most = 0;
  for (const Process& tunnel : tunnels_) most = std::max(most, ResidentMegabytesOf(tunnel.pid()));
  return most;
}

}  // namespace im::bench
