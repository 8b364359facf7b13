#include "netstack/udp_endpoint.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "netstack/address.h"
#include "netstack/interface.h"

namespace im::netstack {
namespace {

// 65,535 less the IPv4 and UDP headers.
constexpr size_t kPayloadMax = 65507;

}  // namespace

absl::StatusOr<std::unique_ptr<UdpEndpointImpl>> UdpEndpointImpl::Create(
    Core& core, const Endpoint& local, DatagramFunction on_datagram) {
  core.Enter();
  ip_addr_t address = ToLwip(local.address);
  if (local.address.is_unspecified() && !local.address.is_v4())
    IP_SET_TYPE_VAL(address, IPADDR_TYPE_ANY);
  udp_pcb* pcb = udp_new_ip_type(IP_GET_TYPE(&address));
  if (pcb == nullptr)
    return absl::ResourceExhaustedError(absl::StrCat("bind ", local.ToString(), ": no memory"));
  if (const err_t error = udp_bind(pcb, &address, local.port); error != ERR_OK) {
    udp_remove(pcb);
    if (error == ERR_USE)
      return absl::AlreadyExistsError(absl::StrCat("bind ", local.ToString(), ": in use"));
    return absl::ResourceExhaustedError(
        absl::StrCat("bind ", local.ToString(), ": lwIP error ", error));
  }
  // Else lwIP takes the IPv6 interface by the destination alone, and finds then
  // that it does not have this source.
  InterfaceImpl* nic = core.FindInterface(local.address);
  if (nic != nullptr && !local.address.is_v4()) udp_bind_netif(pcb, nic->netif());
  return std::unique_ptr<UdpEndpointImpl>(new UdpEndpointImpl(&core, pcb, std::move(on_datagram)));
}

UdpEndpointImpl::UdpEndpointImpl(Core* core, udp_pcb* pcb, DatagramFunction on_datagram)
    : Member(core),
      pcb_(pcb),
      local_{FromLwip(pcb->local_ip), pcb->local_port},
      on_datagram_(std::make_shared<DatagramFunction>(std::move(on_datagram))) {
  if (IP_IS_ANY_TYPE_VAL(pcb->local_ip)) local_.address = IpAddress();
  udp_recv(pcb, OnDatagram, this);
}

UdpEndpointImpl::~UdpEndpointImpl() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  if (pcb_ != nullptr) udp_remove(pcb_);
}

void UdpEndpointImpl::OnStackGone() { udp_remove(std::exchange(pcb_, nullptr)); }

absl::Status UdpEndpointImpl::SendTo(const Endpoint& remote, std::span<const uint8_t> payload) {
  const auto attempt = [&] { return absl::StrCat("send to ", remote.ToString(), ": "); };
  if (pcb_ == nullptr) return absl::CancelledError(attempt() + "the stack is gone");
  if (payload.size() > kPayloadMax)
    return absl::InvalidArgumentError(
        absl::StrCat(attempt(), payload.size(), " bytes are more than ", kPayloadMax));
  if (!core()->HasFamily(remote.address.is_v4()))
    return absl::UnavailableError(attempt() + "no route to host");
  core()->Enter();
  pbuf* p = pbuf_alloc(PBUF_TRANSPORT, static_cast<u16_t>(payload.size()), PBUF_RAM);
  if (p == nullptr) return absl::ResourceExhaustedError(attempt() + "no memory");
  if (!payload.empty()) std::memcpy(p->payload, payload.data(), payload.size());
  const ip_addr_t address = ToLwip(remote.address);
  const err_t error = udp_sendto(pcb_, p, &address, remote.port);
  pbuf_free(p);
  switch (error) {
    case ERR_OK:
      return absl::OkStatus();
    case ERR_RTE:
      return absl::UnavailableError(attempt() + "no route to host");
    case ERR_VAL:
      return absl::InvalidArgumentError(
          absl::StrCat(attempt(), "not to be reached from ", local_.ToString()));
    default:
      return absl::ResourceExhaustedError(absl::StrCat(attempt(), "lwIP error ", error));
  }
}

void UdpEndpointImpl::OnDatagram(void* self, udp_pcb*, pbuf* data, const ip_addr_t* from,
                                 u16_t port) {
  auto* endpoint = static_cast<UdpEndpointImpl*>(self);
  const size_t cost = sizeof(Datagram) + data->tot_len;
  if (endpoint->waiting_bytes_ + cost <= kUdpQueueBytesMax) {
    endpoint->waiting_bytes_ += cost;
    Datagram& datagram = endpoint->waiting_.emplace_back();
    datagram.from = {FromLwip(*from), port};
    datagram.payload.resize(data->tot_len);
    pbuf_copy_partial(data, datagram.payload.data(), data->tot_len, 0);
    endpoint->Defer();
  }
  pbuf_free(data);
}

void UdpEndpointImpl::SetErrorHandler(ErrorFunction on_error) {
  on_error_ = on_error ? std::make_shared<ErrorFunction>(std::move(on_error)) : nullptr;
}

void UdpEndpointImpl::OnUnreachable(const Unreachable& unreachable) {
  const FlowKey& flow = unreachable.flow;
  if (flow.protocol != kProtocolUdp) return;
  for (udp_pcb* pcb = udp_pcbs; pcb != nullptr; pcb = pcb->next) {
    if (pcb->local_port != flow.source_port || pcb->recv != OnDatagram) continue;
    auto* endpoint = static_cast<UdpEndpointImpl*>(pcb->recv_arg);
    if (!endpoint->local_.address.is_unspecified() && endpoint->local_.address != flow.source)
      continue;
    if (endpoint->on_error_ == nullptr || endpoint->errors_.size() >= kUdpErrorsMax) continue;
    endpoint->errors_.push_back({{flow.destination, flow.destination_port}, unreachable.port});
    endpoint->Defer();
  }
}

void UdpEndpointImpl::RunDeferred() {
  if (TellDatagrams()) TellErrors();
}

bool UdpEndpointImpl::TellDatagrams() {
  bool destroyed = false;
  destroyed_ = &destroyed;
  const std::shared_ptr<DatagramFunction> on_datagram = on_datagram_;
  const std::vector<Datagram> waiting = std::exchange(waiting_, {});
  waiting_bytes_ = 0;
  for (const Datagram& datagram : waiting) {
    (*on_datagram)(datagram.from, datagram.payload);
    if (destroyed) return false;
  }
  destroyed_ = nullptr;
  return true;
}

void UdpEndpointImpl::TellErrors() {
  bool destroyed = false;
  destroyed_ = &destroyed;
  const std::vector<Error> errors = std::exchange(errors_, {});
  for (const Error& error : errors) {
    const std::shared_ptr<ErrorFunction> on_error = on_error_;
    if (on_error == nullptr) break;
    (*on_error)(error.remote, error.port ? absl::FailedPreconditionError("connection refused")
                                         : absl::UnavailableError("host unreachable"));
    if (destroyed) return;
  }
  destroyed_ = nullptr;
}

}  // namespace im::netstack
