#include "netstack/blocking.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "netstack/back_to_back.h"
#include "netstack/net_error.h"
#include "netstack/test_support.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct Addresses {
  const char* name;
  IpAddress a, b;
  int prefix_length;
};

// One stack with two interfaces back to back, over both families.
class BlockingTest : public ::testing::TestWithParam<Addresses> {
 protected:
  BlockingTest() : stack_(BlockingStack::Create().value()) {
    const auto [to_a, to_b] = BackToBack();
    const int length = GetParam().prefix_length;
    nic_a_ = stack_->AddInterface({.address = a_, .prefix_length = length}, to_a).value();
    (void)stack_->AddInterface({.address = b_, .prefix_length = length}, to_b).value();
  }

  absl::StatusOr<std::unique_ptr<BlockingConnection>> Dial(const Endpoint& remote) {
    return stack_->Dial({.remote = remote, .local = Endpoint{a_, 0}, .timeout = seconds(30)});
  }
  std::string ReadAll(BlockingConnection& connection) {
    std::string all;
    uint8_t buffer[4096];
    for (;;) {
      const auto n = connection.Read(buffer, Within(seconds(30)));
      EXPECT_TRUE(n.ok()) << n.status();
      if (!n.ok() || *n == 0) return all;
      all.append(reinterpret_cast<const char*>(buffer), *n);
    }
  }

  const IpAddress a_ = GetParam().a;
  const IpAddress b_ = GetParam().b;
  std::unique_ptr<BlockingStack> stack_;
  int nic_a_ = 0;
};

INSTANTIATE_TEST_SUITE_P(
    Both, BlockingTest,
    ::testing::Values(Addresses{"Ipv4", IpAddress::V4(0x0a640001), IpAddress::V4(0x0a640002), 32},
                      Addresses{"Ipv6", *IpAddress::Parse("fd00:64::1"),
                                *IpAddress::Parse("fd00:64::2"), 128}),
    [](const auto& test) { return test.param.name; });

TEST_P(BlockingTest, RequestAndAnswerByHalfClose) {
  auto listener = stack_->Listen({b_, 80}).value();
  std::thread server([&] {
    auto connection = listener->Accept(Within(seconds(30))).value();
    EXPECT_EQ(connection->remote().address, a_);
    EXPECT_EQ(connection->local(), (Endpoint{b_, 80}));
    const std::string request = ReadAll(*connection);
    EXPECT_TRUE(connection->Write(Bytes("you said " + request)).ok());
  });
  auto connection = Dial({b_, 80}).value();
  EXPECT_EQ(connection->local().address, a_);
  EXPECT_TRUE(connection->Write(Bytes("hello")).ok());
  connection->CloseWrite();
  EXPECT_EQ(connection->Write(Bytes("more")).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ReadAll(*connection), "you said hello");
  server.join();
}

