// UseMeter: which packets of a host count as its use.
//
// All that Traffic takes for use counts, except
//   - probes: packets that a named source sends or is sent, or to or from a named
//     port of the host, as of health checkers and scrapers. Who is named by an IPv4
//     address is meant by the host's IPv6 address, too;
//   - with below_bytes_per_s, what comes while payload in both directions stays
//     below that in each second: a heartbeat between hosts, say.
// What does not count is delivered like all else. A paused host is thawed for it,
// since whoever asks gets an answer; but it was no use, so the host is paused
// again as soon as it has nothing to do.
//
// Per packet it costs a comparison where nothing is configured.

#ifndef IM_ORCHESTRATOR_AGENT_USE_METER_H_
#define IM_ORCHESTRATOR_AGENT_USE_METER_H_

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "base/ip_header.h"
#include "proto/agent.pb.h"

namespace im::agent {

class UseMeter {
 public:
  static constexpr Duration kWindow = std::chrono::seconds(1);

  // Preconditions: the policy was checked (start_request.h).
  explicit UseMeter(const proto::IdlePolicy& policy, const DualStack& dual_stack = {});

  // Whether the packet, which Traffic takes for use, counts.
  bool CountsInbound(const IpView& packet, Instant now) {
    return !configured_ ||
           Counts(packet, packet.source, packet.destination_port, now);
  }
  bool CountsOutbound(const IpView& packet, Instant now) {
    return !configured_ ||
           Counts(packet, packet.destination, packet.source_port, now);
  }

 private:
  bool Counts(const IpView& packet, const IpAddress& other, uint16_t own_port, Instant now);

  const DualStack dual_stack_;
  std::vector<IpPrefix> from_;
  std::vector<uint16_t> ports_;
  const uint64_t bytes_below_;
  bool configured_;
  Instant window_began_;
  uint64_t window_bytes_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_USE_METER_H_
