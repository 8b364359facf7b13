// NameServer: answers DNS questions at the gateway's address: those of stock peers, and
// those of hosts about names that come and go.
//
// Names of hosts each agent answers itself, and it says what does not exist outside of the
// cluster; what may be a guest's or a peer's name it lets through (agent/data_path.h).
// A laptop's WireGuard configuration names one resolver for everything, so that this one
// has to know the rest of the world, too: what is no name of the cluster
// (Knower::kElsewhere) is passed on to the resolvers of this machine's /etc/resolv.conf, one
// after the other, and their answer back. Where there is none the name does not exist.
//
// A question that was passed on has a socket of its own, connected to the resolver: with its
// port of the kernel's choice an answer is as hard to forge as the resolver's own clients'.
// UDP alone: an answer of more than the asker's datagrams carry is cut by the resolver, and
// nobody is there for the TCP that would follow.

#ifndef IM_ORCHESTRATOR_NAME_SERVER_H_
#define IM_ORCHESTRATOR_NAME_SERVER_H_

#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/dual_stack.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "netstack/net.h"
#include "orchestrator/names/dns_responder.h"

namespace im::orchestrator {

// Questions that wait for an answer of others; more are dropped, and asked again.
inline constexpr size_t kDnsForwardedMax = 256;
// How long one resolver may take before the next is asked, or the question forgotten.
inline constexpr Duration kDnsForwardTime = std::chrono::seconds(3);

// The "nameserver" lines of a resolv.conf(5), at most the three that it knows, without
// addresses in `network`, by either family: those lead back to us.
std::vector<Endpoint> ParseResolvConf(absl::string_view text, const IpPrefix& network,
                                      const DualStack& dual_stack = {});

// Owned by the loop's thread.
class NameServer {
 public:
  // `loop`, `names` and `stack`, which has the interface of `gateway`, must outlive it.
  static absl::StatusOr<std::unique_ptr<NameServer>> Open(EventLoop& loop, netstack::Stack& stack,
                                                          const IpAddress& gateway,
                                                          const IpPrefix& network,
                                                          const DualStack& dual_stack,
                                                          names::NameIndex& names,
                                                          absl::string_view domain);

  // Of this machine; for tests. Default: /etc/resolv.conf, read for each question, so that
  // it may change.
  void SetResolvers(std::vector<Endpoint> resolvers) { resolvers_ = std::move(resolvers); }

 private:
  struct Forwarded {
    Endpoint asker;
    std::vector<uint8_t> query;
    std::vector<Endpoint> resolvers;
    size_t next = 0;  // of them
    FileDescriptor socket;
    EventLoop::Watch watch;
    EventLoop::Timer timer;
  };
  using Place = std::list<Forwarded>::iterator;

  NameServer(EventLoop& loop, const IpPrefix& network, const DualStack& dual_stack,
             names::NameIndex& names, absl::string_view domain);
  void OnQuery(const Endpoint& asker, std::span<const uint8_t> query);
  void SendAnswer(const Endpoint& asker, std::span<const uint8_t> answer);
  void Ask(Place place);
  void OnAnswer(Place place);
  std::vector<Endpoint> Resolvers() const;

  EventLoop& loop_;
  const IpPrefix network_;
  const DualStack dual_stack_;
  names::DnsResponder responder_;
  std::optional<std::vector<Endpoint>> resolvers_;
  std::list<Forwarded> forwarded_;
  std::unique_ptr<netstack::UdpEndpoint> udp_;
  std::unique_ptr<netstack::UdpEndpoint> udp6_;  // with dual_stack_ alone
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_NAME_SERVER_H_
