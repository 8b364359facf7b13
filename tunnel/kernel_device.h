// KernelDevice: an interface of the kernel's own WireGuard, made through
// wireguard-tools' embeddable library. wg(8) configures it; no process of ours
// is needed for its packets.

#ifndef IM_TUNNEL_KERNEL_DEVICE_H_
#define IM_TUNNEL_KERNEL_DEVICE_H_

#include <string>

#include "base/status.h"

namespace im::tunnel {

class KernelDevice {
 public:
  // In the calling thread's network namespace. Unimplemented where the kernel
  // has no WireGuard.
  static absl::StatusOr<KernelDevice> Create(const std::string& name);

  const std::string& name() const { return name_; }
  // OK also if the interface has gone already.
  absl::Status Remove();

 private:
  explicit KernelDevice(std::string name) : name_(std::move(name)) {}

  std::string name_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_KERNEL_DEVICE_H_
