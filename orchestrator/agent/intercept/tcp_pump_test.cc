// What becomes of a connection whose program is gone, with the clock moved by hand.

#include "orchestrator/agent/intercept/tcp_pump.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>
#include <string>

#include "netstack/scripted_peer.h"
#include "orchestrator/agent/intercept/tcp_socket.h"

namespace im::agent {
namespace {

class TcpPumpTest : public netstack::ScriptedTest, public TcpPump::Delegate {
 protected:
  // A connection whose peer takes nothing, and a program that has written more
  // than the stack keeps, and has closed.
  void CloseWithMuchUnsent() {
    FileDescriptor our_end;
    ASSERT_EQ(MakeSocketPair(SOCK_STREAM, our_end, program_end_), 0);
    ASSERT_EQ(TcpPump::PutSentinel(program_end_.get()), 0);
    pump_.emplace(*loop_, std::move(our_end), /*stale=*/1, *this);
    pump_->SetConnection(stack_->Dial({.remote = kRemote}, &*pump_).value(), /*connected=*/false);
    peer_.emplace(kRemote, pump_->connection().local());
    peer_->Got(Next());
    peer_->window = 0;
    Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", netstack::kSynOptions));
    const std::string text(64 << 10, 'w');
    size_t written = 0;
    for (ssize_t n = 0; n >= 0; Turn()) {
      n = send(program_end_.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      written += n > 0 ? static_cast<size_t>(n) : 0;
    }
    ASSERT_GT(written, size_t{1} << 20);
    program_end_.Reset();
    Turn();
    ASSERT_TRUE(pump_.has_value());
    wire_.sent.clear();
  }
  bool WasReset() {
    bool reset = false;
    while (!wire_.sent.empty()) reset |= (Next().view.tcp_flags & kTcpRst) != 0;
    return reset;
  }

  // TcpPump::Delegate:
  void OnPumpConnected() override {}
  void OnPumpEnd(int, bool program_closed) override {
    EXPECT_TRUE(program_closed);
    pump_.reset();
  }
  bool ResetOnClose() const override { return false; }

  static inline const Endpoint kRemote{netstack::kTheirs, 80};
  FileDescriptor program_end_;
  std::optional<TcpPump> pump_;
  std::optional<netstack::Peer> peer_;
};

TEST_F(TcpPumpTest, data_after_the_close_is_reset) {
  CloseWithMuchUnsent();
  Deliver(peer_->Packet(kTcpAck, "late"));
  EXPECT_FALSE(pump_.has_value());
  EXPECT_TRUE(WasReset());
}

TEST_F(TcpPumpTest, a_peer_that_takes_nothing_is_given_up) {
  CloseWithMuchUnsent();
  const Instant closed_at = clock_.Now();
  while (pump_.has_value() && clock_.Now() < closed_at + 2 * netstack::kAbandonedTimeout) {
    Leap(std::chrono::seconds(1));
    if (!pump_.has_value()) break;
    wire_.sent.clear();
    Deliver(peer_->Packet(kTcpAck));  // its window stays closed
  }
  EXPECT_FALSE(pump_.has_value());
  EXPECT_GE(clock_.Now() - closed_at, netstack::kAbandonedTimeout);
  EXPECT_TRUE(WasReset());
}

}  // namespace
}  // namespace im::agent
