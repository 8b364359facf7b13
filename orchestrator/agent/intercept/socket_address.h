// Socket addresses of the program's calls: sockaddr_in and sockaddr_in6 to and
// from Endpoint. An AF_INET6 socket writes IPv4 addresses as ::ffff:a.b.c.d.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_ADDRESS_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_ADDRESS_H_

#include <sys/socket.h>

#include <cstdint>

#include "base/ip_address.h"
#include "orchestrator/agent/intercept/pending_call.h"

namespace im::agent {

// AF_UNSPEC is given as `unspecified`, which connect uses to dissolve.
struct ProgramAddress {
  Endpoint endpoint;
  bool unspecified = false;
};

// Reads the address that a socket of `family` was given. 0 or an errno:
// EFAULT, EINVAL (too short), EAFNOSUPPORT.
int ReadAddress(const PendingCall& call, uint64_t address, uint64_t size, int family,
                ProgramAddress& out);

// Fills `out` as a socket of `family` shows it; returns the size.
socklen_t MakeAddress(const Endpoint& endpoint, int family, sockaddr_storage& out);

// Writes it where getsockname, accept and recvfrom want it: as much as fits,
// and the true size to the value-result `size_address`. 0 or an errno.
int WriteAddress(const PendingCall& call, uint64_t address, uint64_t size_address,
                 const Endpoint& endpoint, int family);

// 0.0.0.0 or ::.
IpAddress AnyAddress(int family);
// 127.0.0.1 or ::1.
IpAddress LoopbackAddress(bool v4);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_ADDRESS_H_
