#include "bench/tunnel_pair.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

// TEST-NET-1 outside (RFC 5737), a private network inside.
constexpr const char* kOuter[] = {"192.0.2.1", "192.0.2.2"};
constexpr const char* kInner[] = {"10.99.0.1", "10.99.0.2"};
// What WireGuard has by default.
constexpr char kMtu[] = "1420";

// Tries it in our own network namespace, which is the run's.
bool KernelHasWireguard() {
  constexpr char kName[] = "imwg0";
  if (!RunCommand({"sh", "-c", absl::StrCat("ip link add ", kName, " type wireguard 2>&1")}).ok()) {
    return false;
  }
  return RunCommand({"ip", "link", "delete", kName}).ok();
}

}  // namespace

std::vector<TunnelProgram> TunnelPrograms(const RunOptions& options) {
  std::vector<TunnelProgram> programs = {{"im-tunnel", options.bin + "/im-tunnel"}};
  const auto missing = [&](const std::string& name, const std::string& why) {
    options.skip(name, why, /*failed=*/false);
  };
  for (const auto& [name, variable, usual] :
       {std::tuple("wireguard-go", "IM_BENCH_WIREGUARD_GO", "wireguard-go"),
        {"boringtun", "IM_BENCH_BORINGTUN", "boringtun-cli"},
        {"gotatun", "IM_BENCH_GOTATUN", "gotatun"}}) {
    if (!options.WantsPeer(name)) continue;
    const char* const named = std::getenv(variable);
    const std::string program = named == nullptr ? usual : named;
    if (IsInstalled(program)) {
      programs.push_back({name, program});
    } else {
      missing(name, "it is not installed (bench/peers/README.md)");
    }
  }
  if (const std::string name = "kernel WireGuard"; options.WantsPeer(name)) {
    if (KernelHasWireguard()) {
      programs.push_back({name, kKernelWireguard});
    } else {
      missing(name, "this kernel has none");
    }
  }
  return programs;
}

const char* TunnelPair::client() { return kOuter[0]; }

absl::StatusOr<std::unique_ptr<TunnelPair>> TunnelPair::Up(const std::string& program, int number,
                                                           const std::string& peer) {
  std::unique_ptr<TunnelPair> pair(new TunnelPair());
  IM_RETURN_IF_ERROR(pair->MakeNamespaces(peer));
  IM_RETURN_IF_ERROR(pair->JoinByVeth(number));
  IM_RETURN_IF_ERROR(pair->Finish(program, number));
  return pair;
}

absl::StatusOr<std::unique_ptr<TunnelPair>> TunnelPair::UpOverPath(const std::string& program,
                                                                   int number,
                                                                   const std::string& bin) {
  std::unique_ptr<TunnelPair> pair(new TunnelPair());
  IM_RETURN_IF_ERROR(pair->MakeNamespaces(bin + "/im-peer"));
  IM_RETURN_IF_ERROR(pair->JoinByPath(number, bin + "/im-path"));
  IM_RETURN_IF_ERROR(pair->Finish(program, number));
  return pair;
}

absl::Status TunnelPair::Finish(const std::string& program, int number) {
  IM_RETURN_IF_ERROR(AddAddresses());
  server_ = program.empty() ? kOuter[1] : kInner[1];
  return program.empty() ? absl::OkStatus() : StartTunnels(program, number);
}

TunnelPair::~TunnelPair() {
  carriers_.clear();
  std::error_code ignored;
  for (const std::string& socket : sockets_) std::filesystem::remove(socket, ignored);
}

absl::Status TunnelPair::JoinByVeth(int number) {
  for (int end = 0; end < 2; ++end) outer_[end] = absl::StrCat("imp", number, end == 0 ? "a" : "b");
  return RunCommand({"ip", "link", "add", outer_[0], "netns", absl::StrCat(near_pid()), "type",
                     "veth", "peer", "name", outer_[1], "netns", absl::StrCat(far_pid())})
      .status();
}

absl::Status TunnelPair::JoinByPath(int number, const std::string& im_path) {
  for (int end = 0; end < 2; ++end) outer_[end] = absl::StrCat("imp", number, end == 0 ? "a" : "b");
  IM_ASSIGN_OR_RETURN(Process path,
                      Process::Start({.argv = {im_path, absl::StrCat(near_pid()),
                                               absl::StrCat(far_pid()), outer_[0], outer_[1]}}));
  path_ = std::make_unique<Process>(std::move(path));
  return Annotate(path_->ReadLine().status(), "im-path");
}

