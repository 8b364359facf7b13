// The stack against the kernel's TCP, over a TUN device in a network namespace
// of its own. Skipped where namespaces or TUN are not permitted.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "base/netlink.h"
#include "base/tun_device.h"
#include "netstack/test_support.h"

namespace im::netstack {
namespace {

const IpAddress kStackAddress = IpAddress::V4(0x0a4d0001);
const IpAddress kKernelAddress = IpAddress::V4(0x0a4d0002);
constexpr uint64_t kMuch = 100 << 20;  // bytes

// The stack's side of the device.
class TunSink final : public PacketSink {
 public:
  TunSink(EventLoop& loop, TunDevice device) : device_(std::move(device)) {
    watch_ = loop.WatchFd(device_.fd(), EPOLLIN, [this](uint32_t) {
      PacketBatch batch;
      EXPECT_TRUE(device_.Read(batch, 64).ok());
      if (!batch.empty()) inside_->Write(std::move(batch));
    });
  }
  void Attach(PacketSink& inside) { inside_ = &inside; }
  void Write(PacketBatch batch) override { device_.Write(batch, drops_); }

 private:
  TunDevice device_;
  EventLoop::Watch watch_;
  PacketSink* inside_ = nullptr;
  DropCounters drops_;
};

// A thread in a new network namespace, for the kernel's side.
class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::optional<TunDevice> device;
    std::string problem;
    // The namespace lives as long as the device and the sockets in it.
    RunInNamespace([&] {
      auto made = TunDevice::Create({.name = "im0"});
      if (!made.ok()) {
        problem = made.status().ToString();
        return;
      }
      const absl::Status steps[] = {SetLinkMtu("im0", 1420),
                                    AddAddress("im0", kKernelAddress, 16), SetLinkUp("im0")};
      for (const absl::Status& step : steps)
        if (!step.ok()) problem = step.ToString();
      device = std::move(*made);
    }, problem);
    if (!problem.empty()) GTEST_SKIP() << problem;
    loop_ = EventLoop::Create(clock_).value();
    tun_ = std::make_unique<TunSink>(*loop_, std::move(*device));
    stack_ = std::make_unique<Stack>(*loop_);
    tun_->Attach(*stack_->AddInterface({.address = kStackAddress, .prefix_length = 16}, *tun_)
                      .value());
  }
  void TearDown() override {
    if (keeper_.joinable()) {
      keep_ = false;
      keep_.notify_all();
      keeper_.join();
    }
  }

  // Runs `setup` in a new namespace, which a thread then keeps open.
  void RunInNamespace(const std::function<void()>& setup, std::string& problem) {
    std::atomic<bool> ready = false;
    keeper_ = std::thread([&] {
      if (unshare(CLONE_NEWNET) != 0) {
        problem = std::string("unshare: ") + strerror(errno);
      } else {
        setup();
      }
      namespace_tid_ = gettid();
      ready = true;
      ready.notify_all();
      keep_.wait(true);
    });
    ready.wait(false);
  }

  // Runs `body` on a thread in the kernel's namespace while the stack's loop
  // turns, until both are done.
  void WithKernel(const std::function<void()>& body,
                  const std::function<bool()>& done = [] { return true; }) {
    std::atomic<bool> over = false;
    std::thread thread([&] {
      const std::string path = "/proc/self/task/" + std::to_string(namespace_tid_) + "/ns/net";
      const FileDescriptor ns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      EXPECT_EQ(setns(ns.get(), CLONE_NEWNET), 0);
      body();
      over = true;
      loop_->Post([] {});
    });
    EXPECT_TRUE(RunUntil(*loop_, [&] { return over && done(); }));
    thread.join();
  }

  static FileDescriptor KernelSocket() {
    FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{.tv_sec = 50, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return fd;
  }
  static FileDescriptor KernelConnect(uint16_t port) {
    FileDescriptor fd = KernelSocket();
    sockaddr_storage address{};
    const socklen_t size = Endpoint{kStackAddress, port}.ToSockaddr(address);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0)
        << strerror(errno);
    return fd;
  }

  RealClock clock_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<TunSink> tun_;
  std::unique_ptr<Stack> stack_;
  std::atomic<bool> keep_ = true;
  pid_t namespace_tid_ = 0;
  std::thread keeper_;
};

// Counts and checks what it gets, sends `to_send` bytes of the pattern.
class PatternHandler final : public TcpConnection::Handler {
 public:
  explicit PatternHandler(uint64_t to_send) : to_send_(to_send) {}
  void Take(std::unique_ptr<TcpConnection> taken) {
    connection = std::move(taken);
    connection->SetHandler(this);
    Fill();
  }
  void OnConnected() override { Fill(); }
  void OnWritable() override { Fill(); }
  void OnReadable() override {
    static uint8_t buffer[65536];
    while (const size_t n = connection->Read(buffer))
      for (size_t i = 0; i < n; ++i)
        if (buffer[i] != PatternByte(received++)) ++wrong;
  }
  void OnReadClosed() override { connection->CloseWrite(); }
  void OnClosed(const absl::Status& final_status) override {
    closed = true;
    status = final_status;
  }

  std::unique_ptr<TcpConnection> connection;
  uint64_t received = 0;
  uint64_t wrong = 0;
  bool closed = false;
  absl::Status status;