TEST_P(BlockingTest, CarriesMuchBothWaysAtOnce) {
  static constexpr size_t kTotal = 3 << 20;
  auto listener = stack_->Listen({b_, 80}).value();
  const auto send = [](BlockingConnection& connection) {
    std::vector<uint8_t> piece(50'000);
    for (size_t done = 0; done < kTotal; done += piece.size()) {
      piece.resize(std::min(piece.size(), kTotal - done));
      for (size_t i = 0; i < piece.size(); ++i) piece[i] = PatternByte(done + i);
      ASSERT_TRUE(connection.Write(piece, Within(seconds(60))).ok());
    }
    connection.CloseWrite();
  };
  const auto receive = [](BlockingConnection& connection) {
    std::vector<uint8_t> buffer(30'000);
    size_t done = 0;
    for (;;) {
      const auto n = connection.Read(buffer, Within(seconds(60)));
      ASSERT_TRUE(n.ok()) << n.status() << " after " << done;
      if (*n == 0) break;
      for (size_t i = 0; i < *n; ++i) ASSERT_EQ(buffer[i], PatternByte(done + i)) << done + i;
      done += *n;
    }
    EXPECT_EQ(done, kTotal);
  };
  auto client = Dial({b_, 80}).value();
  auto server = listener->Accept(Within(seconds(30))).value();
  std::vector<std::thread> threads;
  for (BlockingConnection* end : {client.get(), server.get()}) {
    threads.emplace_back([&send, end] { send(*end); });
    threads.emplace_back([&receive, end] { receive(*end); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(BlockingTest, PeerThatDoesNotReadHoldsTheWriterUp) {
  auto listener = stack_->Listen({b_, 80}).value();
  auto client = Dial({b_, 80}).value();
  auto server = listener->Accept(Within(seconds(30))).value();
  const std::vector<uint8_t> much(32 << 20);
  EXPECT_EQ(client->Write(much, Within(milliseconds(300))).code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_P(BlockingTest, ErrorsInTheWordsOfSockets) {
  EXPECT_EQ(NetErrno(Dial({b_, 81}).status()), ECONNREFUSED);
  EXPECT_EQ(NetErrno(Dial({b_, 0}).status()), EINVAL);
  auto listener = stack_->Listen({b_, 80}).value();
  EXPECT_EQ(NetErrno(stack_->Listen({b_, 80}).status()), EADDRINUSE);
  EXPECT_EQ(NetErrno(stack_->Dial({.remote = {b_, 80}, .local = Endpoint{*IpAddress::Parse(
                                                           "192.0.2.1"), 0}})
                         .status()),
            EADDRNOTAVAIL);
  EXPECT_EQ(NetErrno(BlockingStack::Create().status()), EADDRINUSE);

  auto client = Dial({b_, 80}).value();
  auto server = listener->Accept(Within(seconds(30))).value();
  uint8_t byte[1];
  EXPECT_EQ(NetErrno(client->Read(byte, Within(milliseconds(1))).status()), ETIMEDOUT);
  EXPECT_EQ(NetErrno(listener->Accept(Within(milliseconds(1))).status()), ETIMEDOUT);
  server->Abort();
  EXPECT_EQ(NetErrno(client->Read(byte, Within(seconds(30))).status()), ECONNRESET);
  EXPECT_EQ(NetErrno(client->Write(byte)), ECONNRESET);

  // Nobody answers there, since the interface is the other's network.
  const Endpoint nobody{a_.is_v4() ? IpAddress::V4(0x0a6400fe) : *IpAddress::Parse("fd00:64::fe"),
                        80};
  EXPECT_EQ(NetErrno(stack_->Dial({.remote = nobody, .timeout = milliseconds(20)}).status()),
            ETIMEDOUT);
}

TEST_P(BlockingTest, WhatCameBeforeTheResetIsReadFirst) {
  auto listener = stack_->Listen({b_, 80}).value();
  auto client = Dial({b_, 80}).value();
  auto server = listener->Accept(Within(seconds(30))).value();
  ASSERT_TRUE(server->Write(Bytes("last words")).ok());
  ASSERT_NE(client->stream().Wait(Readiness::kReadable, Within(seconds(30))), 0u);
  server->Abort();
  while (client->stream().status().ok()) client->stream().Wait(0, Within(seconds(30)));
  uint8_t buffer[100];
  EXPECT_EQ(client->Read(buffer).value(), 10u);
  EXPECT_EQ(NetErrno(client->Read(buffer).status()), ECONNRESET);
}

TEST_P(BlockingTest, CloseWakesWhoeverWaits) {
  auto listener = stack_->Listen({b_, 80}).value();
  auto client = Dial({b_, 80}).value();
  auto udp = stack_->BindUdp({b_, 53}).value();
  std::thread reader([&] {
    uint8_t byte[1];
    EXPECT_EQ(client->Read(byte).status().code(), absl::StatusCode::kCancelled);
  });
  std::thread receiver([&] {
    uint8_t byte[1];
    EXPECT_EQ(udp->Receive(byte, nullptr).status().code(), absl::StatusCode::kCancelled);
  });
  auto server = listener->Accept(Within(seconds(30))).value();
  std::thread acceptor([&] {
    EXPECT_EQ(listener->Accept().status().code(), absl::StatusCode::kCancelled);
  });
  client->Close();
  udp->Close();
  listener->Close();
  reader.join();
  receiver.join();
  acceptor.join();
}

TEST_P(BlockingTest, TheStacksEndWakesWhoeverWaits) {
  auto listener = stack_->Listen({b_, 80}).value();
  auto client = Dial({b_, 80}).value();
  auto udp = stack_->BindUdp({b_, 53}).value();
  std::atomic<int> waiting = 0;
  std::vector<std::thread> threads;
  const auto wait = [&](std::function<absl::Status()> call) {
    threads.emplace_back([&waiting, call = std::move(call)] {
      ++waiting;
      EXPECT_EQ(call().code(), absl::StatusCode::kCancelled);
    });
  };
  auto first = listener->Accept(Within(seconds(30))).value();
  static uint8_t byte[3];
  wait([&] { return client->Read({&byte[0], 1}).status(); });
  wait([&] { return first->Read({&byte[1], 1}).status(); });
  wait([&] { return udp->Receive({&byte[2], 1}, nullptr).status(); });
  wait([&] { return listener->Accept().status(); });
  while (waiting < 4) std::this_thread::yield();
  stack_.reset();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(client->Write({byte, 1}).code(), absl::StatusCode::kCancelled);
  // Another one may follow.
  EXPECT_TRUE(BlockingStack::Create().ok());
}

TEST_P(BlockingTest, WhatWasWrittenBeforeCloseArrives) {
  auto listener = stack_->Listen({b_, 80}).value();
  const std::string much(3 << 20, 'x');
  std::thread client([&] {
    auto connection = Dial({b_, 80}).value();
    EXPECT_TRUE(connection->Write(Bytes(much)).ok());
  });
  auto server = listener->Accept(Within(seconds(30))).value();
  EXPECT_EQ(ReadAll(*server), much);
  client.join();
}

TEST_P(BlockingTest, FullBacklogMakesPeersWait) {
  auto listener = stack_->Listen({b_, 80}, 1).value();
  auto first = Dial({b_, 80}).value();
  ASSERT_NE(listener->listener().Wait(Readiness::kReadable, Within(seconds(30))), 0u);
  // From now on SYNs are dropped, and come again after a second.
  std::atomic<bool> connected = false;
  std::thread second([&] {
    EXPECT_TRUE(Dial({b_, 80}).ok());
    connected = true;
  });
  const auto short_dial = stack_->Dial(
      {.remote = {b_, 80}, .local = Endpoint{a_, 0}, .timeout = milliseconds(50)});
  EXPECT_EQ(NetErrno(short_dial.status()), ETIMEDOUT);
  EXPECT_FALSE(connected);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(listener->Accept(Within(seconds(30))).ok());
  second.join();
}

TEST_P(BlockingTest, ManyThreadsManyConnections) {
  auto listener = stack_->Listen({b_, 80}).value();
  constexpr int kThreads = 8, kEach = 20;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {  // servers compete for connections
      for (int i = 0; i < kEach; ++i) {
        auto connection = listener->Accept(Within(seconds(60)));
        ASSERT_TRUE(connection.ok()) << connection.status();
        const std::string request = ReadAll(**connection);
        EXPECT_TRUE((*connection)->Write(Bytes(request + request)).ok());
      }
    });
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        auto connection = Dial({b_, 80});
        ASSERT_TRUE(connection.ok()) << connection.status();
        const std::string mine = std::to_string(t * 1000 + i) + ";";
        EXPECT_TRUE((*connection)->Write(Bytes(mine)).ok());
        (*connection)->CloseWrite();
        EXPECT_EQ(ReadAll(**connection), mine + mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(BlockingTest, UdpBothWays) {
  auto server = stack_->BindUdp({b_, 53}).value();
  auto client = stack_->BindUdp({a_, 0}).value();
  EXPECT_TRUE(client->SendTo({b_, 53}, Bytes("question")).ok());
  uint8_t buffer[100];
  Endpoint from;
  EXPECT_EQ(server->Receive(buffer, &from, Within(seconds(30))).value(), 8u);
  EXPECT_EQ(from, client->local());
  EXPECT_TRUE(server->SendTo(from, Bytes("a longer answer")).ok());
  EXPECT_EQ(client->Receive(std::span(buffer).first(4), &from, Within(seconds(30))).value(), 15u);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(buffer), 4), "a lo");
  EXPECT_EQ(from, (Endpoint{b_, 53}));
  EXPECT_EQ(NetErrno(client->Receive(buffer, nullptr, Within(milliseconds(1))).status()),
            ETIMEDOUT);
  EXPECT_EQ(NetErrno(client->SendTo({b_, 53}, std::vector<uint8_t>(66'000))), EINVAL);
}

TEST_P(BlockingTest, ConnectedUdpHearsOfRefusals) {
  auto client = stack_->BindUdp({a_, 0}).value();
  client->Connect({b_, 54});
  EXPECT_TRUE(client->SendTo({b_, 54}, Bytes("anybody?")).ok());
  uint8_t buffer[1];
  EXPECT_EQ(NetErrno(client->Receive(buffer, nullptr, Within(seconds(30))).status()),
            ECONNREFUSED);
  EXPECT_EQ(NetErrno(client->Receive(buffer, nullptr, Within(milliseconds(1))).status()),
            ETIMEDOUT);
}

TEST_P(BlockingTest, RemovedInterfaceEndsItsConnections) {
  auto listener = stack_->Listen({b_, 80}).value();
  auto client = Dial({b_, 80}).value();
  EXPECT_TRUE(stack_->RemoveInterface(nic_a_).ok());
  EXPECT_EQ(stack_->RemoveInterface(nic_a_).code(), absl::StatusCode::kNotFound);
  uint8_t byte[1];
  EXPECT_EQ(NetErrno(client->Read(byte, Within(seconds(30))).status()), EHOSTUNREACH);
}

TEST_P(BlockingTest, ReadinessCanBePolled) {
  auto listener = stack_->Listen({b_, 80}).value();
  auto client = Dial({b_, 80}).value();
  auto server = listener->Accept(Within(seconds(30))).value();
  SharedStream& stream = client->stream();
  pollfd polled{.fd = stream.poll_fd(), .events = POLLIN};
  EXPECT_EQ(poll(&polled, 1, 0), 0);
  stream.SetInterest(Readiness::kWritable);
  EXPECT_EQ(poll(&polled, 1, 0), 1);
  stream.SetInterest(Readiness::kReadable);
  EXPECT_EQ(poll(&polled, 1, 0), 0);
  EXPECT_TRUE(server->Write(Bytes("x")).ok());
  EXPECT_EQ(poll(&polled, 1, 30'000), 1);
  uint8_t byte[1];
  EXPECT_EQ(client->Read(byte).value(), 1u);
  EXPECT_EQ(poll(&polled, 1, 0), 0);
  server.reset();
  EXPECT_EQ(poll(&polled, 1, 30'000), 1);
  EXPECT_EQ(client->Read(byte).value(), 0u);
  EXPECT_EQ(poll(&polled, 1, 0), 1);  // the end stays readable
}

}  // namespace
}  // namespace im::netstack
