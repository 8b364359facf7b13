// im-hub-peers: many WireGuard peers in one process, the load of the scenarios
// `peers` and `handshakes`.
//
//   im-hub-peers HUB_ENDPOINT HUB_KEY COUNT FIRST_SOURCE FIRST_INNER DESTINATION
//     Peer i sends from the address FIRST_SOURCE + i, which must be ours, and
//     is FIRST_INNER + i inside; what it sends inside goes to DESTINATION.
//     Reads one command a line, answers with one JSON object a line:
//       peers FILE           adds the peers' part of a configuration of wg(8)
//       connect              us until all have a session, all of them anew
//       stream MILLISECONDS  as fast as it can, from all in turn, datagrams of
//                            1420 bytes; us

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/ip_build.h"
#include "tunnel/driver.h"

namespace im::bench {
namespace {

using tunnel::Driver;
using tunnel::PublicKey;

constexpr size_t kInnerBytes = 1420;
constexpr size_t kUdpHeadersBytes = 28;
constexpr int kPacketsPerWrite = 16;
constexpr uint16_t kPort = 9;
constexpr std::chrono::seconds kConnectTimeout{50};
// Sockets, and descriptors that belong to them, of a thousand peers and more.
constexpr rlim_t kDescriptorsMax = 1 << 16;

class Nowhere final : public PacketSink {
 public:
  void Write(PacketBatch) override {}
};

struct Arguments {
  Endpoint hub;
  PublicKey hub_key;
  uint32_t count;
  IpAddress first_source;
  IpAddress first_inner;
  IpAddress destination;
};

class Peers final : private tunnel::Device::Delegate {
 public:
  static absl::StatusOr<std::unique_ptr<Peers>> Create(const Arguments& arguments) {
    std::unique_ptr<Peers> peers(new Peers(arguments));
    IM_ASSIGN_OR_RETURN(peers->loop_, EventLoop::Create(peers->clock_));
    for (uint32_t i = 0; i < arguments.count; ++i) IM_RETURN_IF_ERROR(peers->Add(i));
    return peers;
  }

  bool WriteConfig(const std::string& path) const {
    std::ofstream file(path, std::ios::app);
    for (uint32_t i = 0; i < arguments_.count; ++i) {
      file << "[Peer]\nPublicKey = " << drivers_[i]->device().public_key().ToBase64()
           << "\nAllowedIPs = " << Inner(i).ToString() << "/32\n";
    }
    return static_cast<bool>(file.flush());
  }

  absl::StatusOr<int64_t> Connect() {
    loop_->RunOnce(Duration(0));  // it stood still: its time is that of the last command
    for (const auto& driver : drivers_) {
      IM_RETURN_IF_ERROR(driver->SetUp(false));
      IM_RETURN_IF_ERROR(driver->SetUp(true));
    }
    up_ = 0;
    const Instant begin = clock_.Now();
    for (const auto& driver : drivers_) {
      driver->Connect(arguments_.hub_key);
      loop_->RunOnce(Duration(0));
    }
    while (up_ < drivers_.size()) {
      if (clock_.Now() - begin > kConnectTimeout) {
        return absl::DeadlineExceededError(
            absl::StrCat(up_, " of ", drivers_.size(), " peers have a session"));
      }
      loop_->RunOnce(std::chrono::milliseconds(100));
    }
    return Us(clock_.Now() - begin);
  }

  int64_t Stream(Duration time) {
    loop_->RunOnce(Duration(0));  // as above
    const Instant begin = clock_.Now();
    for (uint32_t i = 0; clock_.Now() - begin < time; i = (i + 1) % arguments_.count) {
      PacketBatch batch;
      for (int n = 0; n < kPacketsPerWrite; ++n) batch.AppendCopy(packets_[i]);
      drivers_[i]->Write(std::move(batch));
      loop_->RunOnce(Duration(0));
    }
    return Us(clock_.Now() - begin);
  }

 private:
  explicit Peers(const Arguments& arguments) : arguments_(arguments) {}

