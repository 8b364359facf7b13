#include "orchestrator/agent/intercept/program_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "orchestrator/agent/intercept/program_process.h"

namespace im::agent {
namespace {

constexpr int kRestart = 512;  // ERESTARTSYS: the kernel's own, for SA_RESTART

}  // namespace

ProgramSocket::~ProgramSocket() { ReleasePort(); }

void ProgramSocket::ReleasePort() {
  if (std::exchange(claimed_, false)) context_.ports(type_).Release(this, *local_);
}

bool ProgramSocket::IsInside(const IpAddress& address) const {
  return address.is_loopback() || address.is_unspecified() ||
         context_.own_address(address.is_v4()) == address;
}

std::optional<Endpoint> ProgramSocket::OutsideOf(const Endpoint& local) const {
  if (local.address.is_loopback()) return std::nullopt;
  if (!local.address.is_unspecified() || local.address.is_v4() || !options_.v6_only())
    return local;
  // :: without IPv4 is the host's own address of IPv6, if it has one.
  const std::optional<IpAddress> own = context_.own_address(/*v4=*/false);
  if (!own.has_value()) return std::nullopt;
  return Endpoint{*own, local.port};
}

int ProgramSocket::CheckLocalAddress(const IpAddress& address) const {
  if (address.is_v4() && family_ == AF_INET6 && options_.v6_only()) return EINVAL;
  return IsInside(address) ? 0 : EADDRNOTAVAIL;
}

int ProgramSocket::Claim(const Endpoint& local) {
  PortTable::Claim claim{.local = local,
                         .reuse_address = options_.reuse_address(),
                         .reuse_port = options_.reuse_port(),
                         .v6_only = options_.v6_only()};
  int error = context_.ports(type_).Bind(this, claim);
  if (error == EADDRINUSE) {
    // Its owner may have closed it just now.
    context_.RemoveClosed();
    error = context_.ports(type_).Bind(this, claim);
  }
  if (error != 0) return error;
  local_ = claim.local;
  claimed_ = true;
  return 0;
}

void ProgramSocket::Bind(PendingCall call, const Endpoint& local) {
  if (local_.has_value()) {
    call.Fail(EINVAL);
    return;
  }
  int error = CheckLocalAddress(local.address);
  if (error == 0) error = Claim(local);
  error == 0 ? call.Return(0) : call.Fail(error);
}

void ProgramSocket::GetName(PendingCall call) {
  const Endpoint local = local_.value_or(Endpoint{AnyAddress(family_), 0});
  const int error = WriteAddress(call, call.arg(1), call.arg(2), local, family_);
  error == 0 ? call.Return(0) : call.Fail(error);
}

void ProgramSocket::SetOption(PendingCall call, int program_end) {
  const int level = call.int_arg(1), name = call.int_arg(2);
  std::array<uint8_t, kOptionBytesMax> bytes{};
  const int size = call.int_arg(4);
  if (size < 0) {
    call.Fail(EINVAL);
    return;
  }
  const size_t n = std::min(bytes.size(), static_cast<size_t>(size));
  if (const int error = call.Read(call.arg(3), bytes.data(), n); error != 0) {
    call.Fail(error);
    return;
  }
  const int error = options_.Set(level, name, std::span(bytes).first(n));
  if (error != 0) {
    call.Fail(error);
    return;
  }
  if (SocketOptions::IsForThePair(level, name))
    setsockopt(program_end, level, name, bytes.data(), static_cast<socklen_t>(n));
  ApplyOptions();
  call.Return(0);
}

void ProgramSocket::GetOption(PendingCall call) {
  const int level = call.int_arg(1), name = call.int_arg(2);
  int room = 0;
  int error = call.Read(call.arg(4), &room, sizeof(room));
  if (error == 0 && room < 0) error = EINVAL;
  if (error != 0) {
    call.Fail(error);
    return;
  }
  std::optional<std::vector<uint8_t>> value = StateOption(level, name);
  if (!value.has_value()) value = options_.Get(level, name, error);
  if (!value.has_value()) {
    call.Fail(error);
    return;
  }
  const int n = std::min(room, static_cast<int>(value->size()));
  error = call.Write(call.arg(3), value->data(), static_cast<size_t>(n));
  if (error == 0) error = call.Write(call.arg(4), &n, sizeof(n));
  error == 0 ? call.Return(0) : call.Fail(error);
}

bool EndIfInterrupted(PendingCall& call) {
  if (!call.Alive()) {
    call.Fail(EINTR);  // nobody hears it
    return true;
  }
  switch (LookForSignal(call.thread())) {
    case SignalWaiting::kNone:
      return false;
    case SignalWaiting::kOfThread:
      call.Fail(kRestart);
      return true;
    case SignalWaiting::kOfProcess:
      // Another thread may handle it, and then kRestart would be seen by this one.
      call.Fail(EINTR);
      return true;
  }
  return false;
}

bool IsHungUp(int our_end) {
  pollfd look = {our_end, 0, 0};
  return poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

bool IsNonBlocking(int program_end) { return (fcntl(program_end, F_GETFL) & O_NONBLOCK) != 0; }

}  // namespace im::agent
