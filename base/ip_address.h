// IpAddress, IpPrefix, Endpoint: values with text forms and hashes.
//
// IPv4 addresses are kept v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so
// that one code path serves both families.

#ifndef IM_BASE_IP_ADDRESS_H_
#define IM_BASE_IP_ADDRESS_H_

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace im {

class IpAddress {
 public:
  // "::", the unspecified IPv6 address.
  constexpr IpAddress() = default;
  // Host byte order: V4(0x7f000001) is 127.0.0.1.
  static constexpr IpAddress V4(uint32_t host_order) {
    IpAddress a;
    a.bytes_[10] = a.bytes_[11] = 0xff;
    for (int i = 0; i < 4; ++i) a.bytes_[12 + i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
    return a;
  }
  // 4 or 16 bytes in network order. Preconditions: one of these sizes.
  static IpAddress FromBytes(std::span<const uint8_t> network_order);
  static std::optional<IpAddress> Parse(absl::string_view text);

  constexpr bool is_v4() const {
    for (int i = 0; i < 10; ++i)
      if (bytes_[i] != 0) return false;
    return bytes_[10] == 0xff && bytes_[11] == 0xff;
  }
  bool is_unspecified() const;  // 0.0.0.0 or ::
  bool is_loopback() const;
  bool is_multicast() const;  // also 255.255.255.255
  bool is_v6_link_local() const;  // fe80::/10

  // Preconditions: is_v4().
  constexpr uint32_t v4() const {
    return uint32_t{bytes_[12]} << 24 | uint32_t{bytes_[13]} << 16 | uint32_t{bytes_[14]} << 8 |
           bytes_[15];
  }
  // v4-mapped where the address is IPv4.
  const std::array<uint8_t, 16>& mapped() const { return bytes_; }
  // 4 or 16 bytes in network order.
  std::span<const uint8_t> bytes() const;
  // The same, as messages have it.
  std::string ToBytes() const;

  std::string ToString() const;

  friend constexpr bool operator==(const IpAddress&, const IpAddress&) = default;
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.bytes_);
  }

 private:
  std::array<uint8_t, 16> bytes_{};
};

// An address and a prefix length; host bits are zero.
class IpPrefix {
 public:
  constexpr IpPrefix() = default;
  // Clears the host bits. `length` is clamped to the family's.
  IpPrefix(const IpAddress& address, int length);
  // "10.77.0.0/16", "fd00::/64", or an address alone (/32, /128).
  static std::optional<IpPrefix> Parse(absl::string_view text);
  static IpPrefix Host(const IpAddress& address);

  const IpAddress& address() const { return address_; }
  int length() const { return length_; }  // 0…32 for IPv4, 0…128 for IPv6
  bool is_v4() const { return address_.is_v4(); }
  bool Contains(const IpAddress& address) const;
  bool Contains(const IpPrefix& other) const;
  std::string ToString() const;

  friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpPrefix& p) {
    return H::combine(std::move(h), p.address_, p.length_);
  }

 private:
  IpAddress address_;
  int length_ = 0;
};

// An address and a UDP or TCP port.
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  // Of a link-local IPv6 address (RFC 4007): the interface's index; 0: not said.
  uint32_t scope = 0;

  // "127.0.0.1:51820", "[::1]:51820", "[fe80::1%eth0]:51820", "[fe80::1%2]:51820".
  // Names are those of the calling process's network namespace.
  static std::optional<Endpoint> Parse(absl::string_view text);
  static Endpoint FromSockaddr(const sockaddr_storage& address);
  // Fills `out` for the address's own family; returns the length.
  socklen_t ToSockaddr(sockaddr_storage& out) const;
  // The scope as a number, which means the same in every namespace's programs.
  std::string ToString() const;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.address, e.port, e.scope);
  }
};

}  // namespace im

#endif  // IM_BASE_IP_ADDRESS_H_
