#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/netlink.h"
#include "orchestrator/agent/inside.h"
#include "orchestrator/agent/start_request.h"

namespace im::agent {
namespace {

constexpr char kDevice[] = "im0";

// Settings of this namespace only. A kernel without one of them does without.
void SetKernel(const std::string& name, absl::string_view value) {
  const FileDescriptor fd(open(absl::StrCat("/proc/sys/net/", name).c_str(),
                               O_WRONLY | O_CLOEXEC));
  if (fd.valid()) [[maybe_unused]] const ssize_t n = write(fd.get(), value.data(), value.size());
}

absl::Status ExplainTun(const absl::Status& status) {
  if (absl::IsNotFound(status))
    return Annotate(status, "no TUN device can be made (load the kernel's module with `modprobe "
                            "tun`, or give the container --device /dev/net/tun)");
  if (absl::IsPermissionDenied(status))
    return Annotate(status, "no TUN device can be made (run as root, or with CAP_NET_ADMIN)");
  return status;
}

}  // namespace

absl::StatusOr<TunDevice> MakeInsideNetwork(const proto::StartRequest& request) {
  const IpAddress address = AddressOf(request.address());
  // Every refusal of the kernel must reach EarlyPackets, so none is held back
  // by the rate limit for ICMP errors.
  SetKernel("ipv4/icmp_ratemask", "0");
  SetKernel("ipv6/icmp/ratelimit", "0");
  // The port numbers of a host are its program's, whoever runs it.
  SetKernel("ipv4/ip_unprivileged_port_start", "0");
  SetKernel("ipv4/ping_group_range", "0 2147483647");
  absl::StatusOr<TunDevice> tun =
      TunDevice::Create({.name = kDevice, .offload = request.offload()});
  if (!tun.ok()) return ExplainTun(tun.status());
  const DualStack dual_stack = DualStackOf(request);
  // No router and no neighbour is there to be asked: an address of IPv6 that
  // the kernel takes by itself would only send packets that nobody answers.
  if (address.is_v4() && !dual_stack.on()) {
    SetKernel(absl::StrCat("ipv6/conf/", kDevice, "/disable_ipv6"), "1");
  } else {
    // The machine may have it off where nothing else is said.
    for (const char* device : {"lo", kDevice})
      SetKernel(absl::StrCat("ipv6/conf/", device, "/disable_ipv6"), "0");
    SetKernel(absl::StrCat("ipv6/conf/", kDevice, "/addr_gen_mode"), "1");
    SetKernel(absl::StrCat("ipv6/conf/", kDevice, "/accept_ra"), "0");
  }
  IM_RETURN_IF_ERROR(SetLinkUp("lo"));
  IM_RETURN_IF_ERROR(SetLinkMtu(kDevice, static_cast<int>(request.mtu())));
  IM_RETURN_IF_ERROR(AddAddress(kDevice, address, static_cast<int>(request.prefix_length())));
  if (dual_stack.on()) {
    const absl::Status added =
        AddAddress(kDevice, dual_stack.ToV6(address), DualStack::kPrefixLength);
    if (!added.ok())
      return Annotate(added, "network.ipv6 (a kernel without IPv6, or with ipv6.disable=1, has none)");
  }
  IM_RETURN_IF_ERROR(SetLinkUp(kDevice));
  return tun;
}

}  // namespace im::agent
