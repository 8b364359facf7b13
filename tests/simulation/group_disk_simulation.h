// A group with on_release: checkpoint, in virtual time: the Activator and the
// GroupSuspender are real; agents, CRIU, the disk, the messages' ways and the provider are
// made up, out of one seed. Dumps take their time, and fail; agents and imd die at any step
// (in seeds with faults).
//
// Checked:
//  1. When a member is thawed none of the others is on disk, or on its way there or back
//     (not in seeds with faults: who is lost is lost).
//  2. A frozen member is not left beside one that runs beyond kSplitBound.
//  3. What is sent to a member is delivered to a running program, and all members run, within
//     kWakeBound of it.
//  4. A group that is left alone goes to disk as a whole, whatever happened to it.
//  5. The state table (HostTable checks it), one instance of a host at most, and a checkpoint
//     is restored once.

#ifndef IM_TESTS_SIMULATION_GROUP_DISK_SIMULATION_H_
#define IM_TESTS_SIMULATION_GROUP_DISK_SIMULATION_H_

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "orchestrator/activator.h"
#include "orchestrator/group_suspender.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {

class GroupDiskSimulation final : public Activator::Delegate {
 public:
  static constexpr Duration kQuietAfter = std::chrono::milliseconds(700);
  static constexpr Duration kSplitBound = std::chrono::seconds(8);
  static constexpr Duration kWakeBound = std::chrono::seconds(12);
  static constexpr Duration kLeftAlone = std::chrono::seconds(120);
  explicit GroupDiskSimulation(uint64_t seed) : random_(seed) {
    members_ = 2 + static_cast<HostId>(random_.Below(4));
    faults_ = faulty_ = Chance(40);
    dump_fails_percent_ = Chance(50) ? 0 : random_.Below(40);
    agents_.resize(members_);
    disk_.resize(members_);
    NewOrchestrator();
  }

