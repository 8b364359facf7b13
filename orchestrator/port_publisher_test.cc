// A host in another process (its stack on the other end of a socket pair), a
// PortPublisher here, and clients on the loopback interface.

#include "orchestrator/port_publisher.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "netstack/test_support.h"

namespace im::orchestrator {
namespace {

using netstack::Child;
using netstack::InterfaceOptions;
using netstack::LinkedStack;
using netstack::PatternByte;
using netstack::RunUntil;
using netstack::TcpConnection;
using ::testing::HasSubstr;

const InterfaceOptions kGatewayEnd{.name = "gw", .address = IpAddress::V4(0x0a4d0001),
                                .prefix_length = 16};
const InterfaceOptions kHostEnd{.name = "host", .address = IpAddress::V4(0x0a4d0002),
                             .prefix_length = 16};
constexpr uint16_t kEchoPort = 7;
constexpr uint16_t kSlowPort = 8;    // reads nothing before somebody connects to kGoPort
constexpr uint16_t kClosedPort = 9;  // nobody listens
constexpr uint16_t kGoPort = 10;
const Endpoint kAnyLoopbackPort{IpAddress::V4(0x7f000001), 0};

// Echoes; closes when the peer does. A slow one waits for Go.
class HostConnection final : public TcpConnection::Handler {
 public:
  HostConnection(std::unique_ptr<TcpConnection> connection, bool slow,
                 std::function<void(HostConnection*)> done)
      : connection_(std::move(connection)), slow_(slow), done_(std::move(done)) {
    connection_->SetHandler(this);
  }
  void OnReadable() override {
    Pump();
  }
  void OnWritable() override { Pump(); }
  void OnReadClosed() override {
    eof_ = true;
    Pump();
  }
  void OnClosed(const absl::Status&) override { done_(this); }
  void Go() {
    slow_ = false;
    Pump();
  }

 private:
  void Pump() {
    if (slow_) return;
    for (;;) {
      if (held_.empty()) {
        held_.resize(std::min<size_t>(65536, connection_->ReadableBytes()));
        connection_->Read(held_);
      }
      if (held_.empty()) break;
      const size_t n = connection_->Write(held_);
      held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(n));
      if (!held_.empty()) return;
    }
    if (eof_) connection_->CloseWrite();
  }
  std::unique_ptr<TcpConnection> connection_;
  bool slow_;
  std::function<void(HostConnection*)> done_;
  std::vector<uint8_t> held_;
  bool eof_ = false;
};

int RunHost(FileDescriptor fd) {
  LinkedStack host(std::move(fd), kHostEnd);
  std::map<HostConnection*, std::unique_ptr<HostConnection>> open;
  std::vector<std::unique_ptr<netstack::TcpListener>> listeners;
  for (const uint16_t port : {kEchoPort, kSlowPort, kGoPort}) {
    auto listener = host.stack.Listen({kHostEnd.address, port}, [&, port](auto connection) {
      if (port == kGoPort)
        for (auto& [slow, owned] : open) slow->Go();
      auto served = std::make_unique<HostConnection>(std::move(connection), port == kSlowPort,
                                                     [&](HostConnection* h) { open.erase(h); });
      open.emplace(served.get(), std::move(served));
    });
    if (!listener.ok()) return 3;
    listeners.push_back(std::move(*listener));
  }
  while (!host.link.broken()) host.loop->RunOnce(std::chrono::seconds(60));
  return 0;
}

class PortPublisherTest : public ::testing::Test {
 protected:
  std::unique_ptr<PortPublisher> Open(uint16_t inner_port) {
    return PortPublisher::Open(
               *gateway_.loop, gateway_.stack, kAnyLoopbackPort, {kHostEnd.address, inner_port},
               {.on_connect = [this](const Endpoint& client) { clients_.push_back(client); },
                .on_failure = [this](const absl::Status& status) { failures_.push_back(status); },
                .otherwise = otherwise_})
        .value();
  }
  void Publish(uint16_t inner_port) { port_ = Open(inner_port); }

