// SimProvider: runs SimAgents as processes of a machine, which outlive their
// imd. It is late with what it tells, and may tell it twice.

#ifndef IM_TESTS_SIMULATION_SIM_PROVIDER_H_
#define IM_TESTS_SIMULATION_SIM_PROVIDER_H_

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "orchestrator/controller.h"
#include "orchestrator/provider.h"
#include "tests/simulation/world.h"

namespace im::simulation {

using InstanceKey = std::pair<std::string, uint64_t>;

class SimProvider final : public orchestrator::Provider {
 public:
  using InstanceId = orchestrator::InstanceId;
  using InstanceHandle = orchestrator::InstanceHandle;

  class Delegate {
   public:
    virtual ~Delegate() = default;
    // A process, at once. It ends by OnExit of the agent's.
    virtual Node AddAgent(const proto::StartRequest& request) = 0;
    virtual void KillAgent(Node node) = 0;
    virtual void StopAgent(Node node) = 0;
    // If that imd still runs.
    virtual void InImd(uint64_t imd, std::function<void(orchestrator::Controller&)> what) = 0;
  };
  // Of the machine: they outlive an imd.
  struct Processes {
    std::map<InstanceKey, Node> running;
    std::map<InstanceKey, proto::ExitReport> exits;
  };

  SimProvider(uint64_t imd, World& world, Processes& processes, bool twice, Delegate& delegate)
      : imd_(imd), world_(world), processes_(processes), twice_(twice), delegate_(delegate) {}

  void Start(const proto::StartRequest& request, const StartOptions&) override;
  void Adopt(const InstanceId& id, const InstanceHandle& handle, const std::string&) override;
  void EndOthers(const std::string&) override;
  void Release(const InstanceId& id, Duration grace, bool force) override;
  void Forget(const InstanceId& id) override { known_.erase(KeyOf(id)); }
  std::optional<InstanceHandle> Describe(const InstanceId& id) const override;
  InstanceHandle HandleOf(uint32_t agent_pid) const override { return {agent_pid, 1}; }
  Capabilities capabilities() const override { return {.local = true}; }

  // The process is gone.
  void OnExit(const InstanceKey& key, const proto::ExitReport& report);

 private:
  static InstanceKey KeyOf(const InstanceId& id) { return {id.host, id.incarnation}; }
  void TellEnd(const InstanceKey& key, const proto::ExitReport& report, Duration delay);

  const uint64_t imd_;
  World& world_;
  Processes& processes_;
  const bool twice_;
  Delegate& delegate_;
  std::map<InstanceKey, bool> known_;  // whether its release was begun
};

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_SIM_PROVIDER_H_