  void RunAll() {
    const int steps = 8 + static_cast<int>(random_.Below(15));
    for (int i = 0; i < steps && !failed(); ++i) Step();
    dump_fails_percent_ = 0;
    faults_ = false;
    for (int i = 0; i < 2 && !failed(); ++i) {
      UseOne();
      Pass(kLeftAlone);
      for (HostId host = 0; host < members_ && !failed(); ++host) {
        const HostState state = (*table_)[host].state;
        // Who was lost while the others ran is back with the next wake.
        const bool lost = state == HostState::kImaginary && i == 0 && faulty_;
        if (state == HostState::kCheckpointed || lost) continue;
        Fail(absl::StrCat("left alone, m", host, " is ", std::string(HostStateName(state))));
      }
    }
  }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  uint64_t times_on_disk = 0, called_off = 0, restores = 0;
  void StartInstance(HostId host, uint64_t incarnation, const Cause&) override {
    if (agents_[host] != nullptr) Fail("two instances of a host");
    const bool restore = (*table_)[host].state == HostState::kRestoring;
    agents_[host] = std::make_unique<Agent>(*this, host, incarnation);
    agents_[host]->restoring = restore;
    if (restore && faults_ && Chance(5))  // before the checkpoint was touched
      return After(Delay(), [=, this] { End(host, incarnation, Activator::End::Kind::kFailed); });
    After(Delay() + Millis(300), [=, this] {
      Agent* agent = Find(host, incarnation);
      if (agent == nullptr) return;
      agent->restoring = false;
      if (restore) {
        if (!disk_[host].has_value()) Fail("restored without a checkpoint");
        ++restores;
        agent->kept = *std::exchange(disk_[host], std::nullopt);
        if (faults_ && Chance(5)) return End(host, incarnation, Activator::End::Kind::kFailed);
        agent->paused = true;
        agent->disk = Disk::kHeld;
      }
      agent->up = true;
      for (const uint32_t number : std::exchange(agent->kept, {})) agent->OnPacket(number);
      agent->OnUse();
      agent->Report();
    });
  }
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal, const Cause&) override {
    Agent* agent = Find(host, incarnation);
    if (agent == nullptr) return;
    agent->desired.goal = goal;
    called_off += goal == Goal::kStay;
    if (goal == Goal::kRun) ++agent->desired.wakes;
    if (goal == Goal::kKill)
      return After(Delay(), [=, this] { End(host, incarnation, Activator::End::Kind::kFailed); });
    SendDesired(*agent);
  }
  void Deliver(HostId host, PacketBatch packets) override {
    for (const Packet& packet : packets) Arrive(host, NumberOf(packet));
  }
  void Refuse(HostId, PacketBatch packets, absl::string_view reason, bool) override {
    for (const Packet& packet : packets) {
      if (!faulty_)
        Fail(absl::StrCat("packet ", NumberOf(packet), " was refused: ", std::string(reason)));
      waiting_.erase(NumberOf(packet));
    }
  }
  void OnTransition(const Transition& t) override {
    const bool used = t.from == HostState::kRestoring && t.to != HostState::kCheckpointed &&
                      t.to != HostState::kReleasing;
    if (used || t.to == HostState::kImaginary) disk_[t.host].reset();
    suspender_->OnTransition(t.host, now_);
  }

 private:
  using Goal = Activator::Goal;
  using Disk = Activator::Report::Disk;
  struct Desired {
    uint64_t version = 0;
    Goal goal = Goal::kRun;
    uint64_t wakes = 0, pauses = 0;
  };

  // One incarnation: agent and program. As agent/agent_group_disk.cc has it.
  struct Agent {
    Agent(GroupDiskSimulation& simulation, HostId id, uint64_t number)
        : sim(simulation), host(id), incarnation(number) {}

    void OnUse() {
      const uint64_t use = ++uses;
      quiet = false;
      sim.After(kQuietAfter, [&s = sim, h = host, i = incarnation, use] {
        Agent* self = s.Find(h, i);
        if (self == nullptr || self->uses != use || self->paused || self->stopping) return;
        self->quiet = true;
        self->Report();
      });
    }
    void Wake() {
      OnUse();
      if (!paused) return Report();
      if (disk != Disk::kNotHeld) {
        wake_waits = true;
      } else {
        Thaw();
      }
    }
    void Thaw() {
      sim.CheckThaw(*this);
      paused = false;
      ++thaws;
      OnUse();
      Report();
    }
    void OnPacket(uint32_t number) {
      kept.push_back(number);
      Wake();
    }
    void OnDesired(const Desired& newest) {
      if (!up || newest.version <= heard.version) return;
      const bool wake = newest.wakes > heard.wakes;
      const bool asked = newest.pauses > heard.pauses;
      heard = newest;
      refused = false;
      why.clear();
      if (stopping) return Report();
      if (wake) {
        Wake();
      } else if (asked && !paused) {
        paused = quiet;
        quiet = false;
        if (!paused) OnUse();
      }
      switch (newest.goal) {
        case Goal::kReleaseIfIdle:
          if (disk != Disk::kNotHeld) break;
          refused = !paused;
          if (paused) disk = Disk::kHeld;
          break;
        case Goal::kDump:
          if (disk == Disk::kHeld) BeginDump();
          refused = disk == Disk::kNotHeld;
          break;
        case Goal::kCommit:
          if (disk == Disk::kDumped) return Commit();
          refused = disk == Disk::kNotHeld;
          break;
        case Goal::kRelease:
          stopping = true;
          sim.After(sim.Delay(), [&s = sim, h = host, i = incarnation] {
            s.End(h, i, Activator::End::Kind::kReleased);
          });
          break;
        default:
          CallOff();
      }
      Report();
    }
    void BeginDump() {
      disk = Disk::kDumping;
      sim.After(sim.Millis(600), [&s = sim, h = host, i = incarnation] {
        Agent* self = s.Find(h, i);
        if (self == nullptr || self->stopping) return;
        const bool fails = s.Chance(s.dump_fails_percent_);
        self->disk = fails ? Disk::kHeld : Disk::kDumped;
        if (fails) self->why = "CRIU says no";
        if (self->heard.goal < Goal::kReleaseIfIdle) self->CallOff();
        self->Report();
      });
    }
    void Commit() {
      if (sim.faults_ && sim.Chance(3)) {
        disk = Disk::kHeld;
        why = "disk full";
        return Report();
      }
      sim.disk_[host] = kept;
      sim.End(host, incarnation, Activator::End::Kind::kCheckpointed);
    }
    void CallOff() {
      if (disk == Disk::kNotHeld || disk == Disk::kDumping) return;
      disk = Disk::kHeld;
      if (heard.goal == Goal::kStay) return;
      disk = Disk::kNotHeld;
      if (std::exchange(wake_waits, false)) Wake();
    }
    void Report() {
      if (!up) return;
      sim.After(sim.Delay(), [&s = sim, h = host, i = incarnation] {
        if (Agent* self = s.Find(h, i)) s.Tell(*self);
      });
    }

    GroupDiskSimulation& sim;
    const HostId host;
    const uint64_t incarnation;
    Desired desired, heard;
    bool up = false, restoring = false, paused = false, quiet = false, stopping = false;
    bool refused = false, wake_waits = false;
    Disk disk = Disk::kNotHeld;
    std::string why;
    uint64_t thaws = 0, uses = 0;
    std::vector<uint32_t> kept;  // packets that it has and the program has not seen
  };

  bool Chance(uint64_t percent) { return random_.Below(100) < percent; }
  Duration Millis(uint64_t below) { return std::chrono::milliseconds(random_.Below(below)); }
  Duration Delay() {
    return Chance(5) ? Millis(300) : Duration(std::chrono::microseconds(random_.Below(10'000)));
  }
  void Fail(const std::string& what) {
    if (failure_.empty())
      failure_ = absl::StrCat(what, " at ", (now_ - start_).count() / 1'000'000, " ms");
  }
  Agent* Find(HostId host, uint64_t incarnation) {
    Agent* const found = agents_[host].get();
    return found != nullptr && found->incarnation == incarnation ? found : nullptr;
  }
  void After(Duration delay, std::function<void()> what) {
    events_.emplace(std::pair(now_ + delay, ++order_), std::move(what));
  }
  // ---- the orchestrator ----
  void NewOrchestrator() {
    HostPolicy policy;
    policy.start_timeout = std::chrono::seconds(6);
    policy.stop_timeout = std::chrono::seconds(3);
    policy.release_after = std::chrono::seconds(1);
    policy.to_disk = true;
    Activator::Limits limits;
    limits.backoff.first = std::chrono::milliseconds(10);
    limits.backoff.max = std::chrono::milliseconds(100);
    const uint64_t first = activator_ == nullptr ? 1 : activator_->next_incarnation();
    activator_.reset();
    suspender_.reset();
    table_ = std::make_unique<HostTable>();
    std::vector<HostId> ids;
    for (HostId i = 0; i < members_; ++i)
      ids.push_back(*table_->Add(
          {.name = absl::StrCat("m", i), .address = TestAddress(i), .policy = policy}, now_));
    table_->AddGroup("g", ids);
    activator_ = std::make_unique<Activator>(*table_, limits, first, *this);
    suspender_.emplace(*table_);
  }
  void RestartOrchestrator() {
    waiting_.clear();  // what was held went with it
    NewOrchestrator();
    for (HostId host = 0; host < members_; ++host) {
      if (agents_[host] != nullptr) {
        activator_->Adopt(host, agents_[host]->incarnation, Cause(), now_);
        agents_[host]->desired.goal = Goal::kRun;
        SendDesired(*agents_[host]);
      } else if (const auto ended = ended_.find(host); ended != ended_.end()) {
        activator_->Adopt(host, ended->second, Cause(), now_);  // its end is about to be told
      }
    }
    const auto on_disk = [this](HostId host) {
      return agents_[host] == nullptr && !ended_.contains(host) && disk_[host].has_value();
    };
    for (HostId host = 0; host < members_; ++host)
      if (on_disk(host)) activator_->AdoptCheckpoint(host, Duration(0), std::nullopt, now_);
    for (HostId host = 0; host < members_; ++host)
      if (on_disk(host) && !disk_[host]->empty())
        (void)activator_->Wake(host, MakeCause(Cause::Kind::kData), now_);
  }
  void SendDesired(Agent& agent) {
    ++agent.desired.version;
    // It does not overtake packets that were sent before it.
    After(std::max(Delay(), last_packet_[agent.host] - now_),
          [this, h = agent.host, i = agent.incarnation] {
            Agent* found = Find(h, i);
            if (found == nullptr) return;
            // Who is not up yet is told again.
            if (!found->up) return SendDesired(*found);
            found->OnDesired(found->desired);
          });
  }
  void Tell(Agent& agent) {
    using State = Activator::Report::State;
    const bool known = agent.heard.version == agent.desired.version;
    activator_->OnInstanceStatus(agent.host, agent.incarnation,
                                 {.state = agent.stopping  ? State::kReleasing
                                           : agent.refused ? State::kReleaseRefused
                                           : agent.paused  ? State::kPaused
                                                           : State::kRunning,
                                  .goal_acknowledged = known,
                                  .cause = MakeCause(Cause::Kind::kPing),
                                  .thaws = agent.thaws,
                                  .not_checkpointed = agent.why,
                                  .disk = agent.disk},
                                 now_);
    suspender_->OnReport(agent.host,
                         {.pause_answered = agent.heard.pauses,
                          .quiet = agent.quiet && !agent.paused},
                         now_);
  }
  void End(HostId host, uint64_t incarnation, Activator::End::Kind kind) {
    Agent* const agent = Find(host, incarnation);
    if (agent == nullptr) return;
    if (faulty_)
      for (const uint32_t number : agent->kept) waiting_.erase(number);
    agents_[host].reset();
    ended_[host] = incarnation;
    After(Delay(), [=, this] {
      ended_.erase(host);
      const bool whole = disk_[host].has_value();
      activator_->OnInstanceEnded(host, incarnation,
                                  {.kind = kind,
                                   .message = "the end",
                                   .checkpoint_kept = whole,
                                   .restore_at_once = whole && !disk_[host]->empty()},
                                  now_);
    });
  }
  void RunActions() {
    for (const GroupSuspender::Action& action : suspender_->TakeActions()) {
      if (action.kind == GroupSuspender::Action::Kind::kWake) {
        (void)activator_->Wake(action.host, MakeCause(Cause::Kind::kGroup), now_);
      } else if (Agent* agent = agents_[action.host].get()) {
        agent->desired.pauses = action.round;
        SendDesired(*agent);
      }
    }
  }

  // ---- callers, users and faults ----
  void Arrive(HostId host, uint32_t number) {
    Instant& last = last_packet_[host];
    last = std::max(last, now_ + std::chrono::microseconds(random_.Below(2'000)));
    After(last - now_, [=, this] {
      Agent* agent = agents_[host].get();
      if (agent == nullptr || !agent->up || agent->stopping) {
        if (!faulty_) Fail(absl::StrCat("packet ", number, " came to nobody"));
        waiting_.erase(number);
        return;
      }
      agent->OnPacket(number);
    });
  }
  void UseOne() {
    const HostId host = static_cast<HostId>(random_.Below(members_));
    const uint32_t number = ++packet_number_;
    waiting_[number] = now_ + kWakeBound;
    used_at_ = now_;
    for (HostId member = 0; member < members_; ++member) to_run_.insert(member);
    TestPacket packet(NumberedUdp(host, number));
    if (activator_->OnPacket(host, packet.packet(), packet.view(), now_) ==
        Activator::Verdict::kForward)
      Arrive(host, number);
  }
  void Step() {
    const HostId host = static_cast<HostId>(random_.Below(members_));
    switch (random_.Below(10)) {
      case 0:
        (void)activator_->Wake(host, MakeCause(Cause::Kind::kUser), now_);
        break;
      case 1:
        if (faulty_) RestartOrchestrator();
        break;
      case 2:
        if (faulty_) (void)activator_->Release(host, "im release", now_);
        break;
      case 3:
        if (faulty_ && agents_[host] != nullptr)
          End(host, agents_[host]->incarnation, Activator::End::Kind::kFailed);
        break;
      default:
        UseOne();
    }
    RunActions();
    Pass(Chance(60) ? Millis(4'000) : Millis(15'000));
  }
  void Pass(Duration by) {
    const Instant end = now_ + by;
    while (!failed()) {
      const Instant own = std::min(activator_->NextDeadline(), suspender_->NextDeadline());
      const Instant next = events_.empty() ? own : std::min(own, events_.begin()->first.first);
      if (next > end) break;
      now_ = std::max(now_, next);
      if (!events_.empty() && events_.begin()->first.first <= now_)
        events_.extract(events_.begin()).mapped()();
      activator_->OnTimer(now_);
      suspender_->OnTimer(now_);
      RunActions();
      Check();
    }
    now_ = std::max(now_, end);
  }

  // ---- what must hold ----
  void CheckThaw(const Agent& agent) {
    if (faulty_) return;
    for (HostId host = 0; host < members_; ++host) {
      const Agent* const other = agents_[host].get();
      const char* const where = disk_[host].has_value()         ? "on disk"
                                : other == nullptr              ? "gone"
                                : other->restoring              ? "being restored"
                                : other->disk == Disk::kDumping ? "being dumped"
                                : other->disk == Disk::kDumped  ? "dumped"
                                                                : nullptr;
      if (host != agent.host && where != nullptr)
        Fail(absl::StrCat("m", agent.host, " is thawed while m", host, " is ", where));
    }
  }
  void Check() {
    size_t running = 0, paused = 0, on_disk = 0;
    for (HostId host = 0; host < members_; ++host) {
      on_disk += disk_[host].has_value();
      Agent* const agent = agents_[host].get();
      if (agent == nullptr || !agent->up || agent->stopping) continue;
      ++(agent->paused ? paused : running);
      if (agent->paused) continue;
      to_run_.erase(host);
      for (const uint32_t number : std::exchange(agent->kept, {})) waiting_.erase(number);
    }
    if (on_disk == members_ && !all_on_disk_) ++times_on_disk;
    all_on_disk_ = on_disk == members_;
    const bool split = running > 0 && paused + on_disk > 0;
    if (!std::exchange(split_, split)) split_since_ = now_;
    if (split && now_ - split_since_ > kSplitBound) Fail("a frozen member beside one that runs");
    for (const auto& [number, bound] : waiting_)
      if (now_ > bound) Fail(absl::StrCat("packet ", number, " is not delivered"));
    if (!to_run_.empty() && now_ - used_at_ > kWakeBound && !faulty_)
      Fail(absl::StrCat("m", *to_run_.begin(), " did not run though a fellow was used"));
  }

  SeededRandom random_;
  const Instant start_{std::chrono::seconds(1'000)};
  Instant now_ = start_;
  std::unique_ptr<HostTable> table_;
  std::unique_ptr<Activator> activator_;
  std::optional<GroupSuspender> suspender_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::vector<std::optional<std::vector<uint32_t>>> disk_;  // checkpoints, and packets in them
  std::map<HostId, uint64_t> ended_;  // and not told yet
  std::map<std::pair<Instant, uint64_t>, std::function<void()>> events_;  // by time, in order
  uint64_t order_ = 0;
  std::map<HostId, Instant> last_packet_;
  HostId members_ = 0;
  bool faulty_ = false;  // faults may happen, or have happened
  bool faults_ = false, all_on_disk_ = false, split_ = false;
  uint64_t dump_fails_percent_ = 0;
  uint32_t packet_number_ = 0;
  std::map<uint32_t, Instant> waiting_;  // packets from outside: their bound
  std::set<HostId> to_run_;
  Instant used_at_ = start_, split_since_ = start_;
  std::string failure_;
};

}  // namespace im::orchestrator

#endif  // IM_TESTS_SIMULATION_GROUP_DISK_SIMULATION_H_
