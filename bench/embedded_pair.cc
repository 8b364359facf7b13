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

absl::StatusOr<nlohmann::json> ReadAnswer(Process& peer, const std::string& command) {
  IM_ASSIGN_OR_RETURN(const std::string line, peer.ReadLine());
  auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object() || !answer.value("ok", false))
    return absl::InternalError(absl::StrCat(command, ": ", line));
  return answer;
}

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
    std::vector<std::string> argv = {program, keys[end], public_keys[other], kTunnelPort,
                                     kOuterEndpoints[other], kAddresses[end], kAddresses[other]};
    if (mtu) argv.push_back(absl::StrCat(*mtu));
    IM_ASSIGN_OR_RETURN(
        Process process,
        Process::Start({.argv = end == 0 ? way.pair->AtNear(argv) : way.pair->AtFar(argv)}));
    way.peers.push_back(std::move(process));
  }
  return way;
}

absl::StatusOr<Throughput> StreamEmbedded(Embedded& way, int flows, double duration_s,
                                          Direction direction) {
  std::vector<Process*> senders;
  if (direction != Direction::kDown) senders.push_back(&way.peers[0]);
  if (direction != Direction::kUp) senders.push_back(&way.peers[1]);
  const std::string command =
      absl::StrCat("stream ", flows, " ", static_cast<int>(duration_s * 1000));
  const double before_s = MachineCpuSeconds();
  for (Process* const sender : senders) IM_RETURN_IF_ERROR(sender->WriteLine(command));
  Throughput result;
  for (Process* const sender : senders) {
    IM_ASSIGN_OR_RETURN(const nlohmann::json answer, ReadAnswer(*sender, command));
    const double gigabytes = answer.value("bytes", 0.0) / 1e9;
    if (gigabytes <= 0) return absl::InternalError("nothing arrived");
    result.gigabytes += gigabytes;
    result.gigabits_per_s += gigabytes * 8e6 / answer.value("us", 1.0);
  }
  result.machine_s = MachineCpuSeconds() - before_s;
  result.resident_megabytes = way.ResidentMegabytes();
  return result;
}

absl::StatusOr<Throughput> SendEmbeddedDatagrams(Embedded& way, int payload_bytes,
                                                 int megabits_per_s, double duration_s) {
  Process& near = way.peers[0];
  Process& far = way.peers[1];
  IM_RETURN_IF_ERROR(Ask(far, "arrived").status());  // those of before
  const double before_s = MachineCpuSeconds();
  IM_ASSIGN_OR_RETURN(
      const nlohmann::json answer,
      Ask(near, absl::StrCat("datagrams ", payload_bytes, " ", megabits_per_s, " ",
                             static_cast<int>(duration_s * 1000))));
  // What is on its way comes before the answer of this.
  IM_RETURN_IF_ERROR(Ask(near, "ping 1").status());
  IM_ASSIGN_OR_RETURN(const nlohmann::json far_answer, Ask(far, "arrived"));
  const double sent = answer.value("sent", 0.0), arrived = far_answer.value("datagrams", 0.0);
  if (arrived <= 0) return absl::InternalError("nothing arrived");
  Throughput result;
  result.machine_s = MachineCpuSeconds() - before_s;
  result.gigabytes = arrived * payload_bytes / 1e9;
  result.gigabits_per_s = result.gigabytes * 8 / duration_s;
  result.lost_percent = std::max(0.0, 100 * (1 - arrived / sent));
  result.resident_megabytes = way.ResidentMegabytes();
  return result;
}

absl::StatusOr<nlohmann::json> Ask(Process& peer, const std::string& command) {
  IM_RETURN_IF_ERROR(peer.WriteLine(command));
  return ReadAnswer(peer, command);
}

}  // namespace im::bench
