// UdpTable: which UDP sockets of the program have a port, and which of them a
// datagram is for.
//
// Several may have one: a server that connects its socket to its first caller
// and binds another one for the next, workers with SO_REUSEPORT, or sockets that
// are bound to different addresses. They share the stack's endpoints, of which
// a port has one for each address of the host.
//
// As in Linux, a datagram goes to the socket that fits it best: connected to
// its source, then bound to its very destination. Of equals the youngest has it;
// those with SO_REUSEPORT share by source, so that each caller stays with one.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_UDP_TABLE_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_UDP_TABLE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ip_address.h"
#include "netstack/net.h"

namespace im::agent {

class UdpTable {
 public:
  class Member {
   public:
    virtual ~Member() = default;
    // How well it fits a datagram; 0: not at all.
    virtual int Fit(const Endpoint& from, const Endpoint& to) const = 0;
    // SO_REUSEPORT.
    virtual bool Shares() const = 0;
    virtual void OnDatagram(const Endpoint& from, std::span<const uint8_t> payload) = 0;
    // ICMP says so of what was sent to `remote`.
    virtual void OnUnreachable(const Endpoint& remote, const absl::Status& error) = 0;
  };

  // `addresses`: the host's.
  UdpTable(netstack::Stack& stack, std::vector<IpAddress> addresses);

  // `outside`: it takes what comes from the network, too. 0 or an errno.
  int Join(uint16_t port, bool outside, Member& member);
  void Leave(uint16_t port, Member& member);
  // nullptr: nobody.
  Member* Find(const Endpoint& from, const Endpoint& to);
  // What a socket with this port sends by; nullptr: it reaches nobody of that family.
  netstack::UdpEndpoint* EndpointOf(uint16_t port, bool v4);

 private:
  struct Port {
    std::vector<Member*> members;
    std::vector<std::unique_ptr<netstack::UdpEndpoint>> endpoints;
  };
  int Open(uint16_t number, Port& port);
  void OnUnreachable(uint16_t port, const Endpoint& remote, const absl::Status& error);

  netstack::Stack& stack_;
  const std::vector<IpAddress> addresses_;
  absl::flat_hash_map<uint16_t, Port> ports_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_UDP_TABLE_H_
