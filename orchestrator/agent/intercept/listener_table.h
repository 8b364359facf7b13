// ListenerTable: who listens on what, and whose turn it is.
//
// Sockets that share a port by SO_REUSEPORT share one listener of the stack and
// take turns. A listener on 127.0.0.1 has none in the stack: what connects from
// inside the host finds it here, as it finds the others.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_LISTENER_TABLE_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_LISTENER_TABLE_H_

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "netstack/net.h"

namespace im::agent {

// A connection that waits for accept(2).
struct Arrival {
  std::unique_ptr<netstack::TcpConnection> connection;  // from the network
  FileDescriptor end;                                   // or from inside the host
  Endpoint local;
  Endpoint remote;
};

class ListenerTable {
 public:
  class Member {
   public:
    virtual ~Member() = default;
    virtual void OnArrival(Arrival arrival) = 0;
    // Its backlog is full.
    virtual bool Full() const = 0;
    // Takes what comes from inside the host, where no SYN could come again.
    virtual bool TakesFromInside() const = 0;
    // It is closed, and will leave.
    virtual bool Gone() const = 0;
  };

  explicit ListenerTable(netstack::Stack& stack) : stack_(stack) {}

  // `outside`: where the stack is to listen, if it is. `v6_only`: :: is not for
  // IPv4. 0 or an errno.
  int Join(const Endpoint& local, bool v6_only, const std::optional<Endpoint>& outside,
           Member& member);
  void Leave(Member& member);
  // Full() of one has changed: while all are full, SYNs are dropped, and come
  // again.
  void OnFullChanged(Member& member);
  // The one whose turn it is for a connection to `to`; nullptr: nobody listens.
  Member* Find(const Endpoint& to);

 private:
  struct Group {
    Endpoint local;
    bool v6_only;
    std::unique_ptr<netstack::TcpListener> listener;
    std::vector<Member*> members;
    size_t next = 0;
  };
  Group* GroupOf(const Member& member);
  static Member* Next(Group& group);

  netstack::Stack& stack_;
  std::vector<std::unique_ptr<Group>> groups_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_LISTENER_TABLE_H_
