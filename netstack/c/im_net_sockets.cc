// im_net.h: connections, listeners, datagrams.


#include <utility>

#include "netstack/c/library.h"
#include "netstack/c/socket_address.h"
#include "netstack/im_net.h"
#include "netstack/net_error.h"

namespace im::netstack {
namespace {

constexpr Duration kDialTimeout = std::chrono::seconds(127);  // as Linux

static_assert(int{IM_NET_IN} == int{Readiness::kReadable} &&
              int{IM_NET_OUT} == int{Readiness::kWritable} &&
              int{IM_NET_END} == int{Readiness::kOver});
constexpr int kEvents = IM_NET_IN | IM_NET_OUT | IM_NET_END;

bool IsBuffer(const void* buffer, size_t size) {
  if (buffer != nullptr || size == 0) return true;
  Library::Fail(EFAULT, "no buffer");
  return false;
}

ssize_t Outcome(const IoResult& result) {
  if (!result.status.ok()) return Library::Fail(result.status);
  if (result.would_block) return Library::Fail(EAGAIN, "it would wait");
  return static_cast<ssize_t>(result.size);
}

// Null: errno is set.
std::shared_ptr<Readiness> FindReadiness(int handle) {
  const Library::Object object = Library::Get().Find(handle);
  return std::visit(
      [](const auto& held) -> std::shared_ptr<Readiness> {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::monostate>) {
          return nullptr;
        } else {
          return held;
        }
      },
      object);
}

}  // namespace
}  // namespace im::netstack

using im::Endpoint;
using im::netstack::Library;
using im::netstack::SharedListener;
using im::netstack::SharedStream;
using im::netstack::SharedUdp;

// ---- TCP ----

int im_net_connect(const sockaddr* remote, socklen_t remote_length, const sockaddr* local,
                   socklen_t local_length, int timeout_ms) {
  const auto thread = Library::Get().thread();
  if (thread == nullptr) return -1;
  const std::optional<Endpoint> to = im::netstack::FromUser(remote, remote_length);
  if (!to.has_value()) return -1;
  im::netstack::DialOptions options{.remote = *to, .timeout = im::netstack::kDialTimeout};
  if (timeout_ms >= 0) options.timeout = std::chrono::milliseconds(timeout_ms);
  if (local != nullptr) {
    options.local = im::netstack::FromUser(local, local_length);
    if (!options.local.has_value()) return -1;
  }
  return Library::Get().Add(SharedStream::Dial(thread, options));
}

int im_net_listen(const sockaddr* local, socklen_t length, int backlog) {
  const auto thread = Library::Get().thread();
  if (thread == nullptr) return -1;
  const std::optional<Endpoint> at = im::netstack::FromUser(local, length);
  if (!at.has_value()) return -1;
  auto listener = SharedListener::Listen(thread, *at, backlog);
  if (!listener.ok()) return Library::Fail(listener.status());
  return Library::Get().Add(*std::move(listener));
}

int im_net_accept(int handle, sockaddr* peer, socklen_t* length) {
  const auto listener = Library::Get().FindA<SharedListener>(handle);
  if (listener == nullptr) return -1;
  if ((peer == nullptr) != (length == nullptr))
    return Library::Fail(EFAULT, "an address without its length");
  auto stream = listener->Accept();
  if (!stream.ok()) return Library::Fail(stream.status());
  if (*stream == nullptr) return Library::Fail(EAGAIN, "it would wait");
  im::netstack::ToUser((*stream)->remote(), peer, length);
  return Library::Get().Add(*std::move(stream));
}

ssize_t im_net_read(int handle, void* buffer, size_t size) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr || !im::netstack::IsBuffer(buffer, size)) return -1;
  return im::netstack::Outcome(stream->Read({static_cast<uint8_t*>(buffer), size}));
}

ssize_t im_net_write(int handle, const void* bytes, size_t size) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr || !im::netstack::IsBuffer(bytes, size)) return -1;
  const im::netstack::IoResult result =
      stream->Write({static_cast<const uint8_t*>(bytes), size});
  // Shut down by ourselves, unless it ended otherwise.
  if (absl::IsCancelled(result.status) && stream->status().ok())
    return Library::Fail(EPIPE, "written after shutdown");
  return im::netstack::Outcome(result);
}

int im_net_shutdown(int handle) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr) return -1;
  stream->CloseWrite();
  return 0;
}

int im_net_abort(int handle) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr) return -1;
  stream->Abort();
  return 0;
}

int im_net_set_nodelay(int handle, int on) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr) return -1;
  stream->SetNoDelay(on != 0);
  return 0;
}

int im_net_set_keepalive(int handle, int idle_s, int interval_s, int probes) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr) return -1;
  if (idle_s == 0) {
    stream->SetKeepAlive(std::nullopt);
    return 0;
  }
  if (idle_s < 0 || interval_s <= 0 || probes <= 0)
    return Library::Fail(EINVAL, "keepalive wants positive numbers");
  stream->SetKeepAlive(im::netstack::KeepAlive{.idle = std::chrono::seconds(idle_s),
                                               .interval = std::chrono::seconds(interval_s),
                                               .probes = probes});
  return 0;
}

// ---- UDP ----

int im_net_udp(const sockaddr* local, socklen_t length) {
  const auto thread = Library::Get().thread();
  if (thread == nullptr) return -1;
  const std::optional<Endpoint> at = im::netstack::FromUser(local, length);
  if (!at.has_value()) return -1;
  auto udp = SharedUdp::Bind(thread, *at);
  if (!udp.ok()) return Library::Fail(udp.status());
  return Library::Get().Add(*std::move(udp));
}

