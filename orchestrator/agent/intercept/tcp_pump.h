// TcpPump: the bytes between our end of a socket pair, whose other end the
// program has, and a TCP connection of the stack.
//
//   program → network   taken from the pair as far as the connection's send
//                       buffer has room, else left there: the program blocks,
//                       or sees EAGAIN, as with a full socket
//   network → program   read from the connection as far as the pair takes it,
//                       with at most one piece kept here; what is left keeps
//                       the peer's window closed
//
//   program                          connection
//   shutdown(SHUT_WR)     RDHUP   →  CloseWrite
//   close, all read       HUP     →  what it wrote is delivered, FIN
//   close, not all read   ERR     →  RST, as Linux does it
//   data after a close            ←  RST, as Linux does it
//   closed, peer takes nothing    →  RST after kAbandonedTimeout
//   read gives 0                  ←  FIN (our shutdown)
//   read gives ECONNRESET         ←  RST, timed out
//
// The last one needs a trick. An AF_UNIX socket reports ECONNRESET if its peer
// closes with something unread, and only then. So a byte that was handled
// already is always left in our queue (`stale`): before the connection is up
// it is a filler that was put there through the program's end, later the last
// byte that the program wrote, which is peeked at and taken with the next ones.
// A connection that ends in order has its stale byte taken before the end is
// closed. Since that byte keeps our end readable, readiness is edge-triggered.
//
// While a non-blocking connect is under way the filler is so large that the
// program's end is not writable; so the program's poll tells it when it is up.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_PUMP_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_PUMP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "netstack/net.h"
#include "orchestrator/agent/intercept/user_timeout.h"

namespace im::agent {

// The send buffer of the program's end, in bytes as the kernel counts (it
// doubles what it is told): Linux' default, however the machine is set.
inline constexpr int kPairBufferBytes = 212'992;

class TcpPump final : public netstack::TcpConnection::Handler {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    virtual void OnPumpConnected() = 0;
    // It is over, and the pump is to be destroyed in here. `error` is what
    // SO_ERROR shall say. `program_closed`: nobody has the other end.
    virtual void OnPumpEnd(int error, bool program_closed) = 0;
    // SO_LINGER with no time: close resets.
    virtual bool ResetOnClose() const = 0;
  };

  // Puts the filler in through the program's end, which is then the program's
  // alone. 0, or an errno if the program has done odd things to its end.
  static int PutSentinel(int program_end);
  static int PutFiller(int program_end);

  // `stale`: bytes that lie in `end` already.
  TcpPump(EventLoop& loop, FileDescriptor end, int stale, Delegate& delegate);

  // Which must have this pump as its handler, or is given it now.
  void SetConnection(std::unique_ptr<netstack::TcpConnection> connection, bool connected);
  netstack::TcpConnection& connection() { return *connection_; }
  // Our end without what is stale, for another attempt.
  FileDescriptor TakeEnd();
  // Looks at the pair anew, as if something had come.
  void Kick();
  // TCP_USER_TIMEOUT; zero: none.
  void SetUserTimeout(Duration timeout);
  uint64_t written_bytes() const { return written_; }
  uint64_t received_bytes() const { return received_; }
  // One side has said that it writes no more.
  bool program_shut() const { return program_shut_; }
  bool read_closed() const { return read_closed_; }

  // TcpConnection::Handler:
  void OnConnected() override;
  void OnReadable() override { ToProgram(); }
  void OnWritable() override { FromProgram(); }
  void OnReadClosed() override;
  void OnClosed(const absl::Status& status) override;

 private:
  void OnEvents(uint32_t events);
  // Both may destroy the pump, and say so by false.
  bool FromProgram();
  bool ToProgram();
  // Takes up to `n` new bytes; the last one of all stays in the pair.
  bool Take(size_t n);
  void ToConnection(std::span<const uint8_t> bytes);
  // The program is gone, and something of it is still to be sent.
  void LimitRest();
  // The program is gone, and what it wrote is given up.
  void Reset();
  void DropStale(int keep);
  // Closes our end in order, or so that the program sees a reset.
  void End(int error, bool reset, bool program_closed);

  EventLoop& loop_;
  FileDescriptor end_;
  int stale_;
  Delegate& delegate_;
  std::unique_ptr<netstack::TcpConnection> connection_;
  EventLoop::Watch watch_;
  std::vector<uint8_t> kept_;  // read from the connection, not yet taken by the pair
  size_t kept_from_ = 0;
  std::vector<uint8_t> unsent_;  // taken from the pair, not yet by the connection
  std::optional<UserTimeout> user_timeout_;
  Duration user_timeout_after_{0};
  uint64_t written_ = 0;   // to the connection
  uint64_t received_ = 0;  // from it
  bool connected_ = false;
  bool program_shut_ = false;    // RDHUP: it writes no more
  bool program_closed_ = false;  // HUP: nobody has it
  bool read_closed_ = false;     // the peer's FIN came
  bool fin_told_ = false;        // and the program knows
  bool over_ = false;            // both sides have closed
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_PUMP_H_
