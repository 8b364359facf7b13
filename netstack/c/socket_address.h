// Socket addresses of the C API to and from Endpoint.

#ifndef IM_NETSTACK_C_SOCKET_ADDRESS_H_
#define IM_NETSTACK_C_SOCKET_ADDRESS_H_

#include <sys/socket.h>

#include <optional>

#include "base/ip_address.h"

namespace im::netstack {

// nullopt: errno is set (EFAULT, EINVAL, EAFNOSUPPORT).
std::optional<Endpoint> FromUser(const sockaddr* address, socklen_t length);

// As much of it as there is room for, as getsockname(2). 0, or -1 with EFAULT.
// Both null: nothing.
int ToUser(const Endpoint& endpoint, sockaddr* address, socklen_t* length);

}  // namespace im::netstack

#endif  // IM_NETSTACK_C_SOCKET_ADDRESS_H_
