#include "base/datagrams.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "base/ip_build.h"

namespace im {
namespace {

using testing::ElementsAre;

std::vector<std::string> Datagrams(std::string_view payload, uint16_t segment_size) {
  std::vector<uint8_t> bytes =
      BuildUdp({IpAddress::V4(1), 1}, {IpAddress::V4(2), 2},
               {reinterpret_cast<const uint8_t*>(payload.data()), payload.size()});
  const IpView view = *ParseIp(bytes);
  bytes.resize(bytes.size() + 16, 'x');  // WireGuard pads
  Packet packet;
  packet.data = bytes.data();
  packet.size = static_cast<uint32_t>(bytes.size());
  packet.segment_size = segment_size;
  std::vector<std::string> all;
  ForEachDatagram(packet, view, [&](std::span<const uint8_t> datagram) {
    all.emplace_back(datagram.begin(), datagram.end());
  });
  return all;
}

TEST(ForEachDatagram, TakesASuperPacketApart) {
  EXPECT_THAT(Datagrams("abcdefgh", 0), ElementsAre("abcdefgh"));
  EXPECT_THAT(Datagrams("abcdefgh", 3), ElementsAre("abc", "def", "gh"));
  EXPECT_THAT(Datagrams("abcdef", 3), ElementsAre("abc", "def"));
  EXPECT_THAT(Datagrams("ab", 3), ElementsAre("ab"));
  EXPECT_THAT(Datagrams("", 0), ElementsAre(""));
  EXPECT_THAT(Datagrams("", 3), ElementsAre(""));
}

}  // namespace
}  // namespace im
