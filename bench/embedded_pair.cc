#include "bench/embedded_pair.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

constexpr char kAddresses[2][12] = {"10.98.0.1", "10.98.0.2"};
constexpr char kOuterEndpoints[2][18] = {"192.0.2.1:51820", "192.0.2.2:51820"};
constexpr char kPort[] = "51820";

}  // namespace

std::vector<pid_t> Embedded::Pids() const { return {peers[0].pid(), peers[1].pid()}; }

double Embedded::CpuSeconds() const {
  return CpuSecondsOf(peers[0].pid()) + CpuSecondsOf(peers[1].pid());
}

double Embedded::ResidentMegabytes() const {
  return std::max(ResidentMegabytesOf(peers[0].pid()), ResidentMegabytesOf(peers[1].pid()));
}

std::vector<std::pair<std::string, std::string>> EmbeddedPrograms(const RunOptions& options) {
  if (!IsInstalled("wg")) {
    options.skip("embedded", "wg, which makes keys, is not installed (wireguard-tools)",
                 /*failed=*/false);
    return {};
  }
  std::vector<std::pair<std::string, std::string>> programs = {
      {"embedded", options.bin + "/im-embedded-peer"}};
  if (const char* other = std::getenv("IM_BENCH_EMBEDDED_OTHER"))
    programs.push_back({"embedded, other", other});
  const std::string name = "wireguard-go netstack";
  if (!options.WantsPeer(name)) return programs;
  const char* const named = std::getenv("IM_BENCH_NETSTACK_GO");
  const std::string go_netstack = named == nullptr ? options.bin + "/netstack-go" : named;
  if (access(go_netstack.c_str(), X_OK) == 0) {
    programs.push_back({name, go_netstack});
  } else {
    options.skip(name, absl::StrCat("no program ", go_netstack, " (bench/peers/build builds it)"),
                 /*failed=*/false);
  }
  return programs;
}

absl::StatusOr<Embedded> StartEmbedded(const std::string& name, const std::string& program,
                                       std::unique_ptr<TunnelPair> pair,
                                       std::optional<int> mtu) {
  if (mtu) IM_RETURN_IF_ERROR(pair->SetMtu(*mtu + kTunnelBytes));
  Embedded way;
  way.name = name;
  way.pair = std::move(pair);
  std::string keys[2], public_keys[2];
  for (int end = 0; end < 2; ++end) {
    IM_ASSIGN_OR_RETURN(keys[end], FirstLine("wg genkey"));
    IM_ASSIGN_OR_RETURN(public_keys[end],
                        FirstLine(absl::StrCat("echo ", keys[end], " | wg pubkey")));
  }
  for (int end = 0; end < 2; ++end) {
    const int other = 1 - end;
    std::vector<std::string> argv = {program, keys[end], public_keys[other], kPort,
                                     kOuterEndpoints[other], kAddresses[end], kAddresses[other]};
    if (mtu) argv.push_back(absl::StrCat(*mtu));
    if (end == 0) {
      IM_ASSIGN_OR_RETURN(Process process, Process::Start({.argv = way.pair->AtNear(argv)}));
      way.peers.push_back(std::move(process));
    } else {
      IM_ASSIGN_OR_RETURN(Process process, way.pair->StartFar(argv));
      way.peers.push_back(std::move(process));
    }
  }
  return way;
}

absl::StatusOr<Throughput> StreamEmbedded(Embedded& way, int flows, double duration_s) {
  const double before_s = MachineCpuSeconds();
  IM_ASSIGN_OR_RETURN(const nlohmann::json answer,
                      Ask(way.peers[0], absl::StrCat("stream ", flows, " ",
                                                     static_cast<int>(duration_s * 1000))));
  Throughput result;
  result.machine_s = MachineCpuSeconds() - before_s;
  result.gigabytes = answer.value("bytes", 0.0) / 1e9;
  if (result.gigabytes <= 0) return absl::InternalError("nothing arrived");
  result.gigabits_per_s = result.gigabytes * 8e6 / answer.value("us", 1.0);
  result.resident_megabytes = way.ResidentMegabytes();
  return result;
}

absl::StatusOr<nlohmann::json> Ask(Process& peer, const std::string& command) {
  IM_ASSIGN_OR_RETURN(const std::string line, peer.Ask(command));
  auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object() || !answer.value("ok", false))
    return absl::InternalError(absl::StrCat(command, ": ", line));
  return answer;
}

}  // namespace im::bench
