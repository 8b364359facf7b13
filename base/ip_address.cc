#include "base/ip_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im {
namespace {

// Digits only: no sign, no space, nothing empty.
std::optional<int> ParseNumber(absl::string_view text, int max) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  if (value > max) return std::nullopt;
  return value;
}

// "eth0" or "2".
std::optional<uint32_t> ParseScope(absl::string_view text) {
  if (text.empty() || text.size() >= IF_NAMESIZE || text.find('\0') != text.npos) return std::nullopt;
  uint32_t index = if_nametoindex(std::string(text).c_str());
  const bool digits =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (index == 0 && (!digits || !absl::SimpleAtoi(text, &index))) return std::nullopt;
  return index == 0 ? std::nullopt : std::optional(index);
}

constexpr int kMappedPrefixBits = 96;  // ::ffff:0:0/96

}  // namespace

IpAddress IpAddress::FromBytes(std::span<const uint8_t> network_order) {
  IpAddress a;
  if (network_order.size() == 4) {
    a.bytes_[10] = a.bytes_[11] = 0xff;
    std::memcpy(&a.bytes_[12], network_order.data(), 4);
  } else {
    IM_CHECK(network_order.size() == 16);
    std::memcpy(a.bytes_.data(), network_order.data(), 16);
  }
  return a;
}

std::optional<IpAddress> IpAddress::Parse(absl::string_view text) {
  char buffer[INET6_ADDRSTRLEN + 1];
  if (text.size() >= sizeof(buffer)) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  // A NUL inside would hide what follows it.
  if (std::strlen(buffer) != text.size()) return std::nullopt;
  uint8_t bytes[16];
  if (inet_pton(AF_INET, buffer, bytes) == 1) return FromBytes({bytes, 4});
  if (inet_pton(AF_INET6, buffer, bytes) == 1) return FromBytes({bytes, 16});
  return std::nullopt;
}

std::string IpAddress::ToBytes() const {
  const auto b = bytes();
  return std::string(b.begin(), b.end());
}

bool IpAddress::is_unspecified() const {
  const auto b = bytes();
  return std::all_of(b.begin(), b.end(), [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  for (int i = 0; i < 15; ++i)
    if (bytes_[i] != 0) return false;
  return bytes_[15] == 1;
}

bool IpAddress::is_multicast() const {
  if (is_v4()) return (bytes_[12] & 0xf0) == 0xe0 || v4() == 0xffffffff;
  return bytes_[0] == 0xff;
}

bool IpAddress::is_v6_link_local() const { return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80; }

std::span<const uint8_t> IpAddress::bytes() const {
  if (is_v4()) return {bytes_.data() + 12, 4};
  return bytes_;
}

std::string IpAddress::ToString() const {
  char buffer[INET6_ADDRSTRLEN];
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes().data(), buffer, sizeof(buffer));
  return buffer;
}

IpPrefix::IpPrefix(const IpAddress& address, int length) {
  const bool v4 = address.is_v4();
  length_ = std::clamp(length, 0, v4 ? 32 : 128);
  const int kept_bits = length_ + (v4 ? kMappedPrefixBits : 0);
  std::array<uint8_t, 16> bytes = address.mapped();
  for (int i = 0; i < 16; ++i) {
    const int bits = std::clamp(kept_bits - 8 * i, 0, 8);
    bytes[i] &= static_cast<uint8_t>(0xff00 >> bits);
  }
  address_ = IpAddress::FromBytes(bytes);
}

std::optional<IpPrefix> IpPrefix::Parse(absl::string_view text) {
  const size_t slash = text.find('/');
  const absl::string_view address_text = text.substr(0, slash);
  const auto address = IpAddress::Parse(address_text);
  if (!address) return std::nullopt;
  if (slash == absl::string_view::npos) return Host(*address);
  // "::ffff:10.0.0.0/104" counts as IPv6 does; it is 10.0.0.0/8 here.
  const bool mapped = address->is_v4() && address_text.find(':') != absl::string_view::npos;
  auto length = ParseNumber(text.substr(slash + 1), address->is_v4() && !mapped ? 32 : 128);
  if (!length) return std::nullopt;
  if (mapped) {
    if (*length < kMappedPrefixBits) return std::nullopt;
    *length -= kMappedPrefixBits;
  }
  return IpPrefix(*address, *length);
}

IpPrefix IpPrefix::Host(const IpAddress& address) {
  return IpPrefix(address, address.is_v4() ? 32 : 128);
}

bool IpPrefix::Contains(const IpAddress& address) const {
  if (address.is_v4() != is_v4()) return false;
  return IpPrefix(address, length_).address_ == address_;
}

bool IpPrefix::Contains(const IpPrefix& other) const {
  return other.length_ >= length_ && Contains(other.address_);
}

std::string IpPrefix::ToString() const { return absl::StrCat(address_.ToString(), "/", length_); }

std::optional<Endpoint> Endpoint::Parse(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  absl::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  // "::1:80" could be either; only brackets make it clear.
  if (bracketed != (host.find(':') != absl::string_view::npos)) return std::nullopt;
  const size_t percent = host.find('%');
  const auto address = IpAddress::Parse(host.substr(0, percent));
  const auto port = ParseNumber(text.substr(colon + 1), 65535);
  if (!address || !port) return std::nullopt;
  Endpoint endpoint{*address, static_cast<uint16_t>(*port)};
  if (percent != absl::string_view::npos) {
    const auto scope = ParseScope(host.substr(percent + 1));
    if (!scope || !address->is_v6_link_local()) return std::nullopt;
    endpoint.scope = *scope;
  }
  return endpoint;
}

Endpoint Endpoint::FromSockaddr(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &address, sizeof(in));
    return {IpAddress::V4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 in6;
    std::memcpy(&in6, &address, sizeof(in6));
    const IpAddress in = IpAddress::FromBytes(in6.sin6_addr.s6_addr);
    return {in, ntohs(in6.sin6_port), in.is_v6_link_local() ? in6.sin6_scope_id : 0};
  }
  return {};
}

socklen_t Endpoint::ToSockaddr(sockaddr_storage& out) const {
  std::memset(&out, 0, sizeof(out));
  if (address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(address.v4());
    std::memcpy(&out, &in, sizeof(in));
    return sizeof(in);
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, address.mapped().data(), 16);
  in6.sin6_scope_id = scope;
  std::memcpy(&out, &in6, sizeof(in6));
  return sizeof(in6);
}

std::string Endpoint::ToString() const {
  if (address.is_v4()) return absl::StrCat(address.ToString(), ":", port);
  if (scope != 0) return absl::StrCat("[", address.ToString(), "%", scope, "]:", port);
  return absl::StrCat("[", address.ToString(), "]:", port);
}

}  // namespace im
