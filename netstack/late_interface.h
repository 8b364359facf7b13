// LateInterface: stands for an interface that is yet to be made, for whatever
// feeds it (a tunnel's driver, say) and must be made first.

#ifndef IM_NETSTACK_LATE_INTERFACE_H_
#define IM_NETSTACK_LATE_INTERFACE_H_

#include <memory>
#include <utility>

#include "netstack/net.h"

namespace im::netstack {

// What comes before Attach is dropped.
class LateInterface final : public PacketSink,
                            public std::enable_shared_from_this<LateInterface> {
 public:
  void Attach(Interface* nic) { nic_ = nic; }  // null: detaches
  Interface* nic() const { return nic_; }

  void Write(PacketBatch batch) override {
    if (nic_ != nullptr) nic_->Write(std::move(batch));
  }
  // As Interface::SetBlocked.
  void SetBlocked(bool blocked) {
    if (nic_ != nullptr) nic_->SetBlocked(blocked);
  }

 private:
  Interface* nic_ = nullptr;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_LATE_INTERFACE_H_
