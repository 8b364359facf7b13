// ProgramSocket: an AF_INET or AF_INET6 socket of the program, as the program
// sees it. The kernel knows it as one end of an AF_UNIX socket pair, and its
// inode there names it; TcpSocket and UdpSocket are the two kinds.
//
// Each call is answered by whom it is given to. `program_end` is open on the
// program's end while the call is handled, and no longer: our holding it would
// hide that the program has closed it.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_SOCKET_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_SOCKET_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "base/ip_address.h"
#include "netstack/net.h"
#include "orchestrator/agent/intercept/pending_call.h"
#include "orchestrator/agent/intercept/port_table.h"
#include "orchestrator/agent/intercept/socket_address.h"
#include "orchestrator/agent/intercept/socket_options.h"

namespace im::agent {

class ListenerTable;
class UdpTable;

class ProgramSocket {
 public:
  // What sockets share.
  class Context {
   public:
    virtual ~Context() = default;
    virtual EventLoop& loop() = 0;
    virtual netstack::Stack& stack() = 0;
    virtual PortTable& ports(int type) = 0;
    // The host's own address of a family, if it has one.
    virtual std::optional<IpAddress> own_address(bool v4) const = 0;
    virtual ListenerTable& listeners() = 0;
    virtual UdpTable& udp() = 0;
    // The table of sockets. ENFILE: there are too many.
    virtual int Add(std::unique_ptr<ProgramSocket> socket) = 0;
    // It has another pair.
    virtual void Rename(ProgramSocket& socket, uint64_t inode) = 0;
    // Nobody has it any more: destroys it.
    virtual void Remove(ProgramSocket& socket) = 0;
    // Removes what the program has closed and we were not told of yet.
    virtual void RemoveClosed() = 0;
    // We have no end of it any more and will not hear of its close.
    virtual void OnDetached(ProgramSocket& socket) = 0;
    // One of its calls waits: it is asked to LookAtWaiting now and then.
    virtual void OnWaiting(const ProgramSocket& socket) = 0;
    // What comes for the port is taken from now on.
    virtual void OnOpened(int type, uint16_t port) = 0;
    // Who is asked in the place of `to`, if that is a DNS server that cannot be
    // reached from here.
    virtual std::optional<Endpoint> ResolverFor(const Endpoint& to) = 0;
  };

  ProgramSocket(Context& context, int family, int type, uint64_t inode)
      : context_(context), options_(family, type), family_(family), type_(type), inode_(inode) {}
  virtual ~ProgramSocket();
  ProgramSocket(const ProgramSocket&) = delete;
  ProgramSocket& operator=(const ProgramSocket&) = delete;

  uint64_t inode() const { return inode_; }
  void set_inode(uint64_t inode) { inode_ = inode; }
  int type() const { return type_; }
  int family() const { return family_; }
  // Bound, or connected from.
  const std::optional<Endpoint>& local() const { return local_; }

  virtual void Bind(PendingCall call, const Endpoint& local);
  virtual void Connect(PendingCall call, int program_end, const ProgramAddress& to) = 0;
  virtual void Listen(PendingCall call, int backlog) = 0;
  virtual void Accept(PendingCall call, int program_end) = 0;
  virtual void Shutdown(PendingCall call) = 0;
  // sendto, sendmsg, sendmmsg; recvfrom, recvmsg, recvmmsg.
  virtual void Send(PendingCall call, int program_end) = 0;
  virtual void Receive(PendingCall call, int program_end) = 0;
  void GetName(PendingCall call);
  virtual void GetPeer(PendingCall call) = 0;
  void SetOption(PendingCall call, int program_end);
  void GetOption(PendingCall call);

  // The program has closed it. Never, of those that we have no end of.
  virtual bool Closed() const = 0;
  // Has a connection to another host.
  virtual bool Connected() const { return false; }
  // Ends the calls that wait and whose time is over or whose caller is wanted by
  // a signal. Whether any still wait.
  virtual bool LookAtWaiting(Instant now) = 0;
  // What was written into the pair leaves.
  virtual void Flush() {}

 protected:
  // An option has changed.
  virtual void ApplyOptions() = 0;
  // SO_ERROR, SO_ACCEPTCONN, TCP_INFO: what depends on the state.
  virtual std::optional<std::vector<uint8_t>> StateOption(int level, int name) = 0;
  // The host has this address: an interface's, 127.0.0.0/8, ::1, unspecified.
  int CheckLocalAddress(const IpAddress& address) const;
  // Takes a free port of `address`, or the one that `local_` says already.
  int Claim(const Endpoint& local);
  void ReleasePort();
  // Where the stack is to listen for a socket that is bound to `local`.
  std::optional<Endpoint> OutsideOf(const Endpoint& local) const;
  // Whether `address` is reached without the network.
  bool IsInside(const IpAddress& address) const;

  Context& context_;
  SocketOptions options_;
  std::optional<Endpoint> local_;
  bool claimed_ = false;  // local_ is in the table of ports

 private:
  const int family_;
  const int type_;
  uint64_t inode_;
};

// Ends `call` if its caller is gone or has a signal to handle; true if so. Linux
// ends a call that waits when a signal is to be handled; a call that was told to
// us does so for none but deadly ones, so it is looked at now and then.
bool EndIfInterrupted(PendingCall& call);

// Whether nobody has the other end of a pair.
bool IsHungUp(int our_end);

// O_NONBLOCK of the open file.
bool IsNonBlocking(int program_end);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_SOCKET_H_
