#include "netstack/dial.h"

#include "absl/strings/str_cat.h"
#include "lwip/ip.h"
#include "netstack/address.h"
#include "netstack/core.h"

namespace im::netstack {

absl::Status ConnectError(err_t error, const Endpoint& remote) {
  switch (error) {
    case ERR_RTE:
      return absl::UnavailableError(
          absl::StrCat("connect to ", remote.ToString(), ": no route to host"));
    case ERR_USE:
      return absl::AlreadyExistsError(
          absl::StrCat("connect to ", remote.ToString(), ": local endpoint is in use"));
    case ERR_BUF:
      return absl::ResourceExhaustedError(
          absl::StrCat("connect to ", remote.ToString(), ": no local port is free"));
    default:
      return absl::ResourceExhaustedError(
          absl::StrCat("connect to ", remote.ToString(), ": lwIP error ", error));
  }
}

err_t BindForDial(Core& core, tcp_pcb* pcb, const DialOptions& options) {
  if (options.local.has_value() && options.local->port != 0) {
    ip_set_option(pcb, SOF_REUSEADDR);
    const ip_addr_t local = ToLwip(options.local->address);
    if (const err_t error = tcp_bind(pcb, &local, options.local->port); error != ERR_OK)
      return error;
    const FlowKey flow{options.remote.address, options.local->address, options.remote.port,
                       options.local->port, kProtocolTcp};
    return core.pcbs().Find(flow) != nullptr ? ERR_USE : ERR_OK;
  }
  const ip_addr_t remote = ToLwip(options.remote.address);
  if (options.local.has_value() && !options.local->address.is_unspecified()) {
    pcb->local_ip = ToLwip(options.local->address);
  } else {
    netif* nic = ip_route(&pcb->local_ip, &remote);
    const ip_addr_t* local = nic == nullptr ? nullptr : ip_netif_get_local_ip(nic, &remote);
    if (local == nullptr) return ERR_RTE;
    pcb->local_ip = *local;
  }
  pcb->local_port = core.EphemeralPort(FromLwip(pcb->local_ip), options.remote);
  return pcb->local_port == 0 ? ERR_BUF : ERR_OK;
}

absl::Status ValidateDial(const DialOptions& options) {
  const Endpoint& remote = options.remote;
  if (remote.port == 0 || remote.address.is_unspecified() || remote.address.is_multicast() ||
      remote.address.is_loopback())
    return absl::InvalidArgumentError(
        absl::StrCat("connect to ", remote.ToString(), ": not a host's endpoint"));
  if (options.local.has_value() && options.local->address.is_v4() != remote.address.is_v4())
    return absl::InvalidArgumentError(absl::StrCat("connect to ", remote.ToString(), " from ",
                                                   options.local->ToString(),
                                                   ": different families"));
  return absl::OkStatus();
}

}  // namespace im::netstack
