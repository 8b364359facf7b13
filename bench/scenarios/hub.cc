// hub: im-tunnel beside wireguard-go, each with a thousand peers (a hundred with
// --quick): how fast all of them get a session, what one costs, the memory, and
// what all of them together can send it.
//
// Peers are one process with an address for each, so that limits by source act
// as they do on the Internet.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/tunnel_pair.h"

namespace im::bench {
namespace {

constexpr int kPeers = 1000;
constexpr int kPeersWhenQuick = 100;
// For measurements between networks (RFC 2544, RFC 6890), and private ones.
constexpr char kSources[] = "198.18.0.0/15";
constexpr char kFirstSource[] = "198.18.1.0";
constexpr char kInnerNetwork[] = "10.97.0.0/16";
constexpr char kFirstInner[] = "10.97.1.0";
constexpr char kDestination[] = "10.98.0.1";  // nobody's: dropped by the hub's kernel
constexpr char kPort[] = "51820";

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

class Hub {
 public:
  static absl::StatusOr<std::unique_ptr<Hub>> Up(const std::string& name,
                                                 const std::string& program, int number, int peers,
                                                 const std::string& bin) {
    std::unique_ptr<Hub> hub(new Hub());
    hub->name_ = name;
    hub->peer_count_ = peers;
    hub->interface_ = absl::StrCat("imb", getpid(), "h", number);
    IM_RETURN_IF_ERROR(hub->Start(program, number, bin));
    return hub;
  }
  ~Hub() {
    tunnel_.reset();
    std::error_code ignored;
    std::filesystem::remove(SocketPath(), ignored);
  }
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  double ResidentMegabytes() const { return ResidentMegabytesOf(tunnel_->pid()); }
  const std::string& name() const { return name_; }

  absl::Status MeasureHandshakes(Table& table) {
    const double cpu_before_s = CpuSecondsOf(tunnel_->pid());
    IM_ASSIGN_OR_RETURN(const double us, AskNumber(*peers_, "connect", "us"));
    const double cpu_s = CpuSecondsOf(tunnel_->pid()) - cpu_before_s;
    table.Add("handshakes", name_, "1/s", peer_count_ / (us / 1e6));
    table.Add("handshake, processor time", name_, "us", cpu_s * 1e6 / peer_count_);
    return absl::OkStatus();
  }

  absl::Status MeasureStream(double duration_s, Table& table) {
    IM_ASSIGN_OR_RETURN(const double before, ReceivedBytes());
    const double cpu_before_s = CpuSecondsOf(tunnel_->pid());
    const int milliseconds = static_cast<int>(duration_s * 1000);
    IM_RETURN_IF_ERROR(peers_->WriteLine(absl::StrCat("stream ", milliseconds)));
    IM_RETURN_IF_ERROR(
        peers_->ReadLine(std::chrono::milliseconds(milliseconds) + kAnswerTimeout).status());
    IM_ASSIGN_OR_RETURN(const double after, ReceivedBytes());
    const double gigabytes = (after - before) / 1e9;
    if (gigabytes <= 0) return absl::InternalError(name_ + ": nothing came");
    table.Add("from all peers", name_, "Gb/s", gigabytes * 8 / duration_s);
    table.Add("from all peers, processor time", name_, "s/GB",
              (CpuSecondsOf(tunnel_->pid()) - cpu_before_s) / gigabytes);
    table.Add("memory under load", name_, "MB", ResidentMegabytes());
    return absl::OkStatus();
  }

 private:
  Hub() = default;
  std::string SocketPath() const {
    return absl::StrCat("/var/run/wireguard/", interface_, ".sock");
  }

  absl::Status Start(const std::string& program, int number, const std::string& bin) {
    IM_ASSIGN_OR_RETURN(pair_, TunnelPair::Up("", number, bin + "/im-peer"));
    IM_RETURN_IF_ERROR(
        RunCommand(pair_->AtNear({"ip", "route", "add", "local", kSources, "dev", "lo"})).status());
    // From behind the near end.
    IM_RETURN_IF_ERROR(
        RunCommand(pair_->AtFar({"ip", "route", "add", kSources, "via", pair_->client()}))
            .status());
    IM_ASSIGN_OR_RETURN(Process tunnel, pair_->StartFar({program, "-f", interface_}));
    tunnel_ = std::make_unique<Process>(std::move(tunnel));
    IM_RETURN_IF_ERROR(
        Await(SocketPath(), [&] { return std::filesystem::exists(SocketPath()); }));

    IM_ASSIGN_OR_RETURN(const std::string private_key, FirstLine("wg genkey"));
    IM_ASSIGN_OR_RETURN(const std::string public_key,
                        FirstLine(absl::StrCat("echo ", private_key, " | wg pubkey")));
    const TemporaryFile config;
    std::ofstream(config.path()) << "[Interface]\nPrivateKey = " << private_key
                                 << "\nListenPort = " << kPort << "\n";
    IM_ASSIGN_OR_RETURN(
        Process peers,
        Process::Start({.argv = pair_->AtNear({bin + "/im-hub-peers",
                                               absl::StrCat(pair_->server(), ":", kPort),
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

  // Authentic ones, of all peers.
  absl::StatusOr<double> ReceivedBytes() const {
    IM_ASSIGN_OR_RETURN(const std::string text, RunCommand({"wg", "show", interface_, "transfer"}));
    std::istringstream lines(text);
    double sum = 0, received = 0, sent = 0;
    for (std::string key; lines >> key >> received >> sent;) sum += received;
    return sum;
  }

  std::string name_;
  std::string interface_;
  int peer_count_ = 0;
  std::unique_ptr<TunnelPair> pair_;
  std::unique_ptr<Process> tunnel_;
  std::unique_ptr<Process> peers_;
};

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const bool quick = options.duration_s < 1;
  Table table("hub");
  std::vector<std::unique_ptr<Hub>> hubs;
  for (const auto& [name, program] : TunnelPrograms(options)) {
    IM_ASSIGN_OR_RETURN(auto hub,
                        Hub::Up(name, program, static_cast<int>(hubs.size()),
                                quick ? kPeersWhenQuick : kPeers, options.bin));
    table.Add("memory at start", name, "MB", hub->ResidentMegabytes());
    hubs.push_back(std::move(hub));
  }
  for (int i = 0; i < options.repeat; ++i) {
    for (const auto& hub : hubs) {
      options.Progress(i, hub->name());
      IM_RETURN_IF_ERROR(hub->MeasureHandshakes(table));
      IM_RETURN_IF_ERROR(hub->MeasureStream(options.duration_s, table));
    }
  }
  return table.Take();
}

}  // namespace

Scenario HubOfPeers() {
  return {"hub", "im-tunnel and wireguard-go with a thousand peers each", 5, Run,
          /*start_s=*/5, /*repeat_s=*/2, /*repeat_durations=*/2};
}

}  // namespace im::bench
