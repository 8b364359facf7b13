// Odd input, and handlers that do what they may.

#include "netstack/tcp_connection.h"

#include "lwip/priv/tcp_priv.h"
#include "netstack/tcp_connection_fixture.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(TcpConnectionTest, OutOfOrderDataBeyondTheWindowIsDropped) {
  Establish();
  handler_.read_at_once = false;
  // Ends beyond the window, begins in it.
  Peer ahead = *peer_;
  ahead.sequence += kReceiveWindowFirst - 10;
  Deliver(ahead.Packet(kTcpAck, std::string(1000, 'z')));
  EXPECT_TRUE(Next().Is(kTcpAck));
  // Fill the gap: lwIP must not come to trust the segment that it had.
  for (uint32_t left = kReceiveWindowFirst - 10; left > 0;) {
    const uint32_t n = std::min<uint32_t>(left, 1380);
    Deliver(peer_->Packet(kTcpAck, std::string(n, 'x')));
    left -= n;
  }
  EXPECT_EQ(handler_.connection->ReadableBytes(), size_t{kReceiveWindowFirst} - 10);
}

TEST_F(TcpConnectionTest, OptionsInMidConnectionAreIgnored) {
  Establish();
  handler_.connection->SetNoDelay(false);
  handler_.connection->Write(Bytes(std::string(20'000, 'q')));
  Turn();
  wire_.sent.clear();
  // MSS 1, window scale 14.
  const std::vector<uint8_t> options = {2, 4, 0, 1, 1, 3, 3, 14};
  Deliver(peer_->Packet(kTcpAck, "x", options));
  handler_.connection->Write(Bytes(std::string(5000, 'r')));
  Turn();
  EXPECT_EQ(handler_.events, "");
}

TEST_F(TcpConnectionTest, TinySegmentSizeIsRaised) {
  Dial();
  peer_->Got(Next());
  const std::vector<uint8_t> options = {2, 4, 0, 1};
  Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", options));
  Next();
  handler_.connection->Write(Bytes(std::string(10'000, 'q')));
  EXPECT_EQ(Next().payload.size(), kLeastMss);
}

TEST_F(TcpConnectionTest, SecondSynDoesNotRaiseTheSegmentSize) {
  RecordingHandler server;
  auto listener = stack_->Listen({kOurs, 7}, [&](auto connection) {
    server.connection = std::move(connection);
    server.connection->SetHandler(&server);
  });
  Peer peer(kRemote, {kOurs, 7});
  const Peer fresh = peer;
  const std::vector<uint8_t> options = {2, 4, 0xff, 0xff};
  for (int i = 0; i < 2; ++i) {
    peer = fresh;
    Deliver(peer.Packet(kTcpSyn, "", options));
    peer.Got(Next());
  }
  Deliver(peer.Packet(kTcpAck));
  ASSERT_NE(server.connection, nullptr);
  server.connection->Write(Bytes(std::string(10'000, 'q')));
  const SentPacket data = Next();
  EXPECT_FALSE(data.view.fragment);
  EXPECT_EQ(data.payload.size(), 1420u - 40);
}

// A host that was started anew has forgotten its connections, and takes their ports again.
TEST_F(TcpConnectionTest, ASynForAnOldConnectionLeadsToANewOne) {
  RecordingHandler server;
  auto listener = stack_->Listen({kOurs, 7}, [&](auto connection) {
    server.connection = std::move(connection);
    server.connection->SetHandler(&server);
  });
  Peer peer(kRemote, {kOurs, 7});
  uint32_t sequence = peer.sequence;
  const auto open = [&] {
    peer = Peer(kRemote, {kOurs, 7});
    peer.sequence = sequence;
    Deliver(peer.Packet(kTcpSyn));
  };
  for (const bool established : {true, false}) {
    for (const uint32_t ahead : {1u, 1000u, 0x40000000u, 0x7fffffffu, 0x80000001u, 0xfffffff0u}) {
      SCOPED_TRACE(ahead);
      open();
      peer.Got(Next());
      if (established) Deliver(peer.Packet(kTcpAck));
      const uint32_t old_next = peer.sequence;
      sequence += ahead;
      open();
      const SentPacket answer = Next();
      EXPECT_TRUE(answer.Is(kTcpAck));
      EXPECT_EQ(answer.view.tcp_acknowledgment, old_next);
      EXPECT_TRUE(Silent());
      // As a kernel answers an acknowledgment of what it never sent.
      Deliver(BuildTcp(kRemote, {kOurs, 7},
                       {.sequence = answer.view.tcp_acknowledgment, .flags = kTcpRst}));
      EXPECT_TRUE(Silent());
      open();
      peer.Got(Next());
      Deliver(BuildTcp(kRemote, {kOurs, 7}, {.sequence = peer.sequence, .flags = kTcpRst}));
      sequence += 100;
    }
  }
}

TEST_F(TcpConnectionTest, WindowThatOpensFromNothingKeepsTheSegmentSize) {
  Establish(0);
  handler_.connection->SetNoDelay(true);
  handler_.connection->Write(Bytes(std::string(5000, 'q')));
  EXPECT_TRUE(Silent());
  peer_->window = 1;  // 128 bytes
  Deliver(peer_->Packet(kTcpAck));
  EXPECT_EQ(handler_.connection->Write(Bytes(std::string(5000, 'r'))), 5000u);
  peer_->window = 0xffff;
  Deliver(peer_->Packet(kTcpAck));
  size_t sent = 0;
  while (!Silent()) sent += Next().payload.size();
  EXPECT_EQ(sent, 10'000u);
}

// Reads nothing until `left` bytes of the window are open.
class NarrowWindowTest : public TcpConnectionTest {
 protected:
  void Narrow(uint32_t left) {
    Establish();
    handler_.read_at_once = false;
    for (uint32_t n; filled_ < kReceiveWindowFirst - left; filled_ += n) {
      n = std::min<uint32_t>(kReceiveWindowFirst - left - filled_, 1380);
      Deliver(peer_->Packet(kTcpAck, std::string(n, 'x')));
    }
    wire_.sent.clear();
  }
  // What is `offset` bytes ahead; the peer's own place does not move.
  void DeliverAhead(uint32_t offset, uint8_t flags, size_t size) {
    Peer ahead = *peer_;
    ahead.sequence += offset;
    Deliver(ahead.Packet(flags, std::string(size, 'z')));
  }
  uint32_t filled_ = 0;
};

TEST_F(NarrowWindowTest, FinIsNotMovedToDataAtTheWindowsEnd) {
  Narrow(100);
  DeliverAhead(20, kTcpFin | kTcpAck, 10);
  DeliverAhead(10, kTcpAck, 90);  // covers it, to the last byte of the window
  Deliver(peer_->Packet(kTcpAck, std::string(10, 'x')));
  EXPECT_EQ(handler_.connection->ReadableBytes(), filled_ + 10);
}

TEST_F(NarrowWindowTest, FinIsNotAddedToDataThatFillsTheWindow) {
  Narrow(100);
  DeliverAhead(20, kTcpFin | kTcpAck, 10);
  Deliver(peer_->Packet(kTcpAck, std::string(100, 'x')));
  EXPECT_EQ(handler_.connection->ReadableBytes(), size_t{kReceiveWindowFirst});
}

TEST_F(NarrowWindowTest, AcknowledgmentFromTheWindowsEndCounts) {
  Narrow(100);
  handler_.connection->Write(Bytes(std::string(1380, 'q')));
  peer_->Got(Next());
  DeliverAhead(100, kTcpAck, 0);
  EXPECT_EQ(Next().payload, "");  // an acknowledgment, since it is outside
  Advance(seconds(5));
  EXPECT_TRUE(Silent());  // nothing is sent again
}

TEST_F(TcpConnectionTest, ProbingEndsWhenAllIsAcknowledged) {
  Establish();
  handler_.connection->Write(Bytes(std::string(1380, 'q')));
  SentPacket data = Next();
  // The window closes before the data is taken; it waits to be sent again.
  peer_->window = 0;
  Deliver(peer_->Packet(kTcpAck, "x"));
  Advance(seconds(5));
  peer_->Got(data);
  Deliver(peer_->Packet(kTcpAck));
  Advance(seconds(5));
  wire_.sent.clear();
  peer_->window = 0xffff;
  Deliver(peer_->Packet(kTcpAck, "y"));
  handler_.connection->Write(Bytes(std::string(1380, 'r')));
  EXPECT_EQ(Next().payload.size(), 1380u);
}

TEST_F(TcpConnectionTest, SynInMidConnectionChangesNothing) {
  Establish();
  Peer other = *peer_;
  other.sequence = 5;
  Deliver(other.Packet(kTcpSyn, "", kSynOptions));
  EXPECT_EQ(handler_.events, "");
  wire_.sent.clear();
  Deliver(peer_->Packet(kTcpAck, "still here"));
  EXPECT_EQ(handler_.data, "still here");
}

// ---- the handler may do anything ----

TEST_F(TcpConnectionTest, MayBeDestroyedInEachCallback) {
  struct Destroyer final : TcpConnection::Handler {
    explicit Destroyer(int event) : which(event) {}
    void At(int event) {
      if (event == which) connection.reset();
    }
    void OnConnected() override { At(0); }
    void OnReadable() override { At(1); }
    void OnReadClosed() override { At(2); }
    void OnClosed(const absl::Status&) override { At(3); }
    std::unique_ptr<TcpConnection> connection;
    int which;
  };
  for (int which = 0; which < 4; ++which) {
    Destroyer destroyer(which);
    destroyer.connection = stack_->Dial({.remote = kRemote}, &destroyer).value();
    Peer peer(kRemote, destroyer.connection->local());
    peer.Got(Next());
    Deliver(peer.Packet(kTcpSyn | kTcpAck, "", kSynOptions));
    if (destroyer.connection) Deliver(peer.Packet(kTcpFin | kTcpAck, "data"));
    if (destroyer.connection) {
      Deliver(peer.Packet(kTcpRst | kTcpAck));
      Turn();
    }
    EXPECT_EQ(destroyer.connection, nullptr) << which;
    wire_.sent.clear();
  }
}

TEST_F(TcpConnectionTest, HandlerMaySetAnother) {
  Establish();
  RecordingHandler second;
  second.read_at_once = false;
  handler_.read_at_once = false;
  Deliver(peer_->Packet(kTcpAck, "for whom"));
  EXPECT_EQ(handler_.events, "readable");
  handler_.connection->SetHandler(&second);
  Turn();
  EXPECT_EQ(second.events, "readable");
  handler_.connection->SetHandler(nullptr);
  Deliver(peer_->Packet(kTcpRst | kTcpAck));
  EXPECT_EQ(handler_.events + second.events, "readablereadable");
}

TEST_F(TcpConnectionTest, OutlivesItsStack) {
  Establish();
  nic_ = nullptr;
  stack_.reset();
  EXPECT_TRUE(Next().Is(kTcpRst | kTcpAck));
  EXPECT_EQ(handler_.connection->Write(Bytes("x")), 0u);
  handler_.connection->CloseWrite();
  handler_.connection->Abort();
  Turn();
  EXPECT_EQ(handler_.events, "");
}

}  // namespace
}  // namespace im::netstack
