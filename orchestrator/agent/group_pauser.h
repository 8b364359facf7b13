// GroupPauser: pauses a host together with its group, and thaws it with it.
//
// The members of an ensemble are never silent: heartbeats. So traffic with
// fellows is no use of the host as long as it is no more than a heartbeat (a
// bound in bytes a second, with kBurst seconds of it at once), and it wakes
// nobody: what comes for a paused host its own kernel takes and keeps.
//
//   busy     use from outside the group, CPU, … (idle_detector.h)
//   quiet    the orchestrator is told. When all are quiet it asks to pause
//   falling  waits for the next beat of each fellow that begins beats with us
//            (beats.h), and freezes before that is delivered
//   paused   as for a host by itself
//   waking   is to run, but waits until the fellows that we begin beats with
//            were heard: the orchestrator thaws them first
//
// Why this order: the clock goes on while a program is frozen. After a pause
// that is longer than its timeouts, a program that finds nothing from a fellow
// takes it for dead. Frozen at the moment of a beat, the beat lies in its
// kernel's buffer: it is there before the timeout is looked at. Who began the
// beat finds the answers, since it is thawed after those who give them. A
// program whose timeouts are looked at without looking for data first, or
// whose beats both ends begin, is not helped by that.
//
// No wait is for ever: a beat that does not come in time ends the attempt,
// and who wakes waits kAnswerMax for answers.

#ifndef IM_ORCHESTRATOR_AGENT_GROUP_PAUSER_H_
#define IM_ORCHESTRATOR_AGENT_GROUP_PAUSER_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/clock.h"
#include "base/ip_address.h"
#include "orchestrator/agent/beats.h"
#include "proto/agent.pb.h"

namespace im::agent {

class GroupPauser {
 public:
  // So much of the heartbeat's bound may come at once, as time: the beats of a
  // minute's half, or a member that catches up.
  static constexpr Duration kBurst = std::chrono::seconds(10);
  // A fellow's answer to the beat that lay in its buffer.
  static constexpr Duration kAnswerMax = Beats::kAnswerMax;
  static constexpr Duration kNextBeatMax = std::chrono::seconds(30);

  class Delegate {
   public:
    virtual ~Delegate() = default;
    // Whether there was other use since OnQuiet.
    virtual bool BusyNow() = 0;
    // False: it could not be frozen.
    virtual bool Freeze() = 0;
    virtual void ThawNow(const proto::WakeCause& cause) = 0;
    // Looking for quiet begins anew: there was use.
    virtual void OnGroupUse() = 0;
    // What Describe tells has changed.
    virtual void OnGroupChange() = 0;
  };

  // `group` was checked. `delegate` must outlive it.
  GroupPauser(const proto::Group& group, Instant now, Delegate& delegate);

  bool IsFellow(const IpAddress& address) const { return fellows_.contains(address); }

  // A packet with payload from or to a fellow. Before it is delivered. True: it
  // is more than a heartbeat, which counts as use.
  bool OnFellow(const IpAddress& fellow, bool inbound, size_t bytes, Instant now);
  // The idle detector found all quiet.
  void OnQuiet();
  // Takes DesiredState.group_pauses; whether it asks for a pause anew.
  bool IsNewRequest(uint64_t number);
  // To pause. `forced`: whatever use there is. `at_once`: without an order among
  // the members, now and when they wake.
  void OnAsked(bool forced, bool at_once, Instant now);
  // The host is to run, and if it does already, to be busy.
  void Wake(const proto::WakeCause& cause, Instant now);
  // What it was when it went to disk, to which it is about to be restored: which fellows
  // are to be heard before it is thawed.
  std::vector<IpAddress> AnswersAwaited() const { return Unheard(answer_); }
  // It was restored, and is paused: what that said.
  void OnRestored(std::vector<IpAddress> answers_awaited) { answer_ = std::move(answers_awaited); }
  // The fellow is being released: no beat is awaited from it. Its beats are remembered, and
  // its answers awaited if we are paused, until it has ended `for_good`: the release may be
  // called off, and then it is woken as we are.
  void OnFellowGone(const IpAddress& fellow, bool for_good, Instant now);
  // It was frozen, or thawed, whoever did it.
  void OnPausedOrThawed(bool paused, Instant now);

  // After the packets of the turn were delivered.
  void OnTimer(Instant now);
  Instant NextDeadline() const { return deadline_; }

  // Paused, or it may be any moment.
  bool ready() const { return state_ != State::kBusy; }
  bool waking() const { return state_ == State::kWaking; }
  void Describe(Instant now, proto::InstanceStatus& status) const;

 private:
  enum class State { kBusy, kQuiet, kFalling, kPaused, kWaking };

  void Fall();
  bool Answered() const;
  // Those of them that were not heard since the pause.
  std::vector<IpAddress> Unheard(std::vector<IpAddress> fellows) const;

  Delegate& delegate_;
  absl::flat_hash_set<IpAddress> fellows_;
  Beats beats_;
  State state_ = State::kBusy;
  uint64_t answered_pause_ = 0;
  bool beat_late_ = false;
  Instant deadline_ = kNever;  // of kFalling: the beat is late; of kWaking: thaw
  proto::WakeCause cause_;     // of kWaking
  // Since the last falling:
  std::vector<IpAddress> expected_;       // fellows whose beat is awaited
  std::vector<IpAddress> answer_;         // fellows that answer our beats
  absl::flat_hash_set<IpAddress> heard_;  // fellows, since the pause
  // The heartbeat's bound, as a bucket of tokens.
  const uint64_t bytes_per_s_;
  double tokens_;
  Instant tokens_at_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_GROUP_PAUSER_H_
