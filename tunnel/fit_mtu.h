// FitToMtu: makes a packet fit the path of a peer, as a router would, but
// without loss where there is a way. JoinSegments: and not smaller than need be.
//
// TCP is cut into smaller segments: no end ever knows, and no connection waits
// for path MTU discovery. Anything else keeps its bounds, so its sender has to
// be told (BuildTooBig), unless it allows fragments, which the kernel then
// makes of the datagram.
//
// The segments of a TCP super-packet have the size of what its two ends agreed
// on, and a path between hosts of one machine carries ten times as much. One
// large packet costs less to seal and to open than many small ones.

#ifndef IM_TUNNEL_FIT_MTU_H_
#define IM_TUNNEL_FIT_MTU_H_

#include "base/packet.h"

namespace im::tunnel {

// No link carries less of IPv6 (RFC 8200 5): a path that does has fragments.
inline constexpr int kIpv6MtuMin = 1280;

enum class Fit {
  kWhole,   // as it is
  kCut,     // its segment size was lowered
  kTooBig,  // not to be sent
};

struct FitResult {
  Fit fit = Fit::kWhole;
  int size = 0;  // the largest IP packet that it was or stood for
  int mtu = 0;   // what its sender is to be told
};

// What a packet of that family may have on a path of `mtu`.
int MtuFor(bool v4, int mtu);

// `packet` may be anything. Preconditions: mtu > 100.
FitResult FitToMtu(Packet& packet, int mtu);

// Raises the segment size of a TCP super-packet to what packets of `mtu` hold.
void JoinSegments(Packet& packet, int mtu);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_FIT_MTU_H_
