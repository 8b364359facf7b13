#include "netstack/tcp_connection.h"

#include "lwip/priv/tcp_priv.h"
#include "netstack/tcp_connection_fixture.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(TcpConnectionTest, SynOffersSegmentSizeScaleAndSack) {
  Dial();
  const SentPacket syn = Next();
  EXPECT_TRUE(syn.Is(kTcpSyn));
  EXPECT_EQ(syn.view.source, kOurs);
  EXPECT_GE(syn.view.source_port, 0x8000);
  EXPECT_EQ(syn.window, 0xffff);
  // MSS 1380; scale 6; SACK permitted.
  EXPECT_EQ(syn.tcp_options,
            (std::vector<uint8_t>{2, 4, 0x05, 0x64, 1, 3, 3, 10, 1, 1, 4, 2}));
}

TEST_F(TcpConnectionTest, CarriesDataBothWays) {
  Establish();
  EXPECT_EQ(handler_.connection->Write(Bytes("question")), 8u);
  const SentPacket question = Next();
  EXPECT_EQ(question.payload, "question");
  peer_->Got(question);
  Deliver(peer_->Packet(kTcpAck, "answer"));
  EXPECT_EQ(handler_.events, "");
  EXPECT_EQ(handler_.data, "answer");
}

TEST_F(TcpConnectionTest, SmallWritesOfOneTurnShareASegment) {
  Establish();
  handler_.connection->SetNoDelay(true);
  for (int i = 0; i < 10; ++i) handler_.connection->Write(Bytes("ab"));
  EXPECT_EQ(Next().payload, "abababababababababab");
  EXPECT_TRUE(Silent());
}

