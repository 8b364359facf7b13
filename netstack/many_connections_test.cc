// Many connections in one stack: what one costs the others, and that quiet ones
// (pcb_table.h) are there when they are wanted.

#include <time.h>

#include <cstdio>
#include <vector>

#include "base/test_seeds.h"
#include "lwip/priv/tcp_priv.h"
#include "netstack/scripted_peer.h"
#include "netstack/tcp_connection.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

size_t ListedPcbs() {
  size_t n = 0;
  for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) ++n;
  return n;
}

class ManyConnectionsTest : public ScriptedTest {
 protected:
  struct Pair {
    RecordingHandler server;
    Peer peer;
  };

  // The far end of connection `i`.
  static Endpoint Far(size_t i) {
    return {IpAddress::V4(0x0a4d0100 + static_cast<uint32_t>(i / 1000)),
            static_cast<uint16_t>(10'000 + i % 1000)};
  }

  void Establish(size_t count) {
    if (listener_ == nullptr)
      listener_ = stack_->Listen({kOurs, 7}, [this](auto connection) {
        RecordingHandler& server = pairs_.back()->server;
        server.connection = std::move(connection);
        server.connection->SetHandler(&server);
      }).value();
    for (size_t i = 0; i < count; ++i) {
      pairs_.push_back(std::unique_ptr<Pair>(new Pair{{}, Peer(Far(pairs_.size()), {kOurs, 7})}));
      Peer& peer = pairs_.back()->peer;
      Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
      peer.Got(Next());
      Deliver(peer.Packet(kTcpAck));
      ASSERT_NE(pairs_.back()->server.connection, nullptr);
    }
    Advance(milliseconds(200));  // some ticks
    wire_.sent.clear();
  }

  std::unique_ptr<TcpListener> listener_;
  std::vector<std::unique_ptr<Pair>> pairs_;
};

TEST_F(ManyConnectionsTest, QuietOnesAreNotInTheListThatLwipWalks) {
  Establish(100);
  EXPECT_EQ(ListedPcbs(), 0u);
  EXPECT_EQ(loop_->NextDeadline(), kNever);
  // Data that waits for its acknowledgment needs lwIP's timers.
  pairs_[7]->server.connection->Write(Bytes("anybody?"));
  Turn();
  EXPECT_EQ(ListedPcbs(), 1u);
  Advance(milliseconds(300));
  EXPECT_EQ(ListedPcbs(), 1u);
  wire_.sent.clear();
  Advance(seconds(2));
  EXPECT_EQ(Next().payload, "anybody?");  // sent again
}

TEST_F(ManyConnectionsTest, AQuietOneTakesWhatComesAndWhatItsProgramSays) {
  Establish(10);
  Pair& pair = *pairs_[3];
  Deliver(pair.peer.Packet(kTcpAck, "hello"));
  EXPECT_EQ(pair.server.data, "hello");
  Advance(milliseconds(200));
  wire_.sent.clear();
  pair.server.connection->Write(Bytes("good day"));
  const SentPacket answer = Next();
  EXPECT_EQ(answer.payload, "good day");
  pair.peer.Got(answer);
  Deliver(pair.peer.Packet(kTcpFin | kTcpAck));
  EXPECT_EQ(pair.server.events, "read-closed");
  Advance(milliseconds(200));
  pair.server.connection->CloseWrite();
  Turn();
  while (!wire_.sent.empty()) pair.peer.Got(Next());
  Deliver(pair.peer.Packet(kTcpAck));
  EXPECT_EQ(pair.server.events, "read-closed closed");
  // Those beside it are as before.
  Deliver(pairs_[2]->peer.Packet(kTcpAck, "still there?"));
  EXPECT_EQ(pairs_[2]->server.data, "still there?");
}

TEST_F(ManyConnectionsTest, AnyOfThemMayEndInAnyOrder) {
  Establish(40);
  for (size_t i = 0; i < 40; i += 2) Deliver(pairs_[i]->peer.Packet(kTcpAck, "x"));
  // Listed and parked ones: reset by the peer, aborted, destroyed.
  for (size_t i = 0; i < 40; i += 5) Deliver(pairs_[i]->peer.Packet(kTcpRst | kTcpAck));
  for (size_t i = 1; i < 40; i += 5) pairs_[i]->server.connection->Abort();
  for (size_t i = 2; i < 40; i += 5) pairs_[i]->server.connection.reset();
  Advance(milliseconds(200));
  wire_.sent.clear();
  for (size_t i = 0; i < 40; ++i) {
    const bool lives = i % 5 >= 3;
    Deliver(pairs_[i]->peer.Packet(kTcpAck, "y"));
    if (lives) {
      EXPECT_EQ(pairs_[i]->server.data, i % 2 == 0 ? "xy" : "y") << i;
    } else {
      EXPECT_TRUE((Next().view.tcp_flags & kTcpRst) != 0) << i;
    }
    wire_.sent.clear();
  }
}

TEST_F(ManyConnectionsTest, RemovedInterfaceEndsQuietOnesToo) {
  Establish(10);
  stack_->RemoveInterface(nic_);
  Turn();
  for (const auto& pair : pairs_)
    EXPECT_EQ(pair->server.final_status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(ManyConnectionsTest, TheStackMayEndBeforeThem) {
  Establish(10);
  stack_.reset();
  for (const auto& pair : pairs_) EXPECT_EQ(pair->server.connection->Write(Bytes("x")), 0u);
}

TEST_F(ManyConnectionsTest, AListenerMayEndBeforeThem) {
  Establish(10);
  listener_.reset();
  Advance(milliseconds(200));
  for (const auto& pair : pairs_) {
    Deliver(pair->peer.Packet(kTcpAck, "z"));
    EXPECT_EQ(pair->server.data, "z");
  }
}

// More than there are ports to dial from: each remote endpoint has all of them.
TEST_F(ManyConnectionsTest, DialledOnesShareLocalPorts) {
  const size_t each = LongTests() ? 20'000 : 2000;
  RecordingHandler handler;
  std::vector<std::unique_ptr<TcpConnection>> dialled;
  for (uint16_t remote = 1; remote <= 2; ++remote) {
    std::vector<bool> taken(1 << 16);
    for (size_t i = 0; i < each; ++i) {
      auto connection = stack_->Dial({.remote = {kTheirs, remote}}, &handler);
      ASSERT_TRUE(connection.ok()) << connection.status();
      const uint16_t port = (*connection)->local().port;
      EXPECT_GE(port, TCP_LOCAL_PORT_RANGE_START);
      EXPECT_FALSE(taken[port]);
      taken[port] = true;
      dialled.push_back(*std::move(connection));
    }
    Turn();
    wire_.sent.clear();
  }
  // Where each port is one's own choice, none may be had twice.
  const Endpoint local = dialled.back()->local();
  EXPECT_EQ(stack_->Dial({.remote = {kTheirs, 2}, .local = local}, &handler).status().code(),
            absl::StatusCode::kAlreadyExists);
}

// ---- what it costs ----

class CostTest : public ManyConnectionsTest {
 protected:
  static double CpuSeconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  }
  // Microseconds for a packet of data, its acknowledgment, and the ticks, of
  // `busy` flows in turn. The smallest of some tries.
  double PacketUs(size_t busy) {
    constexpr size_t kPackets = 2560;
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      std::vector<std::vector<uint8_t>> packets;
      for (size_t n = 0; n < kPackets; ++n)
        packets.push_back(pairs_[n % busy]->peer.Packet(kTcpAck, std::string(1000, 'x')));
      const double begin_s = CpuSeconds();
      for (size_t n = 0; n < kPackets; ++n) {
        nic_->Write(SinglePacket(packets[n]));
        if (n % 16 != 15) continue;
        clock_.Advance(milliseconds(1));
        Turn();
      }
      best = std::min(best, (CpuSeconds() - begin_s) * 1e6 / kPackets);
      wire_.sent.clear();
      for (auto& pair : pairs_) pair->server.data.clear();
    }
    return best;
  }
};

TEST_F(CostTest, APacketDoesNotGrowWithTheConnections) {
  const std::vector<size_t> counts =
      LongTests() ? std::vector<size_t>{128, 1000, 10'000} : std::vector<size_t>{128, 2000};
  std::vector<double> one, two, many;
  for (const size_t count : counts) {
    Establish(count - pairs_.size());
    one.push_back(PacketUs(1));
    two.push_back(PacketUs(2));
    many.push_back(PacketUs(128));
    std::printf("  %5zu connections, us a packet: %.2f of one busy flow, %.2f of two, %.2f of 128\n",
                count, one.back(), two.back(), many.back());
  }
  // Where each packet was looked for along all, 10,000 cost twenty times as much.
  EXPECT_LT(one.back(), 3 * one.front());
  EXPECT_LT(two.back(), 3 * two.front());
  EXPECT_LT(many.back(), 3 * many.front());
}

}  // namespace
}  // namespace im::netstack
