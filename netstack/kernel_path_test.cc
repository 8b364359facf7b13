// What the kernel's TCP carries over the same SimulatedPath, for comparison
// with lossy_path_test.cc: between two network namespaces, in real time. It is
// a measurement of something else than ours, and takes minutes, so it runs only
// when asked for (--gtest_also_run_disabled_tests --gtest_filter=*KernelPath*);
// IM_CONGESTION names the algorithm, by default cubic.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "base/netlink.h"
#include "base/tun_device.h"
#include "netstack/simulated_path.h"
#include "netstack/test_support.h"

namespace im::netstack {
namespace {

using std::chrono::seconds;

// A thread in a network namespace of its own, with a TUN device.
class KernelHost {
 public:
  KernelHost(const IpAddress& address, std::function<void()> body) : body_(std::move(body)) {
    thread_ = std::thread([this, address] {
      device_ = Setup(address);
      ready_ = true;
      ready_.notify_all();
      start_.wait(false);
      if (device_.ok()) body_();
    });
    ready_.wait(false);
  }
  ~KernelHost() {
    Start();
    thread_.join();
  }
  void Start() {
    start_ = true;
    start_.notify_all();
  }
  absl::StatusOr<TunDevice>& device() { return device_; }

 private:
  static absl::StatusOr<TunDevice> Setup(const IpAddress& address) {
    if (unshare(CLONE_NEWNET) != 0)
      return absl::PermissionDeniedError(std::string("unshare: ") + strerror(errno));
    auto device = TunDevice::Create({.name = "im0", .offload = false});
    if (!device.ok()) return device;
    for (const absl::Status& step :
         {SetLinkMtu("im0", 1420), AddAddress("im0", address, 16), SetLinkUp("im0")})
      if (!step.ok()) return step;
    return device;
  }

  std::function<void()> body_;
  absl::StatusOr<TunDevice> device_ = absl::UnknownError("not set up");
  std::atomic<bool> ready_ = false;
  std::atomic<bool> start_ = false;
  std::thread thread_;
};

// From a device into a path, and from the other path into the device.
class DeviceEnd final : public PacketSink {
 public:
  DeviceEnd(EventLoop& loop, TunDevice& device, SimulatedPath& out) : device_(device) {
    watch_ = loop.WatchFd(device.fd(), EPOLLIN, [this, &out](uint32_t) {
      PacketBatch batch;
      EXPECT_TRUE(device_.Read(batch, 64).ok());
      if (!batch.empty()) out.Write(std::move(batch));
    });
  }
  void Write(PacketBatch batch) override { device_.Write(batch, drops_); }

 private:
  TunDevice& device_;
  EventLoop::Watch watch_;
  DropCounters drops_;
};

const IpAddress kNear = IpAddress::V4(0x0a4d0001);
const IpAddress kFar = IpAddress::V4(0x0a4d0002);
constexpr uint16_t kPort = 7;

sockaddr_in Address(const IpAddress& address) {
  sockaddr_storage storage{};
  Endpoint{address, kPort}.ToSockaddr(storage);
  sockaddr_in in;
  std::memcpy(&in, &storage, sizeof(in));
  return in;
}

FileDescriptor Socket() {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{.tv_sec = 0, .tv_usec = 100'000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  const char* wanted = std::getenv("IM_CONGESTION");
  const std::string algorithm = wanted != nullptr ? wanted : "cubic";
  setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, algorithm.data(),
             static_cast<socklen_t>(algorithm.size()));
  return fd;
}

struct Case {
  int rtt_ms;
  int lost_per_million;
  int megabits_per_second = 200;
};

class KernelPathTest : public ::testing::TestWithParam<Case> {};

TEST_P(KernelPathTest, DISABLED_CarriesWhatItDoes) {
  const Case& c = GetParam();
  RealClock clock;
  auto loop = EventLoop::Create(clock).value();
  const auto options = [&](uint64_t seed) {
    return SimulatedPath::Options{.seed = seed, .delay = std::chrono::microseconds(c.rtt_ms * 500),
                                  .lost_per_million = c.lost_per_million,
                                  .bits_per_second = c.megabits_per_second * uint64_t{1'000'000}};
  };
  SimulatedPath there(*loop, options(3)), back(*loop, options(4));
  std::atomic<bool> over = false;
  std::atomic<uint64_t> received = 0;
  static char buffer[65536];

  KernelHost far(kFar, [&] {
    const FileDescriptor listener = Socket();
    const sockaddr_in address = Address(kFar);
    bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    listen(listener.get(), 1);
    FileDescriptor fd;
    while (!over && !fd.valid()) fd = FileDescriptor(accept(listener.get(), nullptr, nullptr));
    static char sink[65536];
    while (!over) {
      const ssize_t n = read(fd.get(), sink, sizeof(sink));
      if (n > 0) received += static_cast<uint64_t>(n);
    }
  });
  KernelHost near(kNear, [&] {
    FileDescriptor fd;
    const sockaddr_in address = Address(kFar);
    for (;;) {  // until the other listens
      fd = Socket();
      if (over || connect(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                          sizeof(address)) == 0 || errno == EINPROGRESS)
        break;
    }
    while (!over) {
      if (write(fd.get(), buffer, sizeof(buffer)) < 0 && errno != EAGAIN) break;
    }
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  });
  if (!near.device().ok() || !far.device().ok()) {
    over = true;
    GTEST_SKIP() << near.device().status() << " " << far.device().status();
  }
  {
    DeviceEnd near_end(*loop, *near.device(), there), far_end(*loop, *far.device(), back);
    there.Attach(far_end);
    back.Attach(near_end);
    far.Start();
    near.Start();
    const Duration time = seconds(c.rtt_ms > 10 ? 20 : 10);
    const Instant end = loop->now() + time;
    while (loop->now() < end) loop->RunOnce(end - loop->now());
    const double rate = static_cast<double>(received) * 8 /
                        std::chrono::duration<double>(time).count();
    std::printf("  kernel %2d ms, %4d Mb/s, %5d ppm: %6.2f Mb/s; lost %lu, overflow %lu\n", c.rtt_ms,
                c.megabits_per_second, c.lost_per_million, rate / 1e6, static_cast<unsigned long>(there.counters().lost),
                static_cast<unsigned long>(there.counters().overflow));
    over = true;
    EXPECT_GT(received, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sweep, KernelPathTest,
    ::testing::Values(Case{1, 0}, Case{1, 100}, Case{1, 1000}, Case{1, 10'000}, Case{20, 0},
                      Case{20, 100}, Case{20, 1000}, Case{20, 10'000}, Case{80, 0}, Case{80, 100},
                      Case{80, 1000}, Case{80, 10'000}));

INSTANTIATE_TEST_SUITE_P(
    Gigabit, KernelPathTest,
    ::testing::Values(Case{1, 0, 1000}, Case{1, 1000, 1000}, Case{1, 10'000, 1000},
                      Case{20, 0, 1000}, Case{20, 1000, 1000}, Case{20, 10'000, 1000},
                      Case{80, 0, 1000}, Case{80, 1000, 1000}, Case{80, 10'000, 1000}));

}  // namespace
}  // namespace im::netstack