absl::Status TunnelPair::AddAddresses() {
  const pid_t pids[] = {near_pid(), far_pid()};
  for (int end = 0; end < 2; ++end) {
    // What waits in the device's queue must not be lost there: a path has its own.
    IM_RETURN_IF_ERROR(RunAll({
        InNamespaceOf(pids[end], {"ip", "addr", "add", absl::StrCat(kOuter[end], "/24"), "dev",
                                  outer_[end]}),
        InNamespaceOf(pids[end], {"ip", "link", "set", outer_[end], "txqueuelen", "5000", "up"}),
    }));
  }
  return absl::OkStatus();
}

absl::Status TunnelPair::SetPath(const Path& path) {
  const std::string command = absl::StrCat(
      "path ", std::chrono::duration_cast<std::chrono::microseconds>(path.round_trip).count() / 2,
      " ", path.lost_per_million, " ", path.megabits_per_second);
  IM_ASSIGN_OR_RETURN(const std::string answer, path_->Ask(command));
  if (answer != "{\"ok\": true}") return absl::InternalError(absl::StrCat("im-path: ", answer));
  return absl::OkStatus();
}

absl::Status TunnelPair::SetMtu(int mtu) {
  const pid_t pids[] = {near_pid(), far_pid()};
  for (int end = 0; end < 2; ++end) {
    const bool tunnel = !inner_[end].empty();
    IM_RETURN_IF_ERROR(
        RunCommand(InNamespaceOf(pids[end], {"ip", "link", "set", outer_[end], "mtu",
                                             absl::StrCat(mtu + (tunnel ? kTunnelBytes : 0))}))
            .status());
    if (!tunnel) continue;
    IM_RETURN_IF_ERROR(RunCommand(InNamespaceOf(pids[end], {"ip", "link", "set", inner_[end],
                                                            "mtu", absl::StrCat(mtu)}))
                           .status());
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
    inner_[end] = name;
    const pid_t pid = end == 0 ? near_pid() : far_pid();
    IM_RETURN_IF_ERROR(StartTunnel(program, end, name));
    IM_RETURN_IF_ERROR(RunAll({
        InNamespaceOf(
            pid, {"sh", "-c",
                  absl::StrCat("echo ", private_keys[end], " | wg set ", name, " listen-port ",
                               kTunnelPort, " private-key /dev/stdin peer ", public_keys[1 - end],
                               " endpoint ", kOuter[1 - end], ":", kTunnelPort, " allowed-ips ",
                               kInner[1 - end], "/32")}),
        InNamespaceOf(pid, {"ip", "addr", "add", absl::StrCat(kInner[end], "/24"), "dev", name}),
        InNamespaceOf(pid, {"ip", "link", "set", name, "mtu", kMtu, "up"}),
    }));
  }
  return absl::OkStatus();
}

absl::Status TunnelPair::StartTunnel(const std::string& program, int end, const std::string& name) {
  const pid_t pid = end == 0 ? near_pid() : far_pid();
  if (program == kKernelWireguard) {
    return RunCommand(InNamespaceOf(pid, {"ip", "link", "add", name, "type", "wireguard"})).status();
  }
  // boringtun's kind would give up root without being told.
  IM_ASSIGN_OR_RETURN(Process tunnel,
                      Process::Start({.argv = InNamespaceOf(pid, {program, "-f", name}),
                                      .environment = {"LOG_LEVEL=error", "WG_SUDO=true"},
                                      .discard_output = true}));
  carriers_.push_back(std::move(tunnel));
  sockets_.push_back(absl::StrCat("/var/run/wireguard/", name, ".sock"));
  // An answer, not the socket alone: wg(8) removes one that does not listen yet.
  return Await(absl::StrCat(program, " to answer wg"), [&] {
    return std::filesystem::exists(sockets_.back()) &&
           RunCommand({"sh", "-c", absl::StrCat("wg show ", name, " > /dev/null 2>&1")}).ok();
  });
}

}  // namespace im::bench
