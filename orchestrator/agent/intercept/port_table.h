// PortTable: which sockets of the program have which local ports.
//
// lwIP knows a port only once it listens or dials, and knows nothing of
// 127.0.0.1; a program is told at bind(2). The rules are Linux': two sockets
// may share a port if their addresses differ and neither is the unspecified
// one, or both ask for SO_REUSEPORT, or both for SO_REUSEADDR and the first does
// not listen.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_PORT_TABLE_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_PORT_TABLE_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ip_address.h"
#include "base/random.h"

namespace im::agent {

class PortTable {
 public:
  // Where ports that nobody asked for come from, by chance (RFC 6056, 3.3.1): below
  // lwIP's own (0x8000 on), which belong to connections that were not bound.
  static constexpr uint16_t kFreePortsBegin = 0x4000;
  static constexpr uint16_t kFreePortsEnd = 0x8000;

  struct Claim {
    Endpoint local;
    bool reuse_address = false;
    bool reuse_port = false;
    bool v6_only = false;  // :: without IPv4
    bool listening = false;
  };

  // `random` must outlive it.
  explicit PortTable(Random& random) : random_(random) {}

  // `owner` names the socket. Port 0 becomes a free one. 0 or EADDRINUSE.
  int Bind(const void* owner, Claim& claim);
  // The socket wants to listen now: 0 or EADDRINUSE.
  int Listen(const void* owner, const Endpoint& local);
  void StopListening(const void* owner, const Endpoint& local);
  void Release(const void* owner, const Endpoint& local);
  size_t size() const { return size_; }
  // Whether somebody takes what comes for this address and port of the host; and
  // listens, if that is asked.
  bool IsOpen(const Endpoint& at, bool listening) const;

 private:
  struct Entry {
    const void* owner;
    Claim claim;
  };
  bool Free(const void* owner, const Claim& claim) const;
  Entry* Find(const void* owner, uint16_t port);

  absl::flat_hash_map<uint16_t, std::vector<Entry>> ports_;
  size_t size_ = 0;
  Random& random_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_PORT_TABLE_H_
