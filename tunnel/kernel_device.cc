#include "tunnel/kernel_device.h"

#include <errno.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

extern "C" {
#include "wireguard.h"
}

namespace im::tunnel {

absl::StatusOr<KernelDevice> KernelDevice::Create(const std::string& name) {
  const int error = -wg_add_device(name.c_str());
  if (error == 0) return KernelDevice(name);
  const std::string attempt = absl::StrCat("make kernel WireGuard interface ", name);
  if (error == EOPNOTSUPP || error == EPROTONOSUPPORT || error == EAFNOSUPPORT) {
    return absl::UnimplementedError(absl::StrCat(attempt, ": this kernel has no WireGuard"));
  }
  return ErrnoStatus(attempt, error);
}

absl::Status KernelDevice::Remove() {
  const int error = -wg_del_device(name_.c_str());
  if (error == 0 || error == ENODEV) return absl::OkStatus();
  return ErrnoStatus(absl::StrCat("remove kernel WireGuard interface ", name_), error);
}

}  // namespace im::tunnel
