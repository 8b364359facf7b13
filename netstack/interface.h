// InterfaceImpl: one lwIP netif between a PacketSink and the stack.
//
// In: each packet of a batch is filtered (input_filter.h), copied into a pbuf
// and given to lwIP; a TCP super-packet as one segment, which saves the most
// (one lookup, one ACK), a UDP one cut into its datagrams. Out: packets are
// laid out flat in a batch that leaves at the end of the turn; a large segment
// (tcp_segments.h) as a super-packet.

#ifndef IM_NETSTACK_INTERFACE_H_
#define IM_NETSTACK_INTERFACE_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "base/counters.h"
#include "lwip/netif.h"
#include "netstack/input_filter.h"
#include "netstack/net.h"

namespace im::netstack {

class Core;

class InterfaceImpl final : public Interface {
 public:
  static absl::StatusOr<std::unique_ptr<InterfaceImpl>> Create(Core& core,
                                                               const InterfaceOptions& options,
                                                               PacketSink& out);
  ~InterfaceImpl() override;

  void Write(PacketBatch batch) override;
  const InterfaceOptions& options() const override { return options_; }
  const DropCounters& drops() const override { return drops_; }
  void SetBlocked(bool blocked) override;

  struct netif* netif() { return &netif_; }
  size_t pending_bytes() const { return pending_bytes_; }
  // While lifted lwIP makes no fragments (Core::ExpectSuperPacket).
  void LiftMtu(bool lifted);
  // Sends what has piled up, unless blocked.
  void Flush();

 private:
  InterfaceImpl(Core& core, const InterfaceOptions& options, PacketSink& out)
      : core_(core), options_(options), out_(out) {}

  void Input(const Packet& packet, const IpView& view);
  void InputDatagrams(const Packet& packet);
  // The interface whose address is the packet's source, or else this one.
  InterfaceImpl* SenderOf6(const pbuf* packet);
  void Output(const pbuf* chain);

  Core& core_;
  const InterfaceOptions options_;
  PacketSink& out_;
  struct netif netif_ = {};
  bool added_ = false;
  bool blocked_ = false;
  PacketBatch pending_;
  size_t pending_bytes_ = 0;
  DropCounters drops_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_INTERFACE_H_
