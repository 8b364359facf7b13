// One TCP connection of a stack whose peer is played by the test.

#ifndef IM_NETSTACK_TCP_CONNECTION_FIXTURE_H_
#define IM_NETSTACK_TCP_CONNECTION_FIXTURE_H_

#include <optional>

#include "netstack/scripted_peer.h"
#include "netstack/tcp_connection.h"

namespace im::netstack {

inline const Endpoint kRemote{kTheirs, 80};

class TcpConnectionTest : public ScriptedTest {
 protected:
  // Dials; the SYN is left on the wire.
  void Dial(DialOptions options = {.remote = kRemote}) {
    handler_.connection = stack_->Dial(options, &handler_).value();
    peer_.emplace(options.remote, handler_.connection->local());
  }
  // A connection that is up, its handshake off the wire.
  void Establish(uint16_t window = 0xffff) {
    Dial();
    peer_->Got(Next());
    peer_->window = window;
    Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", kSynOptions));
    EXPECT_TRUE(Next().Is(kTcpAck));
    EXPECT_EQ(handler_.events, "connected");
    handler_.events.clear();
  }

  RecordingHandler handler_;
  std::optional<Peer> peer_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_TCP_CONNECTION_FIXTURE_H_
