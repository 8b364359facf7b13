// What a connection attempt begins with: whether it can be made at all, and the
// local end.

#ifndef IM_NETSTACK_DIAL_H_
#define IM_NETSTACK_DIAL_H_

#include "absl/status/status.h"
#include "lwip/tcp.h"
#include "netstack/net.h"

namespace im::netstack {

class Core;

absl::Status ValidateDial(const DialOptions& options);

// Gives a new pcb its local endpoint. lwIP would look at all connections for
// each port that it tries, and have no two share one.
err_t BindForDial(Core& core, tcp_pcb* pcb, const DialOptions& options);

// What lwIP's or our refusal to begin is for the program.
absl::Status ConnectError(err_t error, const Endpoint& remote);

}  // namespace im::netstack

#endif  // IM_NETSTACK_DIAL_H_
