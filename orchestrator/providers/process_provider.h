// ProcessProvider: instances as processes of this machine, one im-agent each.
//
// Start: the request goes into an anonymous file that the agent finds as
// descriptor 3; the agent makes the sandbox and runs the program in it. It is
// in a session of its own and outlives us.
//
// End: a pidfd tells it, whether the agent is our child or was adopted after a
// restart; it also makes signalling safe against reused pids. The agent leaves
// instance_dir/exit behind (proto::ExitReport); if it could not, the way it
// died is the report.
//
// Restart: an agent's environment names its instance, so that one is found in
// /proc whose pid was not saved. It costs nothing while all goes well, and needs
// no disk.
//
// Release: SIGTERM (the agent stops the program and gives it its grace), then,
// kReleaseMargin after the grace has passed, SIGKILL. The sandbox dies with
// the agent.

#ifndef IM_ORCHESTRATOR_PROVIDERS_PROCESS_PROVIDER_H_
#define IM_ORCHESTRATOR_PROVIDERS_PROCESS_PROVIDER_H_

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/event_loop.h"
#include "orchestrator/provider.h"

namespace im::orchestrator {

// How long an agent may take to end beyond its program's grace.
inline constexpr Duration kReleaseMargin = std::chrono::seconds(2);

// How long EndOthers waits for those it killed.
inline constexpr Duration kKillWait = std::chrono::seconds(2);

// Largest exit report that is read, in bytes; more is cut off.
inline constexpr size_t kExitReportBytesMax = 64 << 10;

class ProcessProvider final : public Provider {
 public:
  // `loop` and `delegate` must outlive it.
  ProcessProvider(EventLoop& loop, std::string agent_path, Delegate& delegate);
  ~ProcessProvider() override;

  void Start(const proto::StartRequest& request, const StartOptions& options) override;
  void Adopt(const InstanceId& id, const InstanceHandle& handle,
             const std::string& instance_dir) override;
  void EndOthers(const std::string& directory) override;
  void Release(const InstanceId& id, Duration grace, bool force) override;
  void Forget(const InstanceId& id) override;
  std::optional<InstanceHandle> Describe(const InstanceId& id) const override;
  InstanceHandle HandleOf(uint32_t agent_pid) const override;
  Capabilities capabilities() const override { return {.local = true}; }

 private:
  struct Instance {
    InstanceHandle handle;
    std::string instance_dir;
    FileDescriptor pidfd;
    EventLoop::Watch watch;
    EventLoop::Timer kill_timer;
    bool released = false;
    bool killed = false;
  };

  absl::Status Spawn(const proto::StartRequest& request, const StartOptions& options,
                     Instance& instance);
  void Watch(const InstanceId& id, Instance& instance);
  void Ended(const InstanceId& id);
  // Ends `id` in a later turn, with `report`.
  void PostEnded(const InstanceId& id, proto::ExitReport report);
  void Kill(const InstanceId& id);

  EventLoop& loop_;
  const std::string agent_path_;
  Delegate& delegate_;
  absl::flat_hash_map<InstanceId, std::unique_ptr<Instance>> instances_;
  // Cleared by the destructor, so that what was posted finds nobody.
  std::shared_ptr<ProcessProvider*> self_;
};

// The agent that stands beside the running program's own file, or $IM_AGENT.
std::string DefaultAgentPath();

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PROVIDERS_PROCESS_PROVIDER_H_