TEST_F(TcpConnectionTest, OutputOfOneTurnIsOneBatch) {
  Establish();
  wire_.writes = 0;
  handler_.connection->Write(Bytes(std::string(10'000, 'x')));
  Turn();
  EXPECT_EQ(wire_.sent.size(), 8u);
  EXPECT_EQ(wire_.super_packets, 1);
  EXPECT_EQ(wire_.writes, 1);
}

TEST_F(TcpConnectionTest, WritingBeforeTheConnectionIsUpTakesNothing) {
  Dial();
  EXPECT_EQ(handler_.connection->Write(Bytes("early")), 0u);
  peer_->Got(Next());
  Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", kSynOptions));
  EXPECT_EQ(handler_.events, "connected writable");
}

TEST_F(TcpConnectionTest, RefusedByReset) {
  Dial();
  peer_->Got(Next());
  Deliver(peer_->Packet(kTcpRst | kTcpAck));
  EXPECT_EQ(handler_.events, "closed(connection refused)");
  EXPECT_EQ(handler_.final_status.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TcpConnectionTest, ResetOfAnEstablishedConnection) {
  Establish();
  Deliver(peer_->Packet(kTcpRst | kTcpAck));
  EXPECT_EQ(handler_.events, "closed(connection reset)");
  EXPECT_EQ(handler_.final_status.code(), absl::StatusCode::kAborted);
}

TEST_F(TcpConnectionTest, ResetOutsideTheWindowIsIgnored) {
  Establish();
  peer_->sequence -= 1000;
  Deliver(peer_->Packet(kTcpRst));
  EXPECT_EQ(handler_.events, "");
}

TEST_F(TcpConnectionTest, SynsAreSentAgainUntilTheTimeout) {
  Dial({.remote = kRemote, .timeout = seconds(40)});
  std::vector<int> at_seconds;
  const Instant begin = clock_.Now();
  const uint32_t sequence = Next().view.tcp_sequence;
  for (int i = 0; i < 400 && !handler_.closed; ++i) {
    Leap(milliseconds(100));
    while (!wire_.sent.empty()) {
      const SentPacket syn = Next();
      EXPECT_TRUE(syn.Is(kTcpSyn));
      EXPECT_EQ(syn.view.tcp_sequence, sequence);
      at_seconds.push_back(static_cast<int>((clock_.Now() - begin) / seconds(1)));
    }
  }
  EXPECT_EQ(at_seconds, (std::vector<int>{1, 3, 7, 15, 23, 31, 39}));
  EXPECT_EQ(handler_.events, "closed(connection timed out)");
  EXPECT_EQ(handler_.final_status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ((clock_.Now() - begin) / seconds(1), 40);
}

TEST_F(TcpConnectionTest, LateAnswerConnects) {
  Dial();  // 127 s
  peer_->Got(Next());
  Leap(seconds(120));
  EXPECT_FALSE(handler_.closed);
  wire_.sent.clear();
  Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", kSynOptions));
  EXPECT_EQ(handler_.events, "connected");
  // What follows is retransmitted after about a second, not after minutes.
  EXPECT_TRUE(Next().Is(kTcpAck));
  handler_.connection->Write(Bytes("x"));
  Next();
  Advance(milliseconds(900));
  EXPECT_TRUE(Silent());
  Advance(milliseconds(250));
  EXPECT_EQ(Next().payload, "x");
}

// What a router would send about `packet`: ICMP type 3.
std::vector<uint8_t> IcmpUnreachable(const SentPacket& packet, uint8_t code) {
  std::vector<uint8_t> echo = BuildEchoRequest(
      kTheirs, kOurs, 0, 0, std::span<const uint8_t>(packet.bytes).first(28));
  echo[20] = 3;
  echo[21] = code;
  echo[22] = echo[23] = 0;
  const uint16_t sum = FoldSum(SumBytes(std::span<const uint8_t>(echo).subspan(20)));
  echo[22] = static_cast<uint8_t>(~sum >> 8);
  echo[23] = static_cast<uint8_t>(~sum);
  return echo;
}

TEST_F(TcpConnectionTest, IcmpHostUnreachable) {
  Dial();
  Deliver(IcmpUnreachable(Next(), 1));
  EXPECT_EQ(handler_.events, "closed(host unreachable)");
  EXPECT_EQ(handler_.final_status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(TcpConnectionTest, IcmpPortUnreachableIsARefusal) {
  Dial();
  Deliver(IcmpUnreachable(Next(), 3));
  EXPECT_EQ(handler_.events, "closed(connection refused)");
}

TEST_F(TcpConnectionTest, IcmpAboutAnotherSequenceNumberIsIgnored) {
  Dial();
  SentPacket syn = Next();
  syn.bytes[24] ^= 1;
  Deliver(IcmpUnreachable(syn, 1));
  EXPECT_EQ(handler_.events, "");
}

TEST_F(TcpConnectionTest, IcmpDoesNotEndAnEstablishedConnection) {
  Establish();
  handler_.connection->Write(Bytes("x"));
  Deliver(IcmpUnreachable(Next(), 1));
  EXPECT_EQ(handler_.events, "");
}

TEST_F(TcpConnectionTest, PeerClosesFirst) {
  Establish();
  handler_.close_with_peer = true;
  Deliver(peer_->Packet(kTcpFin | kTcpAck, "bye"));
  EXPECT_EQ(handler_.data, "bye");
  EXPECT_EQ(handler_.events, "read-closed");
  SentPacket fin = Next();
  if (!fin.Is(kTcpFin | kTcpAck)) fin = Next();
  EXPECT_TRUE(fin.Is(kTcpFin | kTcpAck));
  peer_->Got(fin);
  Deliver(peer_->Packet(kTcpAck));
  EXPECT_EQ(handler_.events, "read-closed closed");
}

TEST_F(TcpConnectionTest, HalfClosedConnectionStillReads) {
  Establish();
  handler_.connection->CloseWrite();
  const SentPacket fin = Next();
  EXPECT_TRUE(fin.Is(kTcpFin | kTcpAck));
  peer_->Got(fin);
  Deliver(peer_->Packet(kTcpAck, "much "));
  Leap(std::chrono::hours(2));  // no timeout for a half close
  wire_.sent.clear();
  Deliver(peer_->Packet(kTcpAck, "later"));
  EXPECT_EQ(handler_.data, "much later");
  Deliver(peer_->Packet(kTcpFin | kTcpAck));
  EXPECT_EQ(handler_.events, "read-closed closed");
}

TEST_F(TcpConnectionTest, BothCloseAtOnce) {
  Establish();
  handler_.connection->CloseWrite();
  const SentPacket fin = Next();
  Deliver(peer_->Packet(kTcpFin | kTcpAck));  // does not acknowledge ours
  EXPECT_EQ(handler_.events, "read-closed");
  peer_->Got(fin);
  Deliver(peer_->Packet(kTcpAck));
  EXPECT_EQ(handler_.events, "read-closed closed");
}

TEST_F(TcpConnectionTest, AbortSendsResetAndTellsNothing) {
  Establish();
  handler_.connection->Abort();
  EXPECT_TRUE(Next().Is(kTcpRst | kTcpAck));
  EXPECT_EQ(handler_.events, "");
  EXPECT_EQ(handler_.connection->Write(Bytes("x")), 0u);
}

TEST_F(TcpConnectionTest, DestroyingAnOpenConnectionResetsIt) {
  Establish();
  handler_.connection.reset();
  EXPECT_TRUE(Next().Is(kTcpRst | kTcpAck));
}

TEST_F(TcpConnectionTest, DestroyingAnAttemptSendsNothing) {
  Dial();
  Next();
  handler_.connection.reset();
  Leap(seconds(10));
  EXPECT_TRUE(Silent());
  // The answer to it is reset.
  peer_->acknowledgment = 77;
  Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", kSynOptions));
  EXPECT_TRUE((Next().view.tcp_flags & kTcpRst) != 0);
}

TEST_F(TcpConnectionTest, DestroyedAfterCloseWriteItStillDelivers) {
  Establish();
  handler_.connection->Write(Bytes("last words"));
  handler_.connection->CloseWrite();
  handler_.connection.reset();
  const SentPacket lost = Next();
  EXPECT_EQ(lost.payload, "last words");
  // It is lost; lwIP sends it again although nobody holds the connection.
  Advance(seconds(3));
  const SentPacket again = Next();
  EXPECT_EQ(again.payload, "last words");
  wire_.sent.clear();
  peer_->Got(again);
  Deliver(peer_->Packet(kTcpAck));
  Deliver(peer_->Packet(kTcpFin | kTcpAck));
  EXPECT_TRUE(Next().Is(kTcpAck));
}

TEST_F(TcpConnectionTest, UnreadBytesCloseTheWindow) {
  handler_.read_at_once = false;
  Establish();
  size_t sent = 0;
  uint16_t window = 0xffff;
  for (int i = 0; i < 5000 && window != 0; ++i) {
    sent += 1380;
    Deliver(peer_->Packet(kTcpAck, std::string(1380, 'x')));
    while (!wire_.sent.empty()) window = Next().window;
    Advance(milliseconds(30));
    while (!wire_.sent.empty()) window = Next().window;
  }
  EXPECT_EQ(window, 0);
  EXPECT_LE(handler_.connection->ReadableBytes(), size_t{kReceiveWindowFirst});
  EXPECT_GT(handler_.connection->ReadableBytes(), size_t{kReceiveWindowFirst} - 4000);
  handler_.ReadAll();
  EXPECT_LE(handler_.data.size(), sent);
  EXPECT_GT(Next().window, 0);  // by itself
}

TEST_F(TcpConnectionTest, WhatCameIsReadWithoutACopy) {
  handler_.read_at_once = false;
  Establish();
  Deliver(peer_->Packet(kTcpAck, "first "));
  Deliver(peer_->Packet(kTcpAck, "second"));
  const auto front = [this] {
    const std::span<const uint8_t> bytes = handler_.connection->Front();
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(front(), "first ");
  handler_.connection->Drop(2);
  EXPECT_EQ(front(), "rst ");
  handler_.connection->Drop(7);
  EXPECT_EQ(front(), "ond");
  EXPECT_EQ(handler_.connection->ReadableBytes(), 3u);
  handler_.connection->Drop(100);
  EXPECT_EQ(front(), "");
  EXPECT_EQ(handler_.connection->ReadableBytes(), 0u);
  Deliver(peer_->Packet(kTcpAck, "third"));
  handler_.ReadAll();
  EXPECT_EQ(handler_.data, "third");
}

TEST_F(TcpConnectionTest, DroppedBytesOpenTheWindow) {
  handler_.read_at_once = false;
  Establish();
  uint16_t window = 0xffff;
  for (int i = 0; i < 5000 && window != 0; ++i) {
    Deliver(peer_->Packet(kTcpAck, std::string(1380, 'x')));
    Advance(milliseconds(30));
    while (!wire_.sent.empty()) window = Next().window;
  }
  EXPECT_EQ(window, 0);
  handler_.connection->Drop(handler_.connection->ReadableBytes());
  EXPECT_GT(Next().window, 0);
}

TEST_F(TcpConnectionTest, FullBufferIsToldWhenThereIsRoom) {
  Establish();
  const std::string much(3 << 20, 'y');
  const size_t written = handler_.connection->Write(Bytes(much));
  EXPECT_EQ(written, kSendBufferFirstBytes);
  EXPECT_EQ(handler_.connection->WritableBytes(), 0u);
  EXPECT_EQ(handler_.connection->Write(Bytes("z")), 0u);
  size_t received = 0;
  while (handler_.events.empty() && received < written) {
    Advance(milliseconds(30));
    while (!wire_.sent.empty()) {
      const SentPacket data = Next();
      received += data.payload.size();
      peer_->Got(data);
    }
    Deliver(peer_->Packet(kTcpAck));
  }
  EXPECT_EQ(handler_.events, "writable");
  EXPECT_GE(handler_.connection->WritableBytes(), kSendBufferFirstBytes / 4);
}

TEST_F(TcpConnectionTest, ManyConnectionsQueueLessEach) {
  const std::string much(kSendBufferFirstBytes, 'y');
  std::vector<std::unique_ptr<RecordingHandler>> handlers;
  const auto write_on_a_new_one = [&] {
    RecordingHandler& handler = *handlers.emplace_back(std::make_unique<RecordingHandler>());
    handler.connection = stack_->Dial({.remote = kRemote}, &handler).value();
    Peer peer(kRemote, handler.connection->local());
    peer.Got(Next());
    Deliver(peer.Packet(kTcpSyn | kTcpAck, "", kSynOptions));
    const size_t taken = handler.connection->Write(Bytes(much));
    Turn();
    wire_.sent.clear();
    return taken;
  };
  for (size_t i = 0; i < kQueuedBytesMuch / kSendBufferFirstBytes; ++i)
    EXPECT_EQ(write_on_a_new_one(), kSendBufferFirstBytes);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(write_on_a_new_one(), kSendBufferLeastBytes);
  // What an aborted one had queued is room for others.
  handlers[0]->connection->Abort();
  handlers[1].reset();
  Turn();
  wire_.sent.clear();
  EXPECT_EQ(write_on_a_new_one(), kSendBufferFirstBytes);
}

TEST_F(TcpConnectionTest, TinyWindowIsFilledAndDoesNotStall) {
  Establish(8);  // bytes: a SYN's window is not scaled
  const std::string text(40'000, 'w');
  size_t written = handler_.connection->Write(Bytes(text));
  EXPECT_GT(written, 0u);
  handler_.on_writable = [&] {
    written += handler_.connection->Write(Bytes(text.substr(written)));
  };
  size_t received = 0;
  for (int i = 0; i < 20'000 && received < text.size(); ++i) {
    Advance(milliseconds(5));
    while (!wire_.sent.empty()) {
      const SentPacket data = Next();
      received += data.payload.size();
      peer_->Got(data);
    }
    Deliver(peer_->Packet(kTcpAck));
  }
  EXPECT_EQ(received, text.size());
}

TEST_F(TcpConnectionTest, LostSegmentIsSentAgain) {
  Establish();
  handler_.connection->Write(Bytes("lost"));
  Next();
  Advance(milliseconds(1200));
  const SentPacket again = Next();
  EXPECT_EQ(again.payload, "lost");
  peer_->Got(again);
  Deliver(peer_->Packet(kTcpAck));
  Leap(std::chrono::minutes(5));
  EXPECT_TRUE(Silent());
  EXPECT_EQ(handler_.events, "");
}

TEST_F(TcpConnectionTest, DeafPeerIsGivenUp) {
  Establish();
  handler_.connection->Write(Bytes("anybody?"));
  Leap(std::chrono::minutes(20));
  EXPECT_EQ(handler_.events, "closed(connection timed out)");
}

TEST_F(TcpConnectionTest, ReorderedSegmentsAreJoined) {
  Establish();
  const auto first = peer_->Packet(kTcpAck, "one ");
  const auto second = peer_->Packet(kTcpAck, "two ");
  const auto third = peer_->Packet(kTcpFin | kTcpAck, "three");
  Deliver(third);
  const SentPacket duplicate = Next();  // with a SACK block
  EXPECT_EQ(duplicate.tcp_options.size(), 12u);
  Deliver(second);
  EXPECT_EQ(handler_.data, "");
  Deliver(first);
  EXPECT_EQ(handler_.data, "one two three");
  EXPECT_EQ(handler_.events, "read-closed");
}

TEST_F(TcpConnectionTest, AFilledHoleIsAcknowledgedAtOnce) {
  Establish();
  const auto first = peer_->Packet(kTcpAck, "one ");
  Deliver(peer_->Packet(kTcpAck, "two"));
  Next();
  Deliver(first);
  EXPECT_EQ(Next().view.tcp_acknowledgment, peer_->sequence);
}

TEST_F(TcpConnectionTest, SuperPacketIsOneSegmentAcknowledgedAtOnce) {
  Establish();
  wire_.sent.clear();
  PacketBatch batch = SinglePacket(peer_->Packet(kTcpAck, std::string(30'000, 's')));
  batch[0].segment_size = 1380;
  batch[0].checksum_valid = true;
  nic_->Write(std::move(batch));
  Turn();
  EXPECT_EQ(handler_.data.size(), 30'000u);
  EXPECT_EQ(Next().view.tcp_acknowledgment, peer_->sequence);
}

TEST_F(TcpConnectionTest, OpenQuietConnectionCostsNoWakeUps) {
  Establish();
  handler_.connection->Write(Bytes("hello"));
  peer_->Got(Next());
  Deliver(peer_->Packet(kTcpAck, "hi"));
  Leap(seconds(1));
  EXPECT_EQ(loop_->NextDeadline(), kNever);
}

TEST_F(TcpConnectionTest, TimeWaitCostsOneWakeUp) {
  Establish();
  handler_.connection->CloseWrite();
  peer_->Got(Next());
  Deliver(peer_->Packet(kTcpFin | kTcpAck));
  EXPECT_TRUE(handler_.closed);
  handler_.connection.reset();
  Leap(seconds(1));
  EXPECT_GT(loop_->NextDeadline(), clock_.Now() + seconds(50));
  EXPECT_LT(loop_->NextDeadline(), clock_.Now() + seconds(70));
  Leap(seconds(70));
  EXPECT_EQ(loop_->NextDeadline(), kNever);
  EXPECT_EQ(tcp_tw_pcbs, nullptr);
}

}  // namespace
}  // namespace im::netstack
