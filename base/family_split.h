// FamilySplit: IPv4 packets to one sink, IPv6 packets to another, each in order.
//
// For a host with an address of each family, whose stack has an interface for each.

#ifndef IM_BASE_FAMILY_SPLIT_H_
#define IM_BASE_FAMILY_SPLIT_H_

#include "base/packet_sink.h"

namespace im {

class FamilySplit final : public PacketSink {
 public:
  // Null: packets of this family are dropped. What is not must outlive it.
  FamilySplit(PacketSink* v4, PacketSink* v6) : v4_(v4), v6_(v6) {}

  void Write(PacketBatch batch) override;

 private:
  PacketSink* const v4_;
  PacketSink* const v6_;
};

}  // namespace im

#endif  // IM_BASE_FAMILY_SPLIT_H_
