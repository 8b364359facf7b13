// PacketTap: sees every packet of the host, as its program sends and gets it.

#ifndef IM_ORCHESTRATOR_AGENT_PACKET_TAP_H_
#define IM_ORCHESTRATOR_AGENT_PACKET_TAP_H_

#include <cstdint>
#include <span>

namespace im::agent {

class PacketTap {
 public:
  virtual ~PacketTap() = default;
  // On the data path: to copy is all that it may do.
  virtual void OnPacket(std::span<const uint8_t> packet) = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_PACKET_TAP_H_
