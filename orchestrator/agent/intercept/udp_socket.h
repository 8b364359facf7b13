// UdpSocket: a UDP socket of the program.
//
// Datagrams lie in a SOCK_SEQPACKET pair, so that recv, read, poll and epoll of
// the program are the kernel's. Where each came from is kept here in a list, in
// the same order. recvfrom and recvmsg ask for it: they are told to us, and
// served through the program's own end. What the program has read by itself in
// the meantime is seen from the number of bytes that are left.
//
// Datagrams that the program sends by send and write come out of the pair and
// go to the connected peer; those with an address come with the call. Between
// sockets of the same host they go straight across.
//
// What is for a DNS server that cannot be reached from here goes to the host's
// resolver, whose answers come back in that server's name.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_UDP_SOCKET_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_UDP_SOCKET_H_

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "orchestrator/agent/intercept/program_message.h"
#include "orchestrator/agent/intercept/program_socket.h"
#include "orchestrator/agent/intercept/udp_table.h"

namespace im::agent {

// Sources that are kept at most; the pair holds no more datagrams than some
// 300, the rest were read by a program that does not ask.
inline constexpr size_t kSourcesMax = 1024;

class UdpSocket final : public ProgramSocket, public UdpTable::Member {
 public:
  UdpSocket(Context& context, int family, uint64_t inode, FileDescriptor end);
  ~UdpSocket() override;

  void Bind(PendingCall call, const Endpoint& local) override;
  void Connect(PendingCall call, int program_end, const ProgramAddress& to) override;
  void Listen(PendingCall call, int) override { call.Fail(EOPNOTSUPP); }
  void Accept(PendingCall call, int) override { call.Fail(EOPNOTSUPP); }
  void Shutdown(PendingCall call) override;
  void Send(PendingCall call, int program_end) override;
  void Receive(PendingCall call, int program_end) override;
  void GetPeer(PendingCall call) override;
  bool Closed() const override { return IsHungUp(end_.get()); }
  bool LookAtWaiting(Instant now) override;
  void Flush() override;

  // UdpTable::Member:
  int Fit(const Endpoint& from, const Endpoint& to) const override;
  bool Shares() const override { return options_.reuse_port(); }
  void OnDatagram(const Endpoint& source, std::span<const uint8_t> payload) override;
  void OnUnreachable(const Endpoint& remote, const absl::Status& error) override;

 private:
  struct Source {
    Endpoint from;
    size_t size;
  };
  struct Waiting {
    PendingCall call;
    ProgramMessage message;
    Instant until;
  };

  void OnEvents(uint32_t events);
  // Whether what is for `to` is for an address of this socket.
  bool Takes(const Endpoint& to) const;
  // Who the program takes `source` for.
  const Endpoint& Named(const Endpoint& source) const;
  // A port, and with it what comes from the network: 0 or an errno.
  int Open(const Endpoint& local);
  int SendTo(const Endpoint& to, std::span<const uint8_t> payload);
  // One message of a call: bytes sent, or an errno below zero.
  ssize_t SendOne(const PendingCall& call, const ProgramMessage& message);
  // One datagram of those in the pair: bytes, or an errno below zero.
  ssize_t ReceiveOne(const PendingCall& call, const ProgramMessage& message, int program_end,
                     int flags);
  // Drops sources of what the program has read by itself.
  void AlignSources(int program_end);
  // Gives the datagram to one that waits: true if it was taken.
  bool GiveToWaiting(const Endpoint& from, std::span<const uint8_t> payload);
  static ssize_t Hand(const PendingCall& call, const ProgramMessage& message, int family,
                      const Endpoint& from, std::span<const uint8_t> payload, int flags);
  static void Finish(PendingCall& call, ssize_t result);
  void ApplyOptions() override {}
  std::optional<std::vector<uint8_t>> StateOption(int level, int name) override;

  FileDescriptor end_;
  EventLoop::Watch watch_;
  std::optional<Endpoint> remote_;
  // The DNS server that was asked last, and who answers in its place.
  std::optional<Endpoint> asked_;
  std::optional<Endpoint> resolver_;
  int error_ = 0;
  bool shut_ = false;  // the program has said that it sends no more
  std::deque<Source> sources_;
  std::deque<Waiting> waiting_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_UDP_SOCKET_H_
