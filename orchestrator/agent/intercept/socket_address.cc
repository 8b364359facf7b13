#include "orchestrator/agent/intercept/socket_address.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace im::agent {
namespace {

// What Linux takes for an IPv6 address: without the scope (RFC 2133).
constexpr size_t kLeastIn6Size = 24;

}  // namespace

int ReadAddress(const PendingCall& call, uint64_t address, uint64_t size, int family,
                ProgramAddress& out) {
  sockaddr_storage storage = {};
  const auto length = static_cast<uint32_t>(size);
  if (length > sizeof(storage) || length < sizeof(sa_family_t)) return EINVAL;
  if (const int error = call.Read(address, &storage, length); error != 0) return error;
  out = {};
  if (storage.ss_family == AF_UNSPEC) {
    out.unspecified = true;
    return 0;
  }
  if (storage.ss_family != family) return EAFNOSUPPORT;
  if (length < (family == AF_INET ? sizeof(sockaddr_in) : kLeastIn6Size)) return EINVAL;
  out.endpoint = Endpoint::FromSockaddr(storage);
  return 0;
}

socklen_t MakeAddress(const Endpoint& endpoint, int family, sockaddr_storage& out) {
  out = {};
  if (family == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(out);
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    if (endpoint.address.is_v4()) in.sin_addr.s_addr = htonl(endpoint.address.v4());
    return sizeof(in);
  }
  auto& in6 = reinterpret_cast<sockaddr_in6&>(out);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(endpoint.port);
  std::memcpy(&in6.sin6_addr, endpoint.address.mapped().data(), sizeof(in6.sin6_addr));
  return sizeof(in6);
}

int WriteAddress(const PendingCall& call, uint64_t address, uint64_t size_address,
                 const Endpoint& endpoint, int family) {
  int room = 0;
  if (const int error = call.Read(size_address, &room, sizeof(room)); error != 0) return error;
  if (room < 0) return EINVAL;
  sockaddr_storage storage;
  const socklen_t size = MakeAddress(endpoint, family, storage);
  const size_t n = std::min(static_cast<size_t>(room), static_cast<size_t>(size));
  if (const int error = call.Write(address, &storage, n); error != 0) return error;
  return call.Write(size_address, &size, sizeof(size));
}

IpAddress AnyAddress(int family) {
  return family == AF_INET ? IpAddress::V4(0) : IpAddress();
}

IpAddress LoopbackAddress(bool v4) {
  if (v4) return IpAddress::V4(0x7f000001);
  std::array<uint8_t, 16> bytes{};
  bytes[15] = 1;
  return IpAddress::FromBytes(bytes);
}

}  // namespace im::agent