 private:
  void Fill() {
    static uint8_t buffer[65536];
    while (sent_ < to_send_) {
      const size_t n = std::min<uint64_t>(sizeof(buffer), to_send_ - sent_);
      for (size_t i = 0; i < n; ++i) buffer[i] = PatternByte(sent_ + i);
      const size_t written = connection->Write({buffer, n});
      sent_ += written;
      if (written < n) return;
    }
    if (to_send_ > 0) connection->CloseWrite();
  }
  uint64_t to_send_;
  uint64_t sent_ = 0;
};

TEST_F(KernelTest, KernelsClientGetsAPage) {
  // Reads a request up to its empty line, answers, closes.
  struct Page final : TcpConnection::Handler {
    void OnReadable() override {
      uint8_t buffer[1024];
      while (const size_t n = connection->Read(buffer))
        request.append(reinterpret_cast<char*>(buffer), n);
      if (request.find("\r\n\r\n") == std::string::npos) return;
      connection->Write(Bytes("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
      connection->CloseWrite();
    }
    void OnReadClosed() override {}
    void OnClosed(const absl::Status& final_status) override { status = final_status; }
    std::unique_ptr<TcpConnection> connection;
    std::string request;
    absl::Status status = absl::UnknownError("open");
  } page;
  auto listener = stack_->Listen({kStackAddress, 80}, [&](auto connection) {
    page.connection = std::move(connection);
    page.connection->SetHandler(&page);
  });
  std::string response;
  WithKernel([&] {
    const FileDescriptor fd = KernelConnect(80);
    const std::string request = "GET / HTTP/1.0\r\nHost: im\r\n\r\n";
    EXPECT_EQ(send(fd.get(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    char buffer[1024];
    while (true) {
      const ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
      if (n <= 0) break;
      response.append(buffer, static_cast<size_t>(n));
    }
  }, [&] { return page.status.ok(); });
  EXPECT_EQ(response, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}

TEST_F(KernelTest, HundredMegabytesFromTheKernel) {
  PatternHandler handler(0);
  auto listener = stack_->Listen({kStackAddress, 7},
                                 [&](auto connection) { handler.Take(std::move(connection)); });
  WithKernel([&] {
    const FileDescriptor fd = KernelConnect(7);
    std::string chunk(1 << 16, '\0');
    for (uint64_t sent = 0; sent < kMuch;) {
      for (size_t i = 0; i < chunk.size(); ++i)
        chunk[i] = static_cast<char>(PatternByte(sent + i));
      const ssize_t n = send(fd.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<uint64_t>(n);
    }
    shutdown(fd.get(), SHUT_WR);
    char byte;
    EXPECT_EQ(recv(fd.get(), &byte, 1, 0), 0);
  }, [&] { return handler.closed; });
  EXPECT_EQ(handler.received, kMuch);
  EXPECT_EQ(handler.wrong, 0u);
  EXPECT_TRUE(handler.status.ok()) << handler.status;
}

TEST_F(KernelTest, HundredMegabytesToTheKernel) {
  PatternHandler handler(kMuch);
  auto listener = stack_->Listen({kStackAddress, 7},
                                 [&](auto connection) { handler.Take(std::move(connection)); });
  uint64_t received = 0, wrong = 0;
  WithKernel([&] {
    const FileDescriptor fd = KernelConnect(7);
    static uint8_t buffer[65536];
    while (true) {
      const ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
      if (n <= 0) break;
      for (ssize_t i = 0; i < n; ++i)
        if (buffer[i] != PatternByte(received++)) ++wrong;
    }
  }, [&] { return handler.closed; });
  EXPECT_EQ(received, kMuch);
  EXPECT_EQ(wrong, 0u);
  EXPECT_TRUE(handler.status.ok()) << handler.status;
}

TEST_F(KernelTest, KernelRefusesAndTheStackRefuses) {
  RecordingHandler handler;
  handler.connection = stack_->Dial({.remote = {kKernelAddress, 9}}, &handler).value();
  EXPECT_TRUE(RunUntil(*loop_, [&] { return handler.closed; }));
  EXPECT_EQ(handler.events, "closed(connection refused)");
  WithKernel([&] {
    const FileDescriptor fd = KernelSocket();
    sockaddr_storage address{};
    const socklen_t size = Endpoint{kStackAddress, 9}.ToSockaddr(address);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), -1);
    EXPECT_EQ(errno, ECONNREFUSED);
  });
}

TEST_F(KernelTest, UdpBothWays) {
  std::unique_ptr<UdpEndpoint> endpoint =
      stack_
          ->BindUdp({kStackAddress, 53},
                    [&](const Endpoint& from, std::span<const uint8_t> payload) {
                      EXPECT_TRUE(endpoint->SendTo(from, payload).ok());
                    })
          .value();
  WithKernel([&] {
    const FileDescriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const timeval limit{.tv_sec = 50, .tv_usec = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_storage address{};
    const socklen_t size = Endpoint{kStackAddress, 53}.ToSockaddr(address);
    ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    for (const size_t bytes : {size_t{1}, size_t{1392}, size_t{20'000}}) {  // the last: fragments
      const std::string query(bytes, 'q');
      ASSERT_EQ(send(fd.get(), query.data(), query.size(), 0), static_cast<ssize_t>(bytes));
      std::string reply(30'000, '\0');
      const ssize_t n = recv(fd.get(), reply.data(), reply.size(), 0);
      EXPECT_EQ(n, static_cast<ssize_t>(bytes)) << strerror(errno);
    }
  });
}

}  // namespace
}  // namespace im::netstack
