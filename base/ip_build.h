// Packets that we make ourselves: datagrams, refusals, echoes.

#ifndef IM_BASE_IP_BUILD_H_
#define IM_BASE_IP_BUILD_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/ip_header.h"

namespace im {

// All with valid checksums. Preconditions: both addresses of one family.
std::vector<uint8_t> BuildUdp(const Endpoint& source, const Endpoint& destination,
                              std::span<const uint8_t> payload);

struct TcpFields {
  uint32_t sequence = 0;
  uint32_t acknowledgment = 0;
  uint8_t flags = 0;
  uint16_t window = 0;
  std::span<const uint8_t> options;  // a multiple of 4 bytes, at most 40
};
std::vector<uint8_t> BuildTcp(const Endpoint& source, const Endpoint& destination,
                              const TcpFields& fields, std::span<const uint8_t> payload = {});

std::vector<uint8_t> BuildEchoRequest(const IpAddress& source, const IpAddress& destination,
                                      uint16_t identifier, uint16_t sequence,
                                      std::span<const uint8_t> payload = {});

// What the destination would send to refuse `packet`: for TCP a RST (RFC 9293
// 3.5.2), else ICMP "port unreachable" if `port`, "host unreachable" if not.
// nullopt for what must not be answered: RSTs, ICMP errors, later fragments,
// multicast (RFC 1122 3.2.2).
enum class RefusalKind { kHost, kPort };
std::optional<std::vector<uint8_t>> BuildRefusal(std::span<const uint8_t> packet, RefusalKind kind);

// What a router says to the sender of a packet that fits no link of `mtu`
// bytes (RFC 1191 4, RFC 4443 3.2), in the name of the destination. nullopt for
// what must not be answered, as above.
std::optional<std::vector<uint8_t>> BuildTooBig(std::span<const uint8_t> packet, int mtu);
// Writes another MTU into one. Preconditions: BuildTooBig made it.
void SetTooBigMtu(std::span<uint8_t> error, int mtu);

// The answer to an echo request; nullopt if `packet` is none.
std::optional<std::vector<uint8_t>> BuildEchoReply(std::span<const uint8_t> packet);

}  // namespace im

#endif  // IM_BASE_IP_BUILD_H_
