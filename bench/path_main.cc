// im-path: a network path between two network namespaces, as long and as lossy
// as it is told, for kernels without netem. A TUN device in each; between them a
// bottleneck with a queue, a delay, and random losses by seed
// (netstack/simulated_path.h), the same in both directions.
//
//   im-path NEAR_PID FAR_PID NEAR_NAME FAR_NAME
//     Makes the devices in the namespaces of these processes; whoever started
//     it gives them addresses. Reads one command a line, answers with one JSON
//     object a line:
//       path DELAY_US LOST_PER_MILLION MEGABITS_PER_SECOND
//           from now on, one way; what is under way is lost
//       counters    packets, lost (at random), overflow (of the queue), of both
//           directions, since the last `path`

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/tun_device.h"
#include "netstack/simulated_path.h"

namespace im::bench {
namespace {

using netstack::SimulatedPath;

constexpr int kReadsMax = 64;
constexpr uint64_t kSeeds[] = {3, 4};  // there, back
// The path before the first command: 1 Gb/s without delay.
constexpr SimulatedPath::Options kPlain = {.bits_per_second = 1'000'000'000};

// Makes a device in the network namespace of a process; we stay in there.
absl::StatusOr<TunDevice> DeviceOf(const std::string& pid, const std::string& name) {
  const std::string path = absl::StrCat("/proc/", pid, "/ns/net");
  const FileDescriptor network(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!network.valid() || setns(network.get(), CLONE_NEWNET) != 0) return ErrnoStatus(path);
  return TunDevice::Create({.name = name, .offload = false});
}

// One end: what its kernel sends goes into `out`, what comes is given to it.
class End final : public PacketSink {
 public:
  explicit End(TunDevice device) : device_(std::move(device)) {}
  void Watch(EventLoop& loop, std::unique_ptr<SimulatedPath>& out) {
    watch_ = loop.WatchFd(device_.fd(), EPOLLIN, [this, &out](uint32_t) {
      PacketBatch batch;
      // A device that is gone: so are we soon.
      if (!device_.Read(batch, kReadsMax).ok()) watch_ = {};
      if (!batch.empty()) out->Write(std::move(batch));
    });
  }
  void Write(PacketBatch batch) override { device_.Write(batch, drops_); }

 private:
  TunDevice device_;
  EventLoop::Watch watch_;
  DropCounters drops_;
};

class Path {
 public:
  Path(EventLoop& loop, TunDevice near, TunDevice far)
      : loop_(loop), near_(std::move(near)), far_(std::move(far)) {
    Set(kPlain);
    near_.Watch(loop_, there_);
    far_.Watch(loop_, back_);
  }

  std::string Answer(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "counters") {
      const auto &there = there_->counters(), &back = back_->counters();
      return absl::StrCat("{\"ok\": true, \"packets\": ", there.packets + back.packets,
                          ", \"lost\": ", there.lost + back.lost,
                          ", \"overflow\": ", there.overflow + back.overflow, "}");
    }
    int64_t delay_us = -1, lost = -1, megabits = 0;
    if (verb != "path" || !(words >> delay_us >> lost >> megabits) || delay_us < 0 || lost < 0 ||
        lost > 1'000'000 || megabits < 1) {
      return "{\"ok\": false, \"error\": \"not a command\"}";
    }
    Set({.delay = std::chrono::microseconds(delay_us),
         .lost_per_million = static_cast<int>(lost),
         .bits_per_second = static_cast<uint64_t>(megabits) * 1'000'000});
    return "{\"ok\": true}";
  }

 private:
  void Set(SimulatedPath::Options options) {
    options.seed = kSeeds[0];
    there_ = std::make_unique<SimulatedPath>(loop_, options);
    options.seed = kSeeds[1];
    back_ = std::make_unique<SimulatedPath>(loop_, options);
    there_->Attach(far_);
    back_->Attach(near_);
  }

  EventLoop& loop_;
  End near_, far_;
  std::unique_ptr<SimulatedPath> there_, back_;
};

absl::Status Run(char** argv) {
  IM_ASSIGN_OR_RETURN(TunDevice near, DeviceOf(argv[1], argv[3]));
  IM_ASSIGN_OR_RETURN(TunDevice far, DeviceOf(argv[2], argv[4]));
  const RealClock clock;
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create(clock));
  Path path(*loop, std::move(near), std::move(far));
  bool over = false;
  std::string unread;
  const auto input = loop->WatchFd(STDIN_FILENO, EPOLLIN, [&](uint32_t) {
    char bytes[512];
    const ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (n <= 0) {
      over = true;
      return;
    }
    unread.append(bytes, static_cast<size_t>(n));
    for (size_t end; (end = unread.find('\n')) != std::string::npos; unread.erase(0, end + 1)) {
      std::cout << path.Answer(unread.substr(0, end)) << std::endl;
    }
  });
  std::cout << "{\"ok\": true}" << std::endl;  // the devices are there
  while (!over) loop->RunOnce(std::chrono::hours(1));
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: im-path NEAR_PID FAR_PID NEAR_NAME FAR_NAME\n");
    return 2;
  }
  const absl::Status status = Run(argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "im-path: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace im::bench

int main(int argc, char** argv) { return im::bench::Main(argc, argv); }
