// Provider: whatever can run an instance of a host.
//
// The contract, for every implementation (provider_contract_test.cc runs one
// suite over them):
//  - Calls return at once; outcomes come to the Delegate on the loop's thread,
//    never from within a call.
//  - An instance is named by its host and its incarnation, which is never used
//    twice. Starting one that is known, releasing one that is unknown or that
//    is being released already: no-ops.
//  - After Start or Adopt exactly one OnEnded follows, however the instance
//    ends: released, by itself, killed, or never having begun.
//  - Instances live on when the provider (or the whole orchestrator) is
//    destroyed; a later one takes them back with Adopt.
//
// Nothing here assumes that an instance is a process of this machine, that it
// can be reached from outside, or that it lives for ever.

#ifndef IM_ORCHESTRATOR_PROVIDER_H_
#define IM_ORCHESTRATOR_PROVIDER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

struct InstanceId {
  std::string host;
  uint64_t incarnation = 0;

  friend bool operator==(const InstanceId&, const InstanceId&) = default;
  friend auto operator<=>(const InstanceId&, const InstanceId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const InstanceId& id) {
    return H::combine(std::move(h), id.host, id.incarnation);
  }
};

// Enough to find a running instance again after a restart of the orchestrator.
struct InstanceHandle {
  uint32_t agent_pid = 0;          // 0: the provider has no process here
  uint64_t agent_start_ticks = 0;  // tells a reused pid from the agent
};

// Owned by the loop's thread.
class Provider {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // The agent is on its way. (That the instance is up is for its own first
    // status message to say.)
    virtual void OnStarted(const InstanceId& id, const InstanceHandle& handle) = 0;
    // Nothing of the instance is left.
    virtual void OnEnded(const InstanceId& id, const proto::ExitReport& report) = 0;
  };

  struct Capabilities {
    bool checkpoint = false;
    bool local = false;  // instances run on this machine and share its files
    // Longest life of an instance; zero: no limit.
    Duration max_lifetime{0};
  };

  struct StartOptions {
    // Serialized NameTable, one copy for all starts: used instead of
    // StartRequest.name_table. Must stay valid during the call.
    absl::string_view name_table;
  };

  virtual ~Provider() = default;

  virtual void Start(const proto::StartRequest& request, const StartOptions& options) = 0;
  // Takes back an instance that an earlier orchestrator started. It may have
  // died before it saved the handle: then the provider finds it by itself.
  virtual void Adopt(const InstanceId& id, const InstanceHandle& handle,
                     const std::string& instance_dir) = 0;
  // After the Adopt()s: ends all other instances whose directory lies under
  // `directory`: an earlier orchestrator started them and did not live to save
  // it. Nothing of them is left when this returns, so that no second instance
  // of a host is started beside one.
  virtual void EndOthers(const std::string& directory) = 0;
  // Ends the instance: its program gets its stop signal, and `grace` later the
  // instance is destroyed. With `force` it is destroyed now; this may follow a
  // release without it.
  virtual void Release(const InstanceId& id, Duration grace, bool force) = 0;
  // Lets go of the instance without ending it: no OnEnded will follow.
  virtual void Forget(const InstanceId& id) = 0;
  // nullopt: not known (any more).
  virtual std::optional<InstanceHandle> Describe(const InstanceId& id) const = 0;
  // For an agent that somebody else started (a guest's), so that it can be
  // adopted later.
  virtual InstanceHandle HandleOf(uint32_t agent_pid) const = 0;
  virtual Capabilities capabilities() const = 0;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PROVIDER_H_