  FileDescriptor Connect() { return Connect(*port_); }
  static FileDescriptor Connect(const PortPublisher& port) {
    FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    const socklen_t size = port.local().ToSockaddr(address);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
      EXPECT_EQ(errno, EINPROGRESS);
    }
    return fd;
  }

  bool Until(const std::function<bool()>& done) {
    return RunUntil(*gateway_.loop, done, std::chrono::milliseconds(1));
  }

  // Reads until the end; the errno that ended it, or 0.
  int ReadToEnd(const FileDescriptor& fd, std::string& data) {
    int error = -1;
    EXPECT_TRUE(Until([&] {
      char buffer[65536];
      for (;;) {
        const ssize_t n = recv(fd.get(), buffer, sizeof(buffer), 0);
        if (n > 0) {
          data.append(buffer, static_cast<size_t>(n));
          continue;
        }
        if (n == 0) error = 0;
        if (n < 0 && errno != EAGAIN) error = errno;
        return error >= 0;
      }
    }));
    return error;
  }

  Child child_{RunHost};  // before the gateway's stack
  LinkedStack gateway_{child_.TakeFd(), kGatewayEnd};
  std::unique_ptr<PortPublisher> port_;
  std::vector<Endpoint> clients_;
  std::vector<absl::Status> failures_;
  Splice::OtherwiseFunction otherwise_;
};

TEST_F(PortPublisherTest, CarriesBytesAndHalfCloseBothWays) {
  Publish(kEchoPort);
  FileDescriptor client = Connect();
  ASSERT_TRUE(Until([&] { return send(client.get(), "hello", 5, MSG_NOSIGNAL) == 5; }));
  std::string data;
  ASSERT_TRUE(Until([&] {
    char buffer[16];
    const ssize_t n = recv(client.get(), buffer, sizeof(buffer), 0);
    if (n > 0) data.append(buffer, static_cast<size_t>(n));
    return data == "hello";
  }));
  ASSERT_EQ(send(client.get(), " there", 6, MSG_NOSIGNAL), 6);
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  EXPECT_EQ(ReadToEnd(client, data), 0);
  EXPECT_EQ(data, "hello there");
  EXPECT_TRUE(Until([&] { return port_->connections() == 0; }));
  EXPECT_EQ(clients_.size(), 1u);
  EXPECT_TRUE(failures_.empty());
}

TEST_F(PortPublisherTest, RefusalInsideResetsTheClientAndSaysWhy) {
  Publish(kClosedPort);
  FileDescriptor client = Connect();
  std::string data;
  EXPECT_EQ(ReadToEnd(client, data), ECONNRESET);
  ASSERT_EQ(failures_.size(), 1u);
  EXPECT_EQ(failures_[0].code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(failures_[0].message()),
              HasSubstr(clients_.at(0).ToString() + " to 10.77.0.2:9: connection refused"));
  EXPECT_EQ(port_->connections(), 0u);
}

TEST_F(PortPublisherTest, WhatIsRefusedIsTriedOnceElsewhere) {
  uint16_t other = kEchoPort;
  int asked = 0;
  otherwise_ = [&]() -> std::optional<Endpoint> {
    ++asked;
    if (other == 0) return std::nullopt;
    return Endpoint{kHostEnd.address, other};
  };
  Publish(kClosedPort);
  FileDescriptor client = Connect();
  ASSERT_TRUE(Until([&] { return send(client.get(), "hello", 5, MSG_NOSIGNAL) == 5; }));
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  std::string data;
  EXPECT_EQ(ReadToEnd(client, data), 0);
  EXPECT_EQ(data, "hello") << "sent while it was refused";
  EXPECT_TRUE(failures_.empty());
  EXPECT_EQ(asked, 1);
  for (uint16_t refused : {kClosedPort, uint16_t{0}}) {
    other = refused;
    FileDescriptor second = Connect();
    EXPECT_EQ(ReadToEnd(second, data), ECONNRESET);
  }
  EXPECT_EQ(failures_.size(), 2u);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(port_->connections(), 0u);
}

