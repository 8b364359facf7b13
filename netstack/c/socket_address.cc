#include "netstack/c/socket_address.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "netstack/c/library.h"

namespace im::netstack {

std::optional<Endpoint> FromUser(const sockaddr* address, socklen_t length) {
  if (address == nullptr) {
    Library::Fail(EFAULT, "no address");
    return std::nullopt;
  }
  sockaddr_storage storage{};
  if (length < sizeof(sa_family_t) || length > sizeof(storage)) {
    Library::Fail(EINVAL, "the length of an address");
    return std::nullopt;
  }
  std::memcpy(&storage, address, length);
  if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) {
    Library::Fail(EAFNOSUPPORT, "neither AF_INET nor AF_INET6");
    return std::nullopt;
  }
  if (length < (storage.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6))) {
    Library::Fail(EINVAL, "the length of an address");
    return std::nullopt;
  }
  return Endpoint::FromSockaddr(storage);
}

int ToUser(const Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (address == nullptr && length == nullptr) return 0;
  if (address == nullptr || length == nullptr)
    return Library::Fail(EFAULT, "an address without its length");
  sockaddr_storage storage{};
  const socklen_t size = endpoint.ToSockaddr(storage);
  std::memcpy(address, &storage, std::min(*length, size));
  *length = size;
  return 0;
}

}  // namespace im::netstack
