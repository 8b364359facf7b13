// IpAddress to and from lwIP's ip_addr_t.

#ifndef IM_NETSTACK_ADDRESS_H_
#define IM_NETSTACK_ADDRESS_H_

#include "base/ip_address.h"
#include "lwip/ip_addr.h"

namespace im::netstack {

ip_addr_t ToLwip(const IpAddress& address);
IpAddress FromLwip(const ip_addr_t& address);
IpAddress FromLwip(const ip4_addr_t& address);
IpAddress FromLwip(const ip6_addr_t& address);

}  // namespace im::netstack

#endif  // IM_NETSTACK_ADDRESS_H_
