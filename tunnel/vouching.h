// Vouching: between our own ends the sender answers for inner checksums, so that
// the receiver need not look at them.
//
// Most packets come with a checksum that is made while they are sealed (of a
// kernel or of lwIP, which leave it to us), and what is sealed arrives as it
// was. Only one that was made elsewhere can be wrong: a forwarded packet, one
// of a raw socket. It is checked before it is sealed, and if it is wrong it goes
// in an envelope: IP version 0, as a probe (path_mtu.h), and the packet. The
// receiver takes it out and trusts nothing of it, so that a wrong checksum stays
// wrong, and stays to be seen. A foreign peer gets no envelopes and is not
// trusted.
//
// A fragment is not judged here, and not trusted there.

#ifndef IM_TUNNEL_VOUCHING_H_
#define IM_TUNNEL_VOUCHING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/packet.h"

namespace im::tunnel {

inline constexpr size_t kEnvelopeBytes = 4;

// Whether it may go without an envelope.
bool IsVouchedFor(const Packet& packet);
// Preconditions: out.size() >= packet.size() + kEnvelopeBytes. The rest is
// padding.
void WriteEnvelope(std::span<const uint8_t> packet, std::span<uint8_t> out);
// What is in it; nullopt if it is none.
std::optional<std::span<uint8_t>> OpenEnvelope(std::span<uint8_t> plaintext);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_VOUCHING_H_
