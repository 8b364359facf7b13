#include "bench/hub.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {
namespace {

// For measurements between networks (RFC 2544, RFC 6890), and private ones.
constexpr char kSources[] = "198.18.0.0/15";
constexpr char kFirstSource[] = "198.18.1.0";
constexpr char kInnerNetwork[] = "10.97.0.0/16";
constexpr char kFirstInner[] = "10.97.1.0";
constexpr char kDestination[] = "10.98.0.1";  // nobody's: dropped by the hub's kernel

// A file that goes with it.
class TemporaryFile {
 public:
  TemporaryFile() : path_((std::filesystem::temp_directory_path() / "im-bench-XXXXXX").string()) {
    FileDescriptor created(mkstemp(path_.data()));
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Hub>> Hub::Up(const TunnelProgram& program, int number, int peers,
                                             const std::string& bin) {
  std::unique_ptr<Hub> hub(new Hub());
  hub->name_ = program.first;
  hub->peer_count_ = peers;
  hub->interface_ = absl::StrCat("imb", getpid(), "h", number);
  IM_RETURN_IF_ERROR(hub->Start(program.second, number, bin));
  return hub;
}

Hub::~Hub() {
  tunnel_.reset();
  std::error_code ignored;
  std::filesystem::remove(SocketPath(), ignored);
}

double Hub::ResidentMegabytes() const { return ResidentMegabytesOf(tunnel_->pid()); }

absl::StatusOr<Hub::Handshakes> Hub::Connect() {
  const double cpu_before_s = CpuSecondsOf(tunnel_->pid());
  IM_ASSIGN_OR_RETURN(const double us, AskNumber(*peers_, "connect", "us"));
  const double cpu_s = CpuSecondsOf(tunnel_->pid()) - cpu_before_s;
  return Handshakes{peer_count_ / (us / 1e6), cpu_s * 1e6 / peer_count_};
}

absl::StatusOr<Hub::Stream> Hub::Receive(double duration_s) {
  IM_ASSIGN_OR_RETURN(const double before, ReceivedBytes());
  const double cpu_before_s = CpuSecondsOf(tunnel_->pid());
  const int milliseconds = static_cast<int>(duration_s * 1000);
  IM_RETURN_IF_ERROR(peers_->WriteLine(absl::StrCat("stream ", milliseconds)));
  IM_RETURN_IF_ERROR(
      peers_->ReadLine(std::chrono::milliseconds(milliseconds) + kAnswerTimeout).status());
  IM_ASSIGN_OR_RETURN(const double after, ReceivedBytes());
  const double gigabytes = (after - before) / 1e9;
  if (gigabytes <= 0) return absl::InternalError("nothing came");
  return Stream{gigabytes * 8 / duration_s,
                (CpuSecondsOf(tunnel_->pid()) - cpu_before_s) / gigabytes};
}

std::string Hub::SocketPath() const {
  return absl::StrCat("/var/run/wireguard/", interface_, ".sock");
}

absl::Status Hub::Start(const std::string& program, int number, const std::string& bin) {
  IM_ASSIGN_OR_RETURN(pair_, TunnelPair::Up("", number, bin + "/im-peer"));
  IM_RETURN_IF_ERROR(
      RunCommand(pair_->AtNear({"ip", "route", "add", "local", kSources, "dev", "lo"})).status());
  // From behind the near end.
  IM_RETURN_IF_ERROR(
      RunCommand(pair_->AtFar({"ip", "route", "add", kSources, "via", pair_->client()}))
          .status());
  IM_ASSIGN_OR_RETURN(Process tunnel, pair_->StartFar({"env", "WG_SUDO=true", program, "-f", interface_}));
  tunnel_ = std::make_unique<Process>(std::move(tunnel));
  IM_RETURN_IF_ERROR(
      Await(SocketPath(), [&] { return std::filesystem::exists(SocketPath()); }));

  IM_ASSIGN_OR_RETURN(const std::string private_key, FirstLine("wg genkey"));
  IM_ASSIGN_OR_RETURN(const std::string public_key,
                      FirstLine(absl::StrCat("echo ", private_key, " | wg pubkey")));
  const TemporaryFile config;
  std::ofstream(config.path()) << "[Interface]\nPrivateKey = " << private_key
                               << "\nListenPort = " << kTunnelPort << "\n";
  IM_ASSIGN_OR_RETURN(
      Process peers,
      Process::Start({.argv = pair_->AtNear({bin + "/im-hub-peers",
                                             absl::StrCat(pair_->server(), ":", kTunnelPort),
                                             public_key, absl::StrCat(peer_count_), kFirstSource,
                                             kFirstInner, kDestination})}));
  peers_ = std::make_unique<Process>(std::move(peers));
  IM_RETURN_IF_ERROR(
      AskNumber(*peers_, absl::StrCat("peers ", config.path()), "us").status());
  for (const std::vector<std::string>& command : {
           std::vector<std::string>{"wg", "setconf", interface_, config.path()},
           pair_->AtFar({"ip", "link", "set", interface_, "mtu", "1420", "up"}),
           pair_->AtFar({"ip", "route", "add", kInnerNetwork, "dev", interface_}),
       }) {
    IM_RETURN_IF_ERROR(RunCommand(command).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<double> Hub::ReceivedBytes() const {
  IM_ASSIGN_OR_RETURN(const std::string text, RunCommand({"wg", "show", interface_, "transfer"}));
  std::istringstream lines(text);
  double sum = 0, received = 0, sent = 0;
  for (std::string key; lines >> key >> received >> sent;) sum += received;
  return sum;
}

std::vector<std::unique_ptr<Hub>> HubsOfAll(const RunOptions& options, int peers) {
  static int number = 0;  // names of devices are not used twice
  std::vector<std::unique_ptr<Hub>> hubs;
  for (const TunnelProgram& program : TunnelPrograms(options)) {
    if (program.second == kKernelWireguard) {
      options.skip(program.first, "its processor time has no process", /*failed=*/false);
      continue;
    }
    auto hub = Hub::Up(program, number++, peers, options.bin);
    if (hub.ok()) {
      hubs.push_back(*std::move(hub));
    } else {
      options.skip(program.first, std::string(hub.status().message()), /*failed=*/true);
    }
  }
  return hubs;
}

}  // namespace im::bench