TEST_F(PortPublisherTest, ClientsResetEndsTheConnectionInside) {
  Publish(kEchoPort);
  FileDescriptor client = Connect();
  ASSERT_TRUE(Until([&] { return send(client.get(), "x", 1, MSG_NOSIGNAL) == 1; }));
  char byte;
  ASSERT_TRUE(Until([&] { return recv(client.get(), &byte, 1, 0) == 1; }));
  const linger reset = {.l_onoff = 1, .l_linger = 0};
  setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  client.Reset();
  EXPECT_TRUE(Until([&] { return port_->connections() == 0; }));
  EXPECT_TRUE(failures_.empty());
}

TEST_F(PortPublisherTest, SlowHostStopsTheClientAndLosesNothing) {
  Publish(kSlowPort);
  FileDescriptor client = Connect();
  // Until nothing moves for 100 turns with the client's socket full.
  std::string chunk(65536, '\0');
  uint64_t sent = 0;
  int full = 0;
  ASSERT_TRUE(Until([&] {
    for (;;) {
      for (size_t i = 0; i < chunk.size(); ++i)
        chunk[i] = static_cast<char>(PatternByte(sent + i));
      const ssize_t n = send(client.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<uint64_t>(n);
      full = 0;
    }
    return ++full == 100;
  }));
  // The two stacks' buffers, the splice's, and the kernel's.
  EXPECT_GT(sent, 2u << 20);
  EXPECT_LT(sent, 40u << 20);
  const std::unique_ptr<PortPublisher> go = Open(kGoPort);
  const FileDescriptor starter = Connect(*go);
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  std::string echo;
  EXPECT_EQ(ReadToEnd(client, echo), 0);
  ASSERT_EQ(echo.size(), sent);
  size_t wrong = 0;
  for (size_t i = 0; i < echo.size(); ++i)
    if (static_cast<uint8_t>(echo[i]) != PatternByte(i)) ++wrong;
  EXPECT_EQ(wrong, 0u);
}

TEST_F(PortPublisherTest, BeyondTheLimitClientsWaitForOneToClose) {
  Publish(kEchoPort);
  // Both ends of each are this process's.
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < 4 * kPublishedConnectionsMax) GTEST_SKIP() << "too few descriptors";
  limit.rlim_cur = std::max<rlim_t>(limit.rlim_cur, 4 * kPublishedConnectionsMax);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  std::vector<FileDescriptor> clients;
  for (size_t i = 0; i < kPublishedConnectionsMax + 2; ++i) clients.push_back(Connect());
  ASSERT_TRUE(Until([&] { return port_->connections() == kPublishedConnectionsMax; }));
  ASSERT_EQ(send(clients.back().get(), "late", 4, MSG_NOSIGNAL), 4);
  for (int i = 0; i < 50; ++i) gateway_.loop->RunOnce(std::chrono::milliseconds(1));
  EXPECT_EQ(port_->connections(), kPublishedConnectionsMax);
  EXPECT_EQ(clients_.size(), kPublishedConnectionsMax);
  shutdown(clients[0].get(), SHUT_WR);
  shutdown(clients[1].get(), SHUT_WR);
  shutdown(clients.back().get(), SHUT_WR);
  std::string data;
  EXPECT_EQ(ReadToEnd(clients.back(), data), 0);
  EXPECT_EQ(data, "late");
  EXPECT_EQ(clients_.size(), kPublishedConnectionsMax + 2);
}

TEST_F(PortPublisherTest, PortInUseIsAClearError) {
  Publish(kEchoPort);
  const auto second = PortPublisher::Open(*gateway_.loop, gateway_.stack, port_->local(),
                                          {kHostEnd.address, kEchoPort}, {});
  ASSERT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(second.status().message(),
            "ports: " + port_->local().ToString() + " is in use by another program");
}

}  // namespace
}  // namespace im::orchestrator
