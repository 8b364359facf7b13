// What the simulations of one group of hosts have in common, in virtual time and out of one
// seed: the Activator and the GroupSuspender are real; the members (an agent, its kernel and
// its program), the messages' ways and the provider are made up. Messages between agents and
// orchestrator take their time, and overtake each other.
//
// Checked in all of them:
//  1. A frozen member is not left beside one that runs beyond Settings::split_bound; nor is
//     one that is on disk.
//  2. Wake beats suspend: what is sent to a member from outside is delivered to a running
//     program, and all members run, within Settings::wake_bound of it. In seeds without faults
//     nothing is refused, and nothing is lost.
//  3. The state table (HostTable checks it), and one instance of a host at most.

#ifndef IM_TESTS_SIMULATION_GROUP_SIMULATION_H_
#define IM_TESTS_SIMULATION_GROUP_SIMULATION_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/activator.h"
#include "orchestrator/group_suspender.h"
#include "tests/simulation/seeds.h"
#include "tests/simulation/world.h"

namespace im::orchestrator {

class GroupSimulation;

// One incarnation of a host.
struct GroupMember {
  static constexpr Duration kQuietAfter = std::chrono::milliseconds(700);
  // The newest that the orchestrator says.
  struct Desired {
    uint64_t version = 0;
    Activator::Goal goal = Activator::Goal::kRun;
    uint64_t wakes = 0, pauses = 0;
    bool forced = false, at_once = false;
  };

  GroupMember(GroupSimulation& simulation, HostId id, uint64_t number)
      : sim(simulation), host(id), incarnation(number) {}
  virtual ~GroupMember() = default;

  // ---- what kinds of members do differently ----
  virtual void Wake() = 0;
  // Nobody has used it for kQuietAfter.
  virtual void OnQuiet() = 0;
  // Whether `heard` asks anew for a pause; `before`: what was heard before. Then: what follows.
  virtual bool IsAsked(const Desired& before) = 0;
  virtual void OnAsked() = 0;
  // Does what heard.goal says; it may end with that.
  virtual void OnGoal() = 0;
  virtual void Describe(Activator::Report& report, GroupSuspender::Report& group) const = 0;
  virtual Instant NextDeadline() const { return kNever; }
  virtual void OnTimer() {}

  // ---- what they do alike ----
  void OnUse();
  void OnDesired(const Desired& newest);
  // Ends by itself, soon.
  void Stop();
  // Says how it is when the message comes to be sent.
  void Report();
  // If it lives then.
  void After(Duration delay, std::function<void()> what);

  GroupSimulation& sim;
  const HostId host;
  const uint64_t incarnation;
  Desired desired, heard;
  bool up = false, paused = false, stopping = false, refused = false;
  uint64_t thaws = 0, uses = 0;
  std::vector<uint32_t> kept;  // packets that it has and its program has not seen
};

class GroupSimulation : public Activator::Delegate {
 public:
  struct Settings {
    Duration split_bound, wake_bound;
    // Between two steps: up to the one, for so many in a hundred, or the other.
    uint64_t short_percent;
    Duration short_max, long_max;
  };

  GroupSimulation(uint64_t seed, const Settings& settings) : world_(seed), settings_(settings) {}

  virtual void RunAll() = 0;
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  // How often all were paused, and on disk.
  uint64_t sleeps() const { return sleeps_; }
  uint64_t times_on_disk() const { return times_on_disk_; }

  // ---- for members ----
  simulation::World& world() { return world_; }
  Instant Now() const { return world_.Now(); }
  Duration Millis(uint64_t max) { return world_.UpTo(std::chrono::milliseconds(max)); }
  HostId size() const { return size_; }
  GroupMember* At(HostId host) { return members_[host].get(); }
  GroupMember* Find(HostId host, uint64_t incarnation);
  // Its end is told later.
  void End(HostId host, uint64_t incarnation, Activator::End::Kind kind);
  void Tell(const GroupMember& member);
  void Fail(const std::string& what);
  template <typename... Parts>
  void Trace(const Parts&... parts) const {
    if (trace_) PrintTrace(absl::StrCat(parts...));
  }

  // ---- Activator::Delegate ----
  void StartInstance(HostId host, uint64_t incarnation, const Cause&) override;
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal, const Cause&) override;
  void Deliver(HostId host, PacketBatch packets) override;
  void Refuse(HostId, PacketBatch packets, absl::string_view reason, bool) override;
  void OnTransition(const Transition& transition) override;

 protected:
  // ---- what the simulations do differently ----
  virtual std::unique_ptr<GroupMember> MakeMember(HostId host, uint64_t incarnation) = 0;
  // The member was just made.
  virtual void Begin(GroupMember& member) = 0;
  virtual Activator::End EndOf(HostId, Activator::End::Kind kind) const {
    return {.kind = kind, .message = "the end"};
  }
  virtual bool OnDisk(HostId) const { return false; }
  virtual void StepOfFault(HostId host) = 0;

  // With hosts of this policy; what another one knew is gone.
  void NewOrchestrator(const HostPolicy& policy);
  void SendDesired(GroupMember& member);
  void UseOne();
  void RunSteps(uint64_t count);
  void Pass(Duration by);

  simulation::World world_;
  const Settings settings_;
  HostId size_ = 0;
  std::unique_ptr<HostTable> table_;
  std::unique_ptr<Activator> activator_;
  std::optional<GroupSuspender> suspender_;
  std::vector<std::unique_ptr<GroupMember>> members_;
  std::map<HostId, uint64_t> ended_;  // and not told yet
  bool faulty_ = false;               // faults may happen, or have happened
  std::map<uint32_t, Instant> waiting_;  // packets from outside: their bound

 private:
  void PrintTrace(const std::string& what) const;
  void RunActions();
  void Arrive(HostId host, uint32_t number);
  // No program gets it.
  void Lose(uint32_t number, absl::string_view how);
  void Step();
  void Check();

  const bool trace_ = simulation::FromEnvironment("IM_SIM_TRACE", 0) != 0;
  uint32_t packet_number_ = 0;
  std::set<HostId> to_run_;  // since that use
  Instant used_at_, split_since_;
  bool split_ = false, all_paused_ = false, all_on_disk_ = false;
  uint64_t sleeps_ = 0, times_on_disk_ = 0;
  std::string failure_;
};

}  // namespace im::orchestrator

#endif  // IM_TESTS_SIMULATION_GROUP_SIMULATION_H_
