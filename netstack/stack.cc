#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "netstack/core.h"
#include "netstack/interface.h"
#include "netstack/net.h"
#include "netstack/tcp_connection.h"
#include "netstack/tcp_listener.h"
#include "netstack/udp_endpoint.h"

namespace im::netstack {

class Stack::Impl {
 public:
  explicit Impl(EventLoop& loop) : core(loop) {}

  // A local address to bind to must be an interface's, or none in particular.
  absl::Status ValidateLocal(const Endpoint& local) {
    if (local.address.is_unspecified() || core.FindInterface(local.address) != nullptr)
      return absl::OkStatus();
    return absl::NotFoundError(
        absl::StrCat("bind ", local.ToString(), ": no interface has this address"));
  }

  Core core;
};

Stack::Stack(EventLoop& loop) : impl_(std::make_unique<Impl>(loop)) {}

Stack::~Stack() = default;

absl::StatusOr<Interface*> Stack::AddInterface(const InterfaceOptions& options, PacketSink& out) {
  IM_ASSIGN_OR_RETURN(std::unique_ptr<InterfaceImpl> nic,
                      InterfaceImpl::Create(impl_->core, options, out));
  return impl_->core.interfaces().emplace_back(std::move(nic)).get();
}

void Stack::RemoveInterface(Interface* nic) {
  auto& interfaces = impl_->core.interfaces();
  const auto it = std::find_if(interfaces.begin(), interfaces.end(),
                               [nic](const auto& owned) { return owned.get() == nic; });
  IM_CHECK(it != interfaces.end());
  impl_->core.Enter();
  // Its connections' last packets go out of it as it dies.
  const std::unique_ptr<InterfaceImpl> dying = std::move(*it);
  interfaces.erase(it);
}

absl::StatusOr<std::unique_ptr<TcpConnection>> Stack::Dial(const DialOptions& options,
                                                           TcpConnection::Handler* handler) {
  if (options.local.has_value()) IM_RETURN_IF_ERROR(impl_->ValidateLocal(*options.local));
  return TcpConnectionImpl::Dial(impl_->core, options, handler);
}

absl::StatusOr<std::unique_ptr<TcpListener>> Stack::Listen(
    const Endpoint& local, std::function<void(std::unique_ptr<TcpConnection>)> on_accept) {
  IM_RETURN_IF_ERROR(impl_->ValidateLocal(local));
  return TcpListenerImpl::Create(impl_->core, local, std::move(on_accept));
}

absl::StatusOr<std::unique_ptr<UdpEndpoint>> Stack::BindUdp(
    const Endpoint& local,
    std::function<void(const Endpoint& from, std::span<const uint8_t> payload)> on_datagram) {
  IM_RETURN_IF_ERROR(impl_->ValidateLocal(local));
  return UdpEndpointImpl::Create(impl_->core, local, std::move(on_datagram));
}

EventLoop& Stack::loop() { return impl_->core.loop(); }

}  // namespace im::netstack
