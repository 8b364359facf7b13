// TcpListenerImpl: a listening lwIP pcb.
//
// lwIP answers SYNs by itself; what is established waits in `accepted_` until
// the end of the turn. Half-open connections are counted for the whole stack
// by lwIP's per-pcb arguments, which tell when one begins and ends.

#ifndef IM_NETSTACK_TCP_LISTENER_H_
#define IM_NETSTACK_TCP_LISTENER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "lwip/tcp.h"
#include "netstack/core.h"
#include "netstack/net.h"
#include "netstack/tcp_connection.h"

namespace im::netstack {

// Connections that may be half open at once (SYN came, ACK did not), in the
// whole stack. One costs half a kilobyte for at most 20 s. At the limit SYNs
// are dropped, and are sent again by honest peers.
inline constexpr int kHalfOpenMax = 4096;

class TcpListenerImpl final : public TcpListener, public Core::Member {
 public:
  using AcceptFunction = std::function<void(std::unique_ptr<TcpConnection>)>;

  static absl::StatusOr<std::unique_ptr<TcpListenerImpl>> Create(Core& core, const Endpoint& local,
                                                                 AcceptFunction on_accept);
  ~TcpListenerImpl() override;

  Endpoint local() const override { return local_; }
  void SetPaused(bool paused) override { paused_ = paused; }

  // Whether a SYN for a listening pcb is to be answered now.
  static bool Takes(const tcp_pcb_listen& listening);

 private:
  TcpListenerImpl(Core* core, tcp_pcb* pcb, AcceptFunction on_accept);
  void RunDeferred() override;
  void OnStackGone() override;
  static err_t OnAccept(void* self, tcp_pcb* pcb, err_t error);

  tcp_pcb* pcb_;
  Endpoint local_;
  bool paused_ = false;
  // Shared, since the program may destroy the listener inside it.
  std::shared_ptr<AcceptFunction> on_accept_;
  bool* destroyed_ = nullptr;
  std::vector<std::unique_ptr<TcpConnectionImpl>> accepted_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_TCP_LISTENER_H_