int im_net_udp_connect(int handle, const sockaddr* remote, socklen_t length) {
  const auto udp = Library::Get().FindA<SharedUdp>(handle);
  if (udp == nullptr) return -1;
  const std::optional<Endpoint> to = im::netstack::FromUser(remote, length);
  if (!to.has_value()) return -1;
  udp->Connect(*to);
  return 0;
}

ssize_t im_net_sendto(int handle, const void* bytes, size_t size, const sockaddr* remote,
                      socklen_t length) {
  const auto udp = Library::Get().FindA<SharedUdp>(handle);
  if (udp == nullptr || !im::netstack::IsBuffer(bytes, size)) return -1;
  if (size > im::netstack::kUdpPayloadMax) return Library::Fail(EMSGSIZE, "the datagram is too long");
  const std::optional<Endpoint> to =
      remote == nullptr ? udp->remote() : im::netstack::FromUser(remote, length);
  if (!to.has_value())
    return remote == nullptr ? Library::Fail(EDESTADDRREQ, "connected to nobody") : -1;
  return im::netstack::Outcome(udp->Send(*to, {static_cast<const uint8_t*>(bytes), size}));
}

ssize_t im_net_recvfrom(int handle, void* buffer, size_t size, sockaddr* from,
                        socklen_t* length) {
  const auto udp = Library::Get().FindA<SharedUdp>(handle);
  if (udp == nullptr || !im::netstack::IsBuffer(buffer, size)) return -1;
  if ((from == nullptr) != (length == nullptr))
    return Library::Fail(EFAULT, "an address without its length");
  Endpoint sender;
  const ssize_t n =
      im::netstack::Outcome(udp->Receive({static_cast<uint8_t*>(buffer), size}, &sender));
  if (n >= 0) im::netstack::ToUser(sender, from, length);
  return n;
}

// ---- any handle ----

int im_net_close(int handle) { return Library::Get().Close(handle); }

int im_net_interest(int handle, int events) {
  const auto readiness = im::netstack::FindReadiness(handle);
  if (readiness == nullptr) return -1;
  if ((events & ~im::netstack::kEvents) != 0) return Library::Fail(EINVAL, "unknown events");
  readiness->SetInterest(static_cast<uint32_t>(events));
  return 0;
}

int im_net_ready(int handle) {
  const auto readiness = im::netstack::FindReadiness(handle);
  return readiness == nullptr ? -1 : static_cast<int>(readiness->ready());
}

int im_net_wait(int handle, int events, int timeout_ms) {
  const auto readiness = im::netstack::FindReadiness(handle);
  if (readiness == nullptr) return -1;
  if ((events & ~im::netstack::kEvents) != 0) return Library::Fail(EINVAL, "unknown events");
  const auto thread = Library::Get().thread();
  if (thread != nullptr && timeout_ms != 0 && thread->OnOwnThread())
    return Library::Fail(EDEADLK, "called from an output function");
  const im::Instant deadline =
      timeout_ms < 0 ? im::kNever
                     : im::RealClock().Now() + std::chrono::milliseconds(timeout_ms);
  return static_cast<int>(readiness->Wait(static_cast<uint32_t>(events), deadline));
}

int im_net_error(int handle) {
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  return stream == nullptr ? -1 : im::netstack::NetErrno(stream->status());
}

int im_net_local(int handle, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr) return Library::Fail(EFAULT, "no address");
  const Library::Object object = Library::Get().Find(handle);
  if (const auto* listener = std::get_if<std::shared_ptr<SharedListener>>(&object))
    return im::netstack::ToUser((*listener)->local(), address, length);
  if (const auto* udp = std::get_if<std::shared_ptr<SharedUdp>>(&object))
    return im::netstack::ToUser((*udp)->local(), address, length);
  const auto* stream = std::get_if<std::shared_ptr<SharedStream>>(&object);
  if (stream == nullptr) return -1;
  if (!(*stream)->connected()) return Library::Fail(ENOTCONN, "not connected");
  return im::netstack::ToUser((*stream)->local(), address, length);
}

int im_net_peer(int handle, sockaddr* address, socklen_t* length) {
  if (address == nullptr || length == nullptr) return Library::Fail(EFAULT, "no address");
  const Library::Object object = Library::Get().Find(handle);
  if (const auto* udp = std::get_if<std::shared_ptr<SharedUdp>>(&object)) {
    const std::optional<Endpoint> remote = (*udp)->remote();
    if (!remote.has_value()) return Library::Fail(ENOTCONN, "not connected");
    return im::netstack::ToUser(*remote, address, length);
  }
  const auto stream = Library::Get().FindA<SharedStream>(handle);
  if (stream == nullptr) return -1;
  if (!stream->connected()) return Library::Fail(ENOTCONN, "not connected");
  return im::netstack::ToUser(stream->remote(), address, length);
}

int im_net_parse(const char* text, sockaddr_storage* address, socklen_t* length) {
  if (text == nullptr || address == nullptr || length == nullptr)
    return Library::Fail(EFAULT, "no text or no address");
  const std::optional<Endpoint> endpoint = Endpoint::Parse(text);
  if (!endpoint.has_value()) return Library::Fail(EINVAL, "not an address and a port");
  *length = endpoint->ToSockaddr(*address);
  return 0;
}
