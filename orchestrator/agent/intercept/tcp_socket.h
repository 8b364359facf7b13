// TcpSocket: a TCP socket of the program.
//
//   state        our end of the pair            leaves it by
//   fresh        watched for its close          listen, connect
//   listening    bytes in it while somebody     close, shutdown
//                has arrived, so that it polls
//                readable
//   connecting   in the pump, with a filler     connected; failed, if somebody
//                                               waits: fresh, else over
//   connected    in the pump                    over
//   inside       given to the other side of     over, unseen
//                the connection, which is of
//                the same host
//   over         closed; its name and SO_ERROR  connect, after a failed one
//                are kept while the program     was told of: fresh
//                has it open
//
// A pair that has shown an error is of no more use. So who connects again after
// a non-blocking attempt has failed gets another one in its descriptor's place;
// copies of the descriptor, and what epoll knows of it, keep the old one.
//
// A connection inside the host is one pair with both ends in the program: it
// costs nothing, and is not seen any more. That it is closed, or a socket that
// is over, is found out by looking (SocketBroker::Sweep).

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_SOCKET_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_SOCKET_H_

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "orchestrator/agent/intercept/listener_table.h"
#include "orchestrator/agent/intercept/program_socket.h"
#include "orchestrator/agent/intercept/tcp_pump.h"

namespace im::agent {

// Connections that may wait for one accept: Linux' net.core.somaxconn.
inline constexpr int kBacklogMax = 4096;

// Bytes that make a listener readable, of which each costs most of a kilobyte:
// one for each arrival, up to so many. More say nothing that these do not.
inline constexpr size_t kMarksMax = 16;

class TcpSocket final : public ProgramSocket,
                        public TcpPump::Delegate,
                        public ListenerTable::Member {
 public:
  TcpSocket(Context& context, int family, uint64_t inode, FileDescriptor end);
  ~TcpSocket() override;

  void Connect(PendingCall call, int program_end, const ProgramAddress& to) override;
  void Listen(PendingCall call, int backlog) override;
  void Accept(PendingCall call, int program_end) override;
  void Shutdown(PendingCall call) override;
  void Send(PendingCall call, int program_end) override;
  void Receive(PendingCall call, int program_end) override;
  void GetPeer(PendingCall call) override;
  bool Closed() const override { return end_.valid() && IsHungUp(end_.get()); }
  bool LookAtWaiting(Instant now) override;
  bool Connected() const override { return state_ == State::kConnected; }

  // ListenerTable::Member:
  void OnArrival(Arrival arrival) override;
  bool Gone() const override { return Closed(); }
  bool Full() const override { return static_cast<int>(arrivals_.size()) >= backlog_; }
  bool TakesFromInside() const override { return arrivals_.size() < kBacklogMax; }

 private:
  enum class State { kFresh, kListening, kConnecting, kConnected, kInside, kOver };
  struct Waiting {
    PendingCall call;
    Instant until;
  };

  void WatchFresh();
  // Puts another pair in the place of the one that the call's descriptor is open
  // on. 0 or an errno.
  int Renew(const PendingCall& call, int program_end, FileDescriptor& new_program_end);
  void ConnectInside(PendingCall call, const Endpoint& to);
  void ConnectOutside(PendingCall call, int program_end, const Endpoint& to);
  // Hands the connection over. False: it was not, and `arrival` is whole; the
  // call was answered if its caller lives.
  bool Deliver(PendingCall& call, Arrival& arrival);
  void StopListening();
  void PutMark();
  // One of `arrivals_` is about to go.
  void TakeMark(int program_end);
  void Wait(PendingCall call, Duration timeout);
  // Not connected and never was.
  bool Unconnected() const { return state_ == State::kFresh || state_ == State::kListening; }
  int TakeError();

  // ProgramSocket:
  void ApplyOptions() override;
  std::optional<std::vector<uint8_t>> StateOption(int level, int name) override;
  // TcpPump::Delegate:
  void OnPumpConnected() override;
  void OnPumpEnd(int error, bool program_closed) override;
  bool ResetOnClose() const override { return options_.reset_on_close(); }

  State state_ = State::kFresh;
  FileDescriptor end_;  // fresh, listening
  EventLoop::Watch watch_;
  std::unique_ptr<TcpPump> pump_;  // connecting, connected
  std::optional<Endpoint> remote_;
  int error_ = 0;
  bool attempt_failed_ = false;  // over: it was never connected
  bool failure_told_ = false;    // and connect has said so
  int backlog_ = 0;
  std::deque<Arrival> arrivals_;
  size_t marks_ = 0;
  std::deque<Waiting> waiting_;  // blocking accept or connect
};

// A pair for a socket of the program: `program_end` is to be handed over.
// 0 or an errno.
int MakeSocketPair(int type, FileDescriptor& our_end, FileDescriptor& program_end);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_SOCKET_H_