  static int64_t Us(Duration time) {
    return std::chrono::duration_cast<std::chrono::microseconds>(time).count();
  }
  IpAddress Inner(uint32_t i) const { return IpAddress::V4(arguments_.first_inner.v4() + i); }

  absl::Status Add(uint32_t i) {
    Driver::Options options;
    options.listen = {IpAddress::V4(arguments_.first_source.v4() + i), 0};
    IM_ASSIGN_OR_RETURN(std::unique_ptr<Driver> driver,
                        Driver::Create(tunnel::GeneratePrivateKey(random_), options, *loop_,
                                       random_, nowhere_, this));
    tunnel::PeerConfig hub;
    hub.public_key = arguments_.hub_key;
    hub.endpoint = arguments_.hub;
    hub.allowed_ips = {IpPrefix(arguments_.destination, 32)};
    IM_RETURN_IF_ERROR(driver->SetPeer(hub));
    drivers_.push_back(std::move(driver));
    const std::vector<uint8_t> payload(kInnerBytes - kUdpHeadersBytes);
    packets_.push_back(BuildUdp({Inner(i), kPort}, {arguments_.destination, kPort}, payload));
    return absl::OkStatus();
  }

  void OnSessionUp(const PublicKey&) override { ++up_; }
  void OnSessionDown(const PublicKey&) override {}

  const Arguments arguments_;
  RealClock clock_;
  SecureRandom random_;
  Nowhere nowhere_;
  std::unique_ptr<EventLoop> loop_;
  std::vector<std::unique_ptr<Driver>> drivers_;
  std::vector<std::vector<uint8_t>> packets_;  // of each peer, one that it sends
  size_t up_ = 0;
};

std::string Answer(Peers& peers, const std::string& command) {
  std::istringstream words(command);
  std::string verb, file;
  words >> verb;
  if (verb == "peers" && words >> file) {
    return peers.WriteConfig(file) ? "{\"ok\": true, \"us\": 0}" : "{\"ok\": false}";
  }
  if (verb == "connect") {
    const absl::StatusOr<int64_t> us = peers.Connect();
    if (us.ok()) return absl::StrCat("{\"ok\": true, \"us\": ", *us, "}");
    return absl::StrCat("{\"ok\": false, \"error\": \"", us.status().message(), "\"}");
  }
  int milliseconds = 0;
  if (verb == "stream" && words >> milliseconds) {
    return absl::StrCat("{\"ok\": true, \"us\": ",
                        peers.Stream(std::chrono::milliseconds(milliseconds)), "}");
  }
  return "{\"ok\": false, \"error\": \"not a command\"}";
}

std::optional<Arguments> Parse(char** argv) {
  const auto hub = Endpoint::Parse(argv[1]);
  const auto hub_key = PublicKey::FromBase64(argv[2]);
  const auto first_source = IpAddress::Parse(argv[4]);
  const auto first_inner = IpAddress::Parse(argv[5]);
  const auto destination = IpAddress::Parse(argv[6]);
  const int count = std::atoi(argv[3]);
  for (const auto& address : {first_source, first_inner, destination}) {
    if (!address || !address->is_v4()) return std::nullopt;
  }
  if (!hub || !hub_key || count < 1) return std::nullopt;
  return Arguments{*hub,         *hub_key,     static_cast<uint32_t>(count),
                   *first_source, *first_inner, *destination};
}

int Main(int argc, char** argv) {
  const std::optional<Arguments> arguments = argc == 7 ? Parse(argv) : std::nullopt;
  if (!arguments) {
    std::fprintf(stderr,
                 "usage: im-hub-peers HUB_ENDPOINT HUB_KEY COUNT FIRST_SOURCE FIRST_INNER "
                 "DESTINATION\n");
    return 2;
  }
  const rlimit limit{kDescriptorsMax, kDescriptorsMax};
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
  const auto peers = Peers::Create(*arguments);
  if (!peers.ok()) {
    std::fprintf(stderr, "im-hub-peers: %s\n", std::string(peers.status().message()).c_str());
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(**peers, line) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace im::bench

int main(int argc, char** argv) { return im::bench::Main(argc, argv); }
