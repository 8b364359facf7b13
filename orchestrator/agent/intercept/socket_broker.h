// SocketBroker: gives unmodified programs a network that is not the kernel's.
//
// A program runs under a filter (socket_filter.h) whose listener is given to
// AddProgram. Its calls that make, name, connect and configure sockets then
// come here; the bytes do not: the program gets real descriptors, ends of
// AF_UNIX socket pairs, handed into it as the answer of socket(2) and accept(2).
// read, write, epoll, dup, fork, exec, sendfile and close work on them as on any
// other, since they are the kernel's.
//
//   socket              a pair; its inode names the socket in the table
//   a call on a fd      the file behind it is taken (pidfd_getfd) and looked up
//                       by its inode. Not one of ours: the kernel does the call
//   close               seen as HUP of our end, when the last copy is gone
//
// The program has no descriptor of an AF_INET socket, and cannot get one: the
// filter decides by registers. A call is left to the kernel only if it cannot
// do harm whatever its pointers say by then: on a socket that is not ours
// (AF_UNIX, netlink), or on a pair, where the kernel refuses what makes no sense.
//
// A program that makes itself undumpable hides its descriptors and memory from
// us: its calls on sockets are then the kernel's, which fail for AF_INET ones.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_BROKER_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_BROKER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "netstack/net.h"
#include "orchestrator/agent/intercept/listener_table.h"
#include "orchestrator/agent/intercept/program_socket.h"
#include "orchestrator/agent/intercept/udp_table.h"

namespace im::agent {

// Sockets that the program may have at once; then socket(2) and accept(2) say
// ENFILE. Each costs a descriptor here and some 500 bytes.
inline constexpr size_t kSocketsMax = 60'000;

// Sockets that we hold no end of (TcpSocket: inside, over) before it is looked
// which of them are still there. After that, twice as many as there were.
inline constexpr size_t kDetachedBeforeSweep = 1024;

// How often calls that wait are looked at for signals and time-outs, while
// programs run.
inline constexpr Duration kLookInterval = std::chrono::milliseconds(100);

class SocketBroker final : public ProgramSocket::Context {
 public:
  struct Options {
    // The host's addresses; the stack has interfaces with them.
    std::optional<IpAddress> address4;
    std::optional<IpAddress> address6;
    // A machine's resolv.conf names servers that cannot be reached from here. So
    // questions to port 53 of an address beyond the networks, or of the host itself
    // if none of its programs has the port, go to `resolver` (UDP).
    std::optional<Endpoint> resolver;
    IpPrefix network;
    std::optional<IpPrefix> network6;
    // A port takes what comes for it from now on: SOCK_STREAM or SOCK_DGRAM.
    std::function<void(int type, uint16_t port)> on_opened;
  };

  // All must outlive it.
  SocketBroker(EventLoop& loop, netstack::Stack& stack, const Options& options);
  ~SocketBroker() override;

  // Serves what the listener tells, until all who run under its filter are gone.
  void AddProgram(FileDescriptor listener);

  // Whether all programs are frozen, so that no call is looked at.
  void SetFrozen(bool frozen);
  // All programs have ended: what they wrote last leaves, nobody listens any
  // more, and connections are closed as their bytes have left.
  void OnProgramsEnd();

  // Whether somebody listens at this address of the host (SOCK_STREAM) or has bound it
  // (SOCK_DGRAM).
  bool IsOpen(int type, const Endpoint& at) const;
  // Those with other hosts.
  int CountConnections() const;
  // Threads of programs whose calls wait here. With Linux 5.19 and later they
  // look as if they waited for a disk.
  int CountWaitingCalls() const;
  size_t socket_count() const { return sockets_.size(); }
  size_t program_count() const { return programs_.size(); }

 private:
  struct Program {
    std::shared_ptr<FileDescriptor> listener;
    EventLoop::Watch watch;
  };

  void OnNotified(Program& program, uint32_t events);
  void Serve(PendingCall call);
  void MakeSocket(PendingCall call);
  static void ServeOn(ProgramSocket& socket, PendingCall call, int program_end);
  void Sweep();
  void ArmLook();
  void LookAtWaiting();

  // ProgramSocket::Context:
  EventLoop& loop() override { return loop_; }
  netstack::Stack& stack() override { return stack_; }
  PortTable& ports(int type) override;
  std::optional<IpAddress> own_address(bool v4) const override;
  ListenerTable& listeners() override { return listeners_; }
  UdpTable& udp() override { return udp_; }
  int Add(std::unique_ptr<ProgramSocket> socket) override;
  void Rename(ProgramSocket& socket, uint64_t inode) override;
  void Remove(ProgramSocket& socket) override;
  void RemoveClosed() override;
  void OnDetached(ProgramSocket& socket) override;
  void OnWaiting(const ProgramSocket& socket) override;
  void OnOpened(int type, uint16_t port) override;
  std::optional<Endpoint> ResolverFor(const Endpoint& to) override;

  EventLoop& loop_;
  netstack::Stack& stack_;
  const Options options_;
  SecureRandom random_;
  PortTable tcp_ports_{random_};
  PortTable udp_ports_{random_};
  ListenerTable listeners_;
  UdpTable udp_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<ProgramSocket>> sockets_;  // by inode
  std::vector<std::unique_ptr<Program>> programs_;
  bool frozen_ = false;
  absl::flat_hash_set<uint64_t> waiting_;  // inodes of sockets with calls that wait
  std::optional<EventLoop::Timer> look_timer_;
  absl::flat_hash_set<uint64_t> detached_;
  size_t sweep_at_ = kDetachedBeforeSweep;
  EventLoop::Timer sweep_timer_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_BROKER_H_
