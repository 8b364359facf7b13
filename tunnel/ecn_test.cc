#include "tunnel/ecn.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/ip_build.h"

namespace im::tunnel {
namespace {

std::vector<uint8_t> PacketWithEcn(bool v6, uint8_t ecn) {
  const Endpoint a = *Endpoint::Parse(v6 ? "[fd00::1]:1" : "10.0.0.1:1");
  const Endpoint b = *Endpoint::Parse(v6 ? "[fd00::2]:2" : "10.0.0.2:2");
  std::vector<uint8_t> packet = BuildUdp(a, b, {});
  if (v6) {
    packet[1] = static_cast<uint8_t>(packet[1] | ecn << 4);
  } else {
    packet[1] = static_cast<uint8_t>(packet[1] | ecn);
    SetIpv4HeaderChecksum(packet);
  }
  return packet;
}

// RFC 6040 figure 4; -1: drop. Rows: inner Not-ECT, ECT(1), ECT(0), CE by
// their numbers; columns: outer by number.
TEST(EcnTest, TheTableOfTheRfc) {
  const int expected[4][4] = {{0, 0, 0, -1}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
  for (bool v6 : {false, true}) {
    for (uint8_t inner = 0; inner < 4; ++inner) {
      for (uint8_t outer = 0; outer < 4; ++outer) {
        std::vector<uint8_t> packet = PacketWithEcn(v6, inner);
        const bool passed = ApplyOuterEcn(packet, outer);
        EXPECT_EQ(passed, expected[inner][outer] >= 0) << int{inner} << " in " << int{outer};
        if (!passed) continue;
        EXPECT_EQ(EcnOf(packet), expected[inner][outer]) << int{inner} << " in " << int{outer};
        EXPECT_EQ(packet, PacketWithEcn(v6, EcnOf(packet)));
      }
    }
  }
}

}  // namespace
}  // namespace im::tunnel
