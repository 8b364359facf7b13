// Two stacks in two processes: bulk data, half close, many connections, loss.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "netstack/test_support.h"

namespace im::netstack {
namespace {

constexpr uint16_t kEchoPort = 7;

// The interfaces of both ends.
struct Network {
  InterfaceOptions here, there;
};
const Network kIpv4{
    .here = {.name = "here", .address = IpAddress::V4(0x0a4d0001), .prefix_length = 16},
    .there = {.name = "there", .address = IpAddress::V4(0x0a4d0002), .prefix_length = 16}};
const Network kIpv6{
    .here = {.name = "here", .address = *IpAddress::Parse("fd00:4d::1"), .prefix_length = 64},
    .there = {.name = "there", .address = *IpAddress::Parse("fd00:4d::2"), .prefix_length = 64}};

// Sends back what it gets, closes when the peer does, and goes when over.
class EchoHandler final : public TcpConnection::Handler {
 public:
  using Done = std::function<void(EchoHandler*)>;
  EchoHandler(std::unique_ptr<TcpConnection> connection, Done done)
      : connection_(std::move(connection)), done_(std::move(done)) {
    connection_->SetHandler(this);
  }
  void OnReadable() override { Pump(); }
  void OnWritable() override { Pump(); }
  void OnReadClosed() override {
    read_closed_ = true;
    Pump();
  }
  void OnClosed(const absl::Status&) override { done_(this); }

 private:
  void Pump() {
    for (;;) {
      if (pending_.empty()) {
        pending_.resize(std::min<size_t>(65536, connection_->ReadableBytes()));
        connection_->Read(pending_);
      }
      if (pending_.empty()) break;
      const size_t n = connection_->Write(pending_);
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(n));
      if (!pending_.empty()) return;
    }
    if (read_closed_) connection_->CloseWrite();
  }

  std::unique_ptr<TcpConnection> connection_;
  Done done_;
  std::vector<uint8_t> pending_;
  bool read_closed_ = false;
};

// An echo server until the link breaks.
int RunEchoServer(FileDescriptor fd, const InterfaceOptions& options,
                  const SocketLink::Faults& faults) {
  LinkedStack host(std::move(fd), options, faults);
  std::map<EchoHandler*, std::unique_ptr<EchoHandler>> connections;
  auto listener = host.stack.Listen({options.address, kEchoPort}, [&](auto connection) {
    auto handler = std::make_unique<EchoHandler>(std::move(connection),
                                                 [&](EchoHandler* h) { connections.erase(h); });
    connections.emplace(handler.get(), std::move(handler));
  });
  if (!listener.ok()) return 3;
  while (!host.link.broken()) host.loop->RunOnce(std::chrono::seconds(60));
  // A lost last ACK leaves a connection behind that the client is done with.
  return connections.empty() || faults.lost_per_million > 0 ? 0 : 4;
}

// Sends `total` bytes of the pattern and checks the echo.
class PatternClient final : public TcpConnection::Handler {
 public:
  PatternClient(Stack& stack, const Endpoint& server, uint64_t total) : total_(total) {
    connection_ = stack.Dial({.remote = server}, this).value();
  }
  void OnConnected() override { Fill(); }
  void OnWritable() override { Fill(); }
  void OnReadable() override {
    uint8_t buffer[65536];
    while (const size_t n = connection_->Read(buffer))
      for (size_t i = 0; i < n; ++i)
        if (buffer[i] != PatternByte(received_++)) ++wrong_;
  }
  void OnReadClosed() override { read_closed_ = true; }
  void OnClosed(const absl::Status& status) override {
    closed_ = true;
    status_ = status;
  }
  bool closed() const { return closed_; }
  bool perfect() const {
    return closed_ && status_.ok() && read_closed_ && wrong_ == 0 && received_ == total_;
  }
  std::string Describe() const {
    return status_.ToString() + " received " + std::to_string(received_) + " of " +
           std::to_string(total_) + ", wrong " + std::to_string(wrong_);
  }

 private:
  void Fill() {
    uint8_t buffer[16384];
    while (sent_ < total_) {
      const size_t n = std::min<uint64_t>(sizeof(buffer), total_ - sent_);
      for (size_t i = 0; i < n; ++i) buffer[i] = PatternByte(sent_ + i);
      const size_t written = connection_->Write({buffer, n});
      sent_ += written;
      if (written < n) return;
    }
    connection_->CloseWrite();
  }

  std::unique_ptr<TcpConnection> connection_;
  uint64_t total_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  uint64_t wrong_ = 0;
  bool read_closed_ = false;
  bool closed_ = false;
  absl::Status status_;
};

void ExpectEcho(uint64_t bytes, int connections, const SocketLink::Faults& faults,
                const Network& network = kIpv4) {
  Child child([&](FileDescriptor fd) {
    SocketLink::Faults theirs = faults;
    theirs.seed += 1;
    return RunEchoServer(std::move(fd), network.there, theirs);
  });
  {
    LinkedStack host(child.TakeFd(), network.here, faults);
    const Endpoint server{network.there.address, kEchoPort};
    std::vector<std::unique_ptr<PatternClient>> clients;
    for (int i = 0; i < connections; ++i)
      clients.push_back(std::make_unique<PatternClient>(host.stack, server, bytes));
    EXPECT_TRUE(RunUntil(*host.loop, [&] {
      return host.link.sent_all() &&  // the last ACK too
             std::all_of(clients.begin(), clients.end(), [](auto& c) { return c->closed(); });
    })) << "seed " << faults.seed;
    for (auto& client : clients) EXPECT_TRUE(client->perfect()) << client->Describe();
  }
  EXPECT_EQ(child.Wait(), 0);
}

TEST(Transfer, EchoesAFewBytes) { ExpectEcho(5, 1, {}); }

TEST(Transfer, EchoesFiftyMegabytes) { ExpectEcho(50 << 20, 1, {}); }

TEST(Transfer, EchoesFiftyMegabytesOverIpv6) { ExpectEcho(50 << 20, 1, {}, kIpv6); }

TEST(Transfer, CarriesAThousandConnectionsAtOnce) { ExpectEcho(2000, 1000, {}); }

// A lossy and reordering wire, by seed: slow, but whole.
class LossyTransfer : public ::testing::TestWithParam<uint64_t> {};

TEST_P(LossyTransfer, OneConnectionGetsThrough) {
  ExpectEcho(2 << 20, 1,
             {.seed = GetParam(), .lost_per_million = 1000, .swapped_per_million = 20'000});
}

TEST_P(LossyTransfer, ManyShortConnectionsGetThrough) {
  ExpectEcho(20'000, 20,
             {.seed = GetParam(), .lost_per_million = 30'000, .swapped_per_million = 50'000});
}

TEST_P(LossyTransfer, Ipv6GetsThrough) {
  ExpectEcho(2 << 20, 1,
             {.seed = GetParam(), .lost_per_million = 1000, .swapped_per_million = 20'000}, kIpv6);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LossyTransfer, ::testing::Range<uint64_t>(1, 4));

}  // namespace
}  // namespace im::netstack
