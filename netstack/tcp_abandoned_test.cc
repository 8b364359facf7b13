// Connections that their program has closed and let go of.

#include <string>

#include "lwip/priv/tcp_priv.h"
#include "netstack/tcp_connection_fixture.h"

namespace im::netstack {
namespace {

using std::chrono::seconds;

using AbandonedTest = TcpConnectionTest;

TEST_F(AbandonedTest, DataForAClosedConnectionIsReset) {
  Establish();
  handler_.connection->Write(Bytes("last words"));
  handler_.connection->CloseWrite();
  handler_.connection.reset();
  while (!Silent()) peer_->Got(Next());
  Deliver(peer_->Packet(kTcpAck));  // FIN_WAIT_2
  Deliver(peer_->Packet(kTcpAck, "late"));
  EXPECT_TRUE(Next().Is(kTcpRst | kTcpAck));
  EXPECT_EQ(tcp_active_pcbs, nullptr);
}

TEST_F(AbandonedTest, AClosedConnectionWhosePeerTakesNothingIsGivenUp) {
  Establish();
  handler_.connection->Write(Bytes(std::string(100'000, 'w')));
  handler_.connection->CloseWrite();
  handler_.connection.reset();
  // It takes the first segment, closes its window, and answers each probe.
  peer_->Got(Next());
  peer_->window = 0;
  const Instant taken_at = clock_.Now();
  bool reset = false;
  Deliver(peer_->Packet(kTcpAck));
  wire_.sent.clear();
  while (!reset && clock_.Now() < taken_at + 2 * kAbandonedTimeout) {
    Leap(seconds(1));
    for (; !wire_.sent.empty() && !reset; Deliver(peer_->Packet(kTcpAck)))
      reset = (Next().view.tcp_flags & kTcpRst) != 0;
  }
  EXPECT_TRUE(reset);
  EXPECT_GE(clock_.Now() - taken_at, kAbandonedTimeout - seconds(1));
  EXPECT_EQ(tcp_active_pcbs, nullptr);
}

TEST_F(AbandonedTest, AClosedConnectionWhosePeerTakesLittleIsNot) {
  Establish();
  std::string rest(40, 'w');
  handler_.connection->Write(Bytes(rest));
  handler_.connection->CloseWrite();
  handler_.connection.reset();
  const SentPacket sent = Next();
  wire_.sent.clear();
  peer_->acknowledgment = sent.view.tcp_sequence;
  for (size_t i = 0; i < rest.size(); ++i) {
    ++peer_->acknowledgment;
    Deliver(peer_->Packet(kTcpAck));
    Leap(kAbandonedTimeout / 10);
  }
  for (const Wire::Sent& packet : wire_.sent)
    EXPECT_EQ(ParseIp(packet.bytes)->tcp_flags & kTcpRst, 0);
  EXPECT_NE(tcp_active_pcbs, nullptr);  // its FIN is not acknowledged yet
}

}  // namespace
}  // namespace im::netstack
