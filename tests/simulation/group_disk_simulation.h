// A group with on_release: checkpoint, in virtual time (group_simulation.h): agents, CRIU and
// the disk are made up. Dumps take their time, and fail; agents and imd die at any step (in
// seeds with faults).
//
// Checked besides:
//  1. When a member is thawed none of the others is on disk, or on its way there or back
//     (not in seeds with faults: who is lost is lost).
//  2. A group that is left alone goes to disk as a whole, whatever happened to it.
//  3. A checkpoint is restored once.

#ifndef IM_TESTS_SIMULATION_GROUP_DISK_SIMULATION_H_
#define IM_TESTS_SIMULATION_GROUP_DISK_SIMULATION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tests/simulation/group_simulation.h"

namespace im::orchestrator {

class GroupDiskSimulation final : public GroupSimulation {
 public:
  explicit GroupDiskSimulation(uint64_t seed);
  void RunAll() override;

  uint64_t called_off() const { return called_off_; }
  uint64_t restores() const { return restores_; }

  // Activator::Delegate:
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal,
               const Cause& cause) override;
  void OnTransition(const Transition& transition) override;

 private:
  using Goal = Activator::Goal;
  using Disk = Activator::Report::Disk;
  struct Member;

  std::unique_ptr<GroupMember> MakeMember(HostId host, uint64_t incarnation) override;
  void Begin(GroupMember& member) override;
  Activator::End EndOf(HostId host, Activator::End::Kind kind) const override;
  bool OnDisk(HostId host) const override { return disk_[host].has_value(); }
  void StepOfFault(HostId) override { RestartOrchestrator(); }
  void RestartOrchestrator();

  void Begun(Member& member);
  void CheckThaw(const Member& thawed);
  void CheckOnDisk(bool after_faults);
  // While faults may happen.
  bool Fault(uint64_t percent) { return faults_ && world_.Chance(percent); }

  bool faults_ = false;
  uint64_t dump_fails_percent_ = 0;
  std::vector<std::optional<std::vector<uint32_t>>> disk_;  // checkpoints, and packets in them
  uint64_t called_off_ = 0, restores_ = 0;
};

}  // namespace im::orchestrator

#endif  // IM_TESTS_SIMULATION_GROUP_DISK_SIMULATION_H_
