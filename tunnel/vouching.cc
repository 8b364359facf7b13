#include "tunnel/vouching.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/ip_header.h"

namespace im::tunnel {
namespace {

// Byte 0: version 0. 1: type, beside those of path_mtu.cc.
constexpr uint8_t kEnvelope[kEnvelopeBytes] = {0, 3, 0, 0};

}  // namespace

bool IsVouchedFor(const Packet& packet) {
  if (packet.checksum_partial || packet.checksum_valid || packet.segment_size != 0) return true;
  const auto view = ParseIp(packet.bytes());
  if (!view) return false;
  if (!view->v6) {
    // Of the IP header, too: whoever is told that a checksum is right looks at none.
    const size_t header_bytes = (packet.data[0] & 0x0fu) * size_t{4};
    if (FoldSum(SumBytes(packet.bytes().first(header_bytes))) != 0xffff) return false;
  }
  if (view->fragment || !(view->is_tcp() || view->is_udp())) return true;
  return TransportChecksumIsRight(packet.bytes(), *view);
}

void WriteEnvelope(std::span<const uint8_t> packet, std::span<uint8_t> out) {
  auto end = std::copy(std::begin(kEnvelope), std::end(kEnvelope), out.begin());
  end = std::copy(packet.begin(), packet.end(), end);
  std::fill(end, out.end(), uint8_t{0});
}

std::optional<std::span<uint8_t>> OpenEnvelope(std::span<uint8_t> plaintext) {
  if (plaintext.size() <= kEnvelopeBytes) return std::nullopt;
  if (!std::equal(std::begin(kEnvelope), std::end(kEnvelope), plaintext.begin()))
    return std::nullopt;
  return plaintext.subspan(kEnvelopeBytes);
}

}  // namespace im::tunnel
