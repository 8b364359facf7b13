#include "netstack/address.h"

#include <cstring>
#include <span>

namespace im::netstack {

ip_addr_t ToLwip(const IpAddress& address) {
  ip_addr_t out{};
  const std::span<const uint8_t> bytes = address.bytes();
  if (address.is_v4()) {
    std::memcpy(&ip_2_ip4(&out)->addr, bytes.data(), 4);
    IP_SET_TYPE_VAL(out, IPADDR_TYPE_V4);
  } else {
    std::memcpy(ip_2_ip6(&out)->addr, bytes.data(), 16);
    IP_SET_TYPE_VAL(out, IPADDR_TYPE_V6);
  }
  return out;
}

IpAddress FromLwip(const ip4_addr_t& address) {
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(&address.addr), 4});
}

IpAddress FromLwip(const ip6_addr_t& address) {
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(address.addr), 16});
}

IpAddress FromLwip(const ip_addr_t& address) {
  return IP_IS_V6_VAL(address) ? FromLwip(*ip_2_ip6(&address)) : FromLwip(*ip_2_ip4(&address));
}

}  // namespace im::netstack
