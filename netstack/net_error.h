// The errors of im::netstack in the words of sockets (the table in net.h).

#ifndef IM_NETSTACK_NET_ERROR_H_
#define IM_NETSTACK_NET_ERROR_H_

#include "absl/status/status.h"

namespace im::netstack {

// What errno a socket would give: 0 for OK, else ECONNREFUSED, ECONNRESET,
// ETIMEDOUT, EHOSTUNREACH, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS, EINVAL,
// ECANCELED (the stack is gone), EIO for what is not in the table.
int NetErrno(const absl::Status& status);

}  // namespace im::netstack

#endif  // IM_NETSTACK_NET_ERROR_H_
