// The Internet checksum (RFC 1071), 64 bytes at a time where the processor can,
// else 32.

#ifndef IM_BASE_CHECKSUM_H_
#define IM_BASE_CHECKSUM_H_

#include <cstdint>
#include <span>

#include "base/ip_address.h"
#include "base/ip_header.h"
#include "base/packet.h"

namespace im {

// The ones' complement sum of the bytes, not folded below 32 bits, added to
// `sum`; in network order of pairs.
uint64_t SumBytes(std::span<const uint8_t> bytes, uint64_t sum = 0);
// Folds to 16 bits (not complemented).
uint16_t FoldSum(uint64_t sum);
// The sum over the pseudo-header (RFC 9293 3.1, RFC 8200 8.1).
uint64_t PseudoHeaderSum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                         uint32_t transport_size);

// Writes the IPv4 header checksum. Preconditions: an IPv4 header is there.
void SetIpv4HeaderChecksum(std::span<uint8_t> packet);
// Writes the whole TCP/UDP/ICMPv6 checksum of `packet` (`view` is of it).
void SetTransportChecksum(std::span<uint8_t> packet, const IpView& view);
// True if the TCP/UDP checksum is right (or a UDP/IPv4 one is absent).
bool TransportChecksumIsRight(std::span<const uint8_t> packet, const IpView& view);

// Completes a partial checksum (virtio-net NEEDS_CSUM) and clears the mark.
// No-op for a packet that has none.
void CompleteChecksum(Packet& packet);

}  // namespace im

#endif  // IM_BASE_CHECKSUM_H_
