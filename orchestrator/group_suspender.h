// GroupSuspender: when the members of a group are paused together, and that
// they are thawed together (groups: {NAME: {suspend: together}}).
//
// It sees what all agents report (agent/group_pauser.h) and says whom to ask
// to pause, and whom to wake. It takes no edges of the state table: that a
// member is paused, or runs again, its agent says, and the Activator notes.
//
//   awake    until every member that is up is quiet
//   falling  first those asked who begin beats with nobody, or only with
//            members that are paused and have all their beats in hand; so the
//            one who begins (a leader) comes last, some milliseconds after the
//            others. Whose beat another awaits is not asked, whether it knows
//            that it begins or not; a beat of one that is paused is awaited in
//            vain, which ends the attempt. Where that goes round in a circle,
//            all the rest at once; all, if beats did not come at the last
//            attempt
//   asleep   all that are up are paused
//
// A member that is not quiet any more, refuses, thaws, starts or wants to run
// ends falling and sleep: all others are woken. An agent knows by itself for
// whom it has to wait then.
//
// Whatever else happened (a lost member, an orchestrator that was restarted),
// a paused member beside one that runs is woken after kSplitMax, again and
// again.
//
// Pure: events and `now` in, actions out.

#ifndef IM_ORCHESTRATOR_GROUP_SUSPENDER_H_
#define IM_ORCHESTRATOR_GROUP_SUSPENDER_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "base/clock.h"
#include "orchestrator/host_table.h"

namespace im::orchestrator {

class GroupSuspender {
 public:
  // A member may be paused beside one that runs for so long without being
  // woken: reports of both are on their way, or it waits for an answer. And for
  // so long a beat may be awaited of one that is paused: it, or that it came, is
  // on its way.
  static constexpr Duration kSplitMax = std::chrono::milliseconds(200);
  static constexpr Duration kSplitRetry = std::chrono::seconds(1);
  // From a request to pause to the next step; else all are woken. Above the
  // agents' own bound for the next beat.
  static constexpr Duration kStageMax = std::chrono::seconds(40);

  // The newest of a member.
  struct Report {
    uint64_t pause_answered = 0;
    bool quiet = false;
    bool falling = false;
    bool waking = false;
    bool beat_late = false;
    std::vector<HostId> leads;  // members that it begins beats with
    // Paused, or falling: those that begin them with it, and have not since it was asked.
    std::vector<HostId> awaits;
  };

  struct Action {
    enum class Kind : uint8_t { kPause, kWake };
    Kind kind = Kind::kPause;
    HostId host = kNoHost;
    uint64_t round = 0;   // kPause: what Report::pause_answered says when it was
    bool forced = false;   // kPause: whatever use there is
    bool at_once = false;  // kPause: in no order
    std::string reason;   // kWake: "zk-1 runs"
  };

  // `hosts` must outlive it; its groups are all there.
  explicit GroupSuspender(const HostTable& hosts);

  // A status came, and the Activator knows of it. Ignored if the host is in no
  // group; so below.
  void OnReport(HostId host, Report report, Instant now);
  // The host changed its state.
  void OnTransition(HostId host, Instant now);
  // Pause the host's group now, whatever its members do (`im suspend`).
  // FailedPrecondition: one is starting or releasing. Precondition: it has one.
  absl::Status Suspend(HostId host, Instant now);

  // What is to be done, in order; forgotten here.
  std::vector<Action> TakeActions() { return std::exchange(actions_, {}); }

  Instant NextDeadline() const;
  void OnTimer(Instant now);

  // What keeps a quiet member of the group up: "zk-2 is not quiet". Empty if
  // nothing does, or the host is in no group.
  std::string Reason(HostId host) const;

 private:
  enum class Phase : uint8_t { kAwake, kFalling, kAsleep };
  struct Member {
    Report report;
    uint64_t asked = 0;  // the round in which it was asked; 0: not
  };
  struct Group {
    Phase phase = Phase::kAwake;
    uint64_t round = 0;
    bool forced = false;
    bool at_once = false;  // the next attempt
    std::vector<Member> members;  // as HostTable::Group::members
    Instant stage_end = kNever;   // of kFalling
    Instant vain_since = kNever;  // of kFalling: that a beat is awaited in vain
    Instant deadline = kNever;    // of kFalling; of kAwake: a split
  };

  bool Up(HostId host) const;
  Member& MemberOf(uint32_t group, HostId host);
  void Evaluate(uint32_t group, Instant now);
  void Awake(uint32_t group, Instant now);
  void Begin(uint32_t group, Instant now);
  void Fall(uint32_t group, Instant now);
  bool MayFall(uint32_t group, const Member& member);
  void Wake(HostId host, const std::string& reason);
  // All that are, or may be, paused are to run.
  void Rise(uint32_t group, const std::string& reason, Instant now);
  void SetDeadline(uint32_t group, Instant deadline);

  const HostTable& hosts_;
  std::vector<Group> groups_;
  absl::btree_set<std::pair<Instant, uint32_t>> deadlines_;
  std::vector<Action> actions_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_GROUP_SUSPENDER_H_
