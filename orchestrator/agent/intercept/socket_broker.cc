#include "orchestrator/agent/intercept/socket_broker.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "orchestrator/agent/intercept/program_process.h"
#include "orchestrator/agent/intercept/tcp_socket.h"
#include "orchestrator/agent/intercept/udp_socket.h"

namespace im::agent {
namespace {

// Calls served in one turn before the packets get theirs.
constexpr int kCallsPerTurn = 32;

bool HasCall(int listener) {
  pollfd look = {listener, POLLIN, 0};
  return poll(&look, 1, 0) == 1 && (look.revents & POLLIN) != 0;
}

std::vector<IpAddress> AddressesOf(const SocketBroker::Options& options) {
  std::vector<IpAddress> addresses;
  for (const auto& address : {options.address4, options.address6})
    if (address.has_value()) addresses.push_back(*address);
  return addresses;
}

}  // namespace

SocketBroker::SocketBroker(EventLoop& loop, netstack::Stack& stack, const Options& options)
    : loop_(loop),
      stack_(stack),
      options_(options),
      listeners_(stack),
      udp_(stack, AddressesOf(options)) {}

SocketBroker::~SocketBroker() {
  programs_.clear();
  // Sockets leave the tables as they go.
  while (!sockets_.empty()) {
    const std::unique_ptr<ProgramSocket> dying = std::move(sockets_.begin()->second);
    sockets_.erase(sockets_.begin());
  }
}

void SocketBroker::AddProgram(FileDescriptor listener) {
  auto program = std::make_unique<Program>();
  program->listener = std::make_shared<FileDescriptor>(std::move(listener));
  program->watch = loop_.WatchFd(
      program->listener->get(), EPOLLIN,
      [this, p = program.get()](uint32_t events) { OnNotified(*p, events); });
  programs_.push_back(std::move(program));
}

void SocketBroker::OnNotified(Program& program, uint32_t events) {
  // Receive would wait for a call if there were none.
  for (int i = 0; i < kCallsPerTurn && HasCall(program.listener->get()); ++i)
    if (std::optional<PendingCall> call = PendingCall::Receive(program.listener))
      Serve(*std::move(call));
  if ((events & EPOLLHUP) == 0 || HasCall(program.listener->get())) return;
  std::erase_if(programs_, [&](const auto& p) { return p.get() == &program; });
}

void SocketBroker::Serve(PendingCall call) {
  if (call.number() == SYS_socket) {
    MakeSocket(std::move(call));
    return;
  }
  int error = 0;
  const FileDescriptor program_end = call.TakeFd(call.int_arg(0), error);
  if (!program_end.valid()) {
    if (error == EBADF) {
      call.Fail(EBADF);
    } else if (error == EMFILE || error == ENFILE) {
      call.Fail(ENOBUFS);
    } else {
      call.Continue();  // undumpable
    }
    return;
  }
  const auto at = sockets_.find(SocketInode(program_end.get()));
  if (at == sockets_.end()) {
    call.Continue();
    return;
  }
  ServeOn(*at->second, std::move(call), program_end.get());
}

void SocketBroker::ServeOn(ProgramSocket& socket, PendingCall call, int program_end) {
  switch (call.number()) {
    case SYS_bind:
    case SYS_connect: {
      ProgramAddress address;
      const int error =
          ReadAddress(call, call.arg(1), call.arg(2), socket.family(), address);
      if (error != 0) {
        call.Fail(error);
      } else if (call.number() == SYS_connect) {
        socket.Connect(std::move(call), program_end, address);
      } else if (address.unspecified) {
        call.Fail(EAFNOSUPPORT);
      } else {
        socket.Bind(std::move(call), address.endpoint);
      }
      return;
    }
    case SYS_listen:
      return socket.Listen(std::move(call), call.int_arg(1));
    case SYS_accept:
    case SYS_accept4:
      return socket.Accept(std::move(call), program_end);
    case SYS_shutdown:
      return socket.Shutdown(std::move(call));
    case SYS_getsockname:
      return socket.GetName(std::move(call));
    case SYS_getpeername:
      return socket.GetPeer(std::move(call));
    case SYS_setsockopt:
      return socket.SetOption(std::move(call), program_end);
    case SYS_getsockopt:
      return socket.GetOption(std::move(call));
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
      return socket.Send(std::move(call), program_end);
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
      return socket.Receive(std::move(call), program_end);
    default:
      call.Fail(ENOSYS);
  }
}

void SocketBroker::MakeSocket(PendingCall call) {
  const int family = call.int_arg(0);
  const int type = call.int_arg(1) & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  const int protocol = call.int_arg(2);
  const bool stream = type == SOCK_STREAM;
  if (sockets_.size() >= kSocketsMax) RemoveClosed();
  int error = 0;
  if (type == SOCK_RAW || type == SOCK_PACKET) {
    error = EPERM;
  } else if (!stream && type != SOCK_DGRAM) {
    error = ESOCKTNOSUPPORT;
  } else if (protocol != 0 && protocol != (stream ? IPPROTO_TCP : IPPROTO_UDP)) {
    // Among them IPPROTO_MPTCP, whose users then ask for TCP, and ping's ICMP.
    error = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 ? EACCES : EPROTONOSUPPORT;
  } else if (sockets_.size() >= kSocketsMax) {
    error = ENFILE;
  }
  FileDescriptor our_end, program_end;
  if (error == 0)
    error = MakeSocketPair(stream ? SOCK_STREAM : SOCK_SEQPACKET, our_end, program_end);
  if (error == 0 && (call.int_arg(1) & SOCK_NONBLOCK) != 0 && !program_end.SetNonBlocking().ok())
    error = ENFILE;
  if (error != 0) {
    call.Fail(error);
    return;
  }
  if (!call.ReturnFd(program_end.get(), (call.int_arg(1) & SOCK_CLOEXEC) != 0)) return;
  const uint64_t inode = SocketInode(program_end.get());
  if (stream) {
    Add(std::make_unique<TcpSocket>(*this, family, inode, std::move(our_end)));
  } else {
    Add(std::make_unique<UdpSocket>(*this, family, inode, std::move(our_end)));
  }
}

// ---- what sockets share ----

PortTable& SocketBroker::ports(int type) {
  return type == SOCK_STREAM ? tcp_ports_ : udp_ports_;
}

std::optional<IpAddress> SocketBroker::own_address(bool v4) const {
  return v4 ? options_.address4 : options_.address6;
}

int SocketBroker::Add(std::unique_ptr<ProgramSocket> socket) {
  if (sockets_.size() >= kSocketsMax) return ENFILE;
  const uint64_t inode = socket->inode();
  // An old one of the same number has not been swept yet.
  detached_.erase(inode);
  std::swap(sockets_[inode], socket);
  return 0;
}

void SocketBroker::Rename(ProgramSocket& socket, uint64_t inode) {
  const auto at = sockets_.find(socket.inode());
  std::unique_ptr<ProgramSocket> renamed = std::move(at->second);
  sockets_.erase(at);
  detached_.erase(renamed->inode());
  detached_.erase(inode);
  renamed->set_inode(inode);
  std::swap(sockets_[inode], renamed);
}

void SocketBroker::Remove(ProgramSocket& socket) {
  const auto at = sockets_.find(socket.inode());
  if (at == sockets_.end() || at->second.get() != &socket) return;
  const std::unique_ptr<ProgramSocket> dying = std::move(at->second);
  sockets_.erase(at);
}

void SocketBroker::RemoveClosed() {
  std::vector<ProgramSocket*> closed;
  for (const auto& [inode, socket] : sockets_)
    if (socket->Closed()) closed.push_back(socket.get());
  for (ProgramSocket* socket : closed) Remove(*socket);
  Sweep();
}

void SocketBroker::OnDetached(ProgramSocket& socket) {
  detached_.insert(socket.inode());
  if (detached_.size() >= sweep_at_) sweep_timer_ = loop_.After(Duration(0), [this] { Sweep(); });
}

void SocketBroker::OnWaiting(const ProgramSocket& socket) {
  waiting_.insert(socket.inode());
  ArmLook();
}

void SocketBroker::SetFrozen(bool frozen) {
  frozen_ = frozen;
  frozen ? look_timer_.reset() : ArmLook();
}

void SocketBroker::ArmLook() {
  if (frozen_ || waiting_.empty() || look_timer_.has_value()) return;
  look_timer_ = loop_.After(kLookInterval, [this] { LookAtWaiting(); });
}

void SocketBroker::LookAtWaiting() {
  look_timer_.reset();
  absl::erase_if(waiting_, [&](uint64_t inode) {
    const auto at = sockets_.find(inode);
    return at == sockets_.end() || !at->second->LookAtWaiting(loop_.now());
  });
  ArmLook();
}

void SocketBroker::OnOpened(int type, uint16_t port) {
  if (options_.on_opened) options_.on_opened(type, port);
}

std::optional<Endpoint> SocketBroker::ResolverFor(const Endpoint& to) {
  constexpr uint16_t kDnsPort = 53;
  if (!options_.resolver.has_value() || to.port != kDnsPort || to.address.is_multicast() ||
      to == *options_.resolver)
    return std::nullopt;
  const bool inside = to.address.is_loopback() || to.address.is_unspecified() ||
                      own_address(to.address.is_v4()) == to.address;
  const bool of_network = options_.network.Contains(to.address) ||
                          (options_.network6 && options_.network6->Contains(to.address));
  if (inside ? udp_.Find(Endpoint{}, to) != nullptr : of_network) return std::nullopt;
  return options_.resolver;
}

void SocketBroker::OnProgramsEnd() {
  std::vector<ProgramSocket*> sockets;
  for (const auto& [inode, socket] : sockets_) sockets.push_back(socket.get());
  for (ProgramSocket* socket : sockets) socket->Flush();
  RemoveClosed();
}

bool SocketBroker::IsOpen(int type, const Endpoint& at) const {
  return type == SOCK_STREAM ? tcp_ports_.IsOpen(at, /*listening=*/true)
                             : udp_ports_.IsOpen(at, /*listening=*/false);
}

int SocketBroker::CountConnections() const {
  return static_cast<int>(std::count_if(sockets_.begin(), sockets_.end(),
                                        [](const auto& s) { return s.second->Connected(); }));
}

int SocketBroker::CountWaitingCalls() const {
  // A call holds on to its listener until it is answered.
  long calls = 0;
  for (const auto& program : programs_) calls += program->listener.use_count() - 1;
  return static_cast<int>(calls);
}

void SocketBroker::Sweep() {
  const absl::flat_hash_set<uint64_t> open = OpenSocketInodes();
  for (auto at = detached_.begin(); at != detached_.end();) {
    const auto next = std::next(at);
    if (!open.contains(*at)) {
      if (const auto socket = sockets_.find(*at); socket != sockets_.end()) Remove(*socket->second);
      detached_.erase(at);
    }
    at = next;
  }
  sweep_at_ = std::max(kDetachedBeforeSweep, 2 * detached_.size());
}

}  // namespace im::agent
