// A group that is suspended together, in virtual time (group_simulation.h): each member's
// GroupPauser is real, too; programs and their kernels are made up.
//
// Programs beat as a star, a chain, a circle or not at all; or they report to the first, which
// answers only what they talk about now and then. A kernel keeps what comes for a frozen program.
//
// Checked besides:
//  1. Nobody misses a beat: whoever is thawed after a pause that is longer than its timeout
//     finds something from each fellow it exchanges beats with (not in a circle, where nobody
//     can promise it, nor who only reports, nor in seeds with faults, nor in the rare pause at
//     once of members that did not agree on who begins).
//  2. A group that is left alone falls asleep, and is released, as a whole.

#ifndef IM_TESTS_SIMULATION_GROUP_PAUSE_SIMULATION_H_
#define IM_TESTS_SIMULATION_GROUP_PAUSE_SIMULATION_H_

#include <memory>
#include <vector>

#include "orchestrator/agent/group_pauser.h"
#include "tests/simulation/group_simulation.h"

namespace im::orchestrator {

class GroupPauseSimulation final : public GroupSimulation {
 public:
  static constexpr Duration kBeat = std::chrono::milliseconds(100);
  static constexpr Duration kReport = std::chrono::milliseconds(1'500);
  // Beyond kAnswerMax: so long may wait who is woken in the moment when it fell
  // asleep, since its fellow's answer came just before that.
  static constexpr Duration kTimeout = agent::GroupPauser::kAnswerMax + std::chrono::seconds(1);

  explicit GroupPauseSimulation(uint64_t seed);
  void RunAll() override;

  // Activator::Delegate:
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal,
               const Cause& cause) override;
  void OnTransition(const Transition& transition) override;

  // Pauses beyond the timeout, and those of them in which there was an order.
  uint64_t long_pauses() const { return long_pauses_; }
  uint64_t ordered_pauses() const { return ordered_pauses_; }

 private:
  enum class Shape { kStar, kChain, kCircle, kSilent, kReports };
  struct Member;

  std::unique_ptr<GroupMember> MakeMember(HostId host, uint64_t incarnation) override;
  void Begin(GroupMember& member) override;
  void StepOfFault(HostId host) override { (void)suspender_->Suspend(host, Now()); }

  bool BeatsArePromised() const { return !faulty_ && shape_ != Shape::kCircle; }
  // Whom it sends beats.
  std::vector<HostId> LedBy(HostId host) const;
  // The others, that it is withdrawn.
  void TellFellows(HostId host, bool for_good);
  void Carry(const Member& from, HostId to, bool beat);
  void CheckBeats(const Member& thawed);
  void CheckAtRest();

  Shape shape_ = Shape::kStar;
  uint64_t long_pauses_ = 0, ordered_pauses_ = 0;
};

}  // namespace im::orchestrator

#endif  // IM_TESTS_SIMULATION_GROUP_PAUSE_SIMULATION_H_
