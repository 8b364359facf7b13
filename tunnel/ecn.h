// ECN between inner and outer header, RFC 6040: congestion that routers mark on
// the way shows up in the inner packet.

#ifndef IM_TUNNEL_ECN_H_
#define IM_TUNNEL_ECN_H_

#include <cstdint>
#include <span>

namespace im::tunnel {

inline constexpr uint8_t kEcnNotCapable = 0;
inline constexpr uint8_t kEcnCongested = 3;

// The mark of an IP packet. Preconditions: at least two bytes.
uint8_t EcnOf(std::span<const uint8_t> packet);

// Carries the outer mark into an inner packet (RFC 6040 4.2). False if the
// packet must be dropped: it is congested and cannot be told.
// Preconditions: a whole IP header.
[[nodiscard]] bool ApplyOuterEcn(std::span<uint8_t> packet, uint8_t outer);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_ECN_H_
