#include "base/family_split.h"

#include <utility>

namespace im {
namespace {

bool IsV6(const Packet& packet) { return packet.size > 0 && packet.data[0] >> 4 == 6; }

}  // namespace

void FamilySplit::Write(PacketBatch batch) {
  if (batch.empty()) return;
  const bool first = IsV6(batch[0]);
  bool mixed = false;
  for (const Packet& packet : batch) mixed |= IsV6(packet) != first;
  if (!mixed) {
    if (PacketSink* const sink = first ? v6_ : v4_) sink->Write(std::move(batch));
    return;
  }
  PacketBatch v4, v6;
  for (const Packet& packet : batch) (IsV6(packet) ? v6 : v4).AppendCopy(packet);
  if (v4_ != nullptr) v4_->Write(std::move(v4));
  if (v6_ != nullptr) v6_->Write(std::move(v6));
}

}  // namespace im
