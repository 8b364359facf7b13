// MtuNotices: to whom the MTU of a path is owed.
//
// While a path's MTU is being looked for, a datagram that may turn out to be
// too large goes as it is, in fragments of the outer packet. Once the MTU is
// known, the same would be dropped, and its sender told (RFC 1191 4, RFC 8201
// 3). So its sender is told in the moment when it becomes known, although
// nothing was lost: then its next datagram fits, and none is lost.

#ifndef IM_TUNNEL_MTU_NOTICES_H_
#define IM_TUNNEL_MTU_NOTICES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ip_address.h"
#include "base/packet.h"

namespace im::tunnel {

// Pairs of addresses, of one peer, to whom it is owed at once: few hosts send
// anything but TCP in sizes that nothing has proved, and a search takes
// seconds. Further ones are told when their packets do not fit. 1,280 bytes each.
inline constexpr size_t kMtuNoticesMax = 4;

class MtuNotices {
 public:
  // A packet was sent that stands for packets of up to `size` bytes.
  void Owe(std::span<const uint8_t> packet, int size);
  // Tells the senders of what does not fit `mtu`, and forgets all.
  void Pay(int mtu, PacketBatch& inside);

 private:
  struct Notice {
    IpAddress source;
    IpAddress destination;
    int size = 0;
    std::vector<uint8_t> error;  // but for the MTU
  };
  std::vector<Notice> notices_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_MTU_NOTICES_H_
