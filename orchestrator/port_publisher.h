// PortPublisher: listens on a port of this machine (ports: "127.0.0.1:8080:80"), whose
// connections it carries to a host's address inside, where their first packet
// wakes the host as any other would.
//
// Each accepted connection is joined to one from the gateway's own address
// (splice.h). It goes to the host's IPv4 address, where it waits until the program listens;
// a host that has an IPv6 address, is up and refuses it listens there alone, perhaps, and is
// tried there. At most kPublishedConnectionsMax are open at once; beyond it
// clients wait in the kernel's backlog until one closes.

#ifndef IM_ORCHESTRATOR_PORT_PUBLISHER_H_
#define IM_ORCHESTRATOR_PORT_PUBLISHER_H_

#include <functional>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "netstack/net.h"
#include "orchestrator/splice.h"

namespace im::orchestrator {

// Connections of one published port, each with one descriptor: what leaves
// room for others below the usual soft limit of 1024 descriptors.
inline constexpr size_t kPublishedConnectionsMax = 512;

// Owned by the loop's thread.
class PortPublisher {
 public:
  // None may destroy the port; any may be null.
  struct Calls {
    // Of each client.
    std::function<void(const Endpoint& client)> on_connect;
    // Why one's connection inside failed ("client to target: connection refused").
    std::function<void(const absl::Status&)> on_failure;
    // The target refuses: where else to try.
    Splice::OtherwiseFunction otherwise;
  };

  // AlreadyExists: the port is in use by another program.
  static absl::StatusOr<std::unique_ptr<PortPublisher>> Open(
      EventLoop& loop, netstack::Stack& stack, const Endpoint& listen, const Endpoint& target,
      Calls calls);
  ~PortPublisher();
  PortPublisher(const PortPublisher&) = delete;
  PortPublisher& operator=(const PortPublisher&) = delete;

  // The bound endpoint (the port that was chosen, if 0 was asked for).
  const Endpoint& local() const { return local_; }
  size_t connections() const { return splices_.size(); }

 private:
  PortPublisher(EventLoop& loop, netstack::Stack& stack, FileDescriptor listener,
                const Endpoint& local, const Endpoint& target, Calls calls);
  void OnClients();
  void Serve(FileDescriptor client, const Endpoint& from);
  // Stops accepting until a connection closes, or for a while.
  void Pause();
  void Resume();

  EventLoop& loop_;
  netstack::Stack& stack_;
  const FileDescriptor listener_;
  const Endpoint local_;
  const Endpoint target_;
  const Calls calls_;
  EventLoop::Watch watch_;
  EventLoop::Timer retry_;
  absl::flat_hash_map<Splice*, std::unique_ptr<Splice>> splices_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PORT_PUBLISHER_H_
