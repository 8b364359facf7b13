// Traffic: what a packet tells about the use of a host.
//
// Use is: application payload in either direction, a SYN, a ping. No use are pure ACKs,
// window updates and keepalive probes, which the kernel answers while the program is
// frozen, ICMP errors, and questions to the DNS. Between the two is the end of a
// connection by its peer, a FIN or RST without payload: the program is to see it, and may
// do something about it, but nobody asked it for anything.
//
// Linux probes with an empty segment; others (RFC 9293 3.8.4 allows both) with
// one byte that was acknowledged before. Such a probe repeats the sequence
// number of the last one, and new data does not: a one-byte segment counts
// when its sequence number differs from the last one's of its flow. So the
// first probe after new data may count, once.

#ifndef IM_ORCHESTRATOR_AGENT_TRAFFIC_H_
#define IM_ORCHESTRATOR_AGENT_TRAFFIC_H_

#include <array>
#include <cstdint>

#include "base/ip_header.h"

namespace im::agent {

// kName: imd's answer to a question about a name. A program that was paused meanwhile is
// thawed for it, but like the question it is no use.
enum class Use : uint8_t { kNone, kEnd, kSyn, kDatagram, kPing, kData, kName };

class Traffic {
 public:
  // Of a packet to the program: anything but kNone wakes it.
  Use OfInbound(const IpView& packet);
  // Of a packet that the program sent.
  Use OfOutbound(const IpView& packet);

 private:
  // Flows of which the last one-byte segment is remembered, oldest replaced:
  // a keepalive that falls out counts as use once more, which is harmless.
  static constexpr size_t kProbedFlowsMax = 64;
  struct Probed {
    FlowKey flow;
    uint32_t sequence = 0;
  };
  bool IsNewByte(const IpView& packet);
  Use OfPayload(const IpView& packet);

  std::array<Probed, kProbedFlowsMax> probed_{};
  size_t next_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TRAFFIC_H_
