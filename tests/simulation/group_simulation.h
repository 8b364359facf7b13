// A group that is suspended together, in virtual time: the Activator, the
// GroupSuspender and each member's GroupPauser are real; programs, their
// kernels, the messages' ways and the provider are made up, out of one seed.
//
// Programs beat as a star, a chain, a circle or not at all. A kernel keeps what
// comes for a frozen program. Messages between agents and orchestrator take
// their time, and overtake each other.
//
// Checked:
//  1. Nobody misses a beat: whoever is thawed after a pause that is longer than
//     its timeout finds something from each fellow it exchanges beats with (not
//     in a circle, where nobody can promise it, nor in seeds with faults, nor in
//     the rare pause at once of members that did not agree on who begins).
//  2. A frozen member is not left beside one that runs beyond kSplitBound.
//  3. Wake beats suspend: what is sent to a member from outside is delivered to
//     a running program, and the whole group runs, within kWakeBound.
//  4. A group that is left alone falls asleep, and is released, as a whole.
//  5. The state table (HostTable checks it), and one instance of a host at most.

#ifndef IM_TESTS_SIMULATION_GROUP_SIMULATION_H_
#define IM_TESTS_SIMULATION_GROUP_SIMULATION_H_

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "orchestrator/activator.h"
#include "orchestrator/agent/group_pauser.h"
#include "orchestrator/group_suspender.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {

class GroupSimulation final : public Activator::Delegate {
 public:
  static constexpr Duration kBeat = std::chrono::milliseconds(100);
  // Beyond kAnswerMax: so long may wait who is woken in the moment when it fell
  // asleep, since its fellow's answer came just before that.
  static constexpr Duration kTimeout = agent::GroupPauser::kAnswerMax + std::chrono::seconds(1);
  static constexpr Duration kQuietAfter = std::chrono::milliseconds(700);
  static constexpr Duration kSplitBound = std::chrono::seconds(6);
  static constexpr Duration kWakeBound = std::chrono::seconds(6);
  static constexpr Duration kLeftAlone = std::chrono::seconds(60);

  explicit GroupSimulation(uint64_t seed) : random_(seed) {
    members_ = 2 + random_.Below(4);
    shape_ = static_cast<Shape>(random_.Below(4));
    faulty_ = Chance(30);
    HostPolicy policy;
    policy.start_timeout = std::chrono::seconds(3);
    policy.stop_timeout = std::chrono::seconds(1);
    policy.release_after.reset();
    if (Chance(60)) policy.release_after = std::chrono::milliseconds(random_.Below(6'000));
    std::vector<HostId> ids;
    for (uint32_t i = 0; i < members_; ++i)
      ids.push_back(*table_.Add(
          {.name = absl::StrCat("m", i), .address = TestAddress(i), .policy = policy}, now_));
    table_.AddGroup("g", ids);
    agents_.resize(members_);
    Activator::Limits limits;
    limits.backoff.first = std::chrono::milliseconds(10);
    limits.backoff.max = std::chrono::milliseconds(100);
    activator_ = std::make_unique<Activator>(table_, limits, 1, *this);
    suspender_.emplace(table_);
  }

  void RunAll() {
    const int steps = 10 + static_cast<int>(random_.Below(20));
    for (int i = 0; i < steps && !failed(); ++i) Step();
    if (failed()) return;
    UseOne();
    Pass(kLeftAlone);
    CheckAtRest();
  }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  uint64_t sleeps() const { return sleeps_; }
  // Pauses beyond the timeout, and those of them in which there was an order.
  uint64_t long_pauses() const { return long_pauses_; }
  uint64_t ordered_pauses() const { return ordered_pauses_; }
  // ---- Activator::Delegate ----

  void StartInstance(HostId host, uint64_t incarnation, const Cause&) override {
    if (agents_[host] != nullptr) Fail("two instances of a host");
    agents_[host] = std::make_unique<Agent>(*this, host, incarnation);
    After(Delay(), [=, this] {
      if (Agent* agent = Find(host, incarnation)) {
        agent->up = true;
        agent->Beat();
        agent->OnUse();
        agent->Report();
      }
    });
  }
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal, const Cause&) override {
    Agent* agent = Find(host, incarnation);
    if (agent == nullptr) return;
    agent->desired.goal = goal;
    if (goal == Activator::Goal::kRun) ++agent->desired.wakes;
    if (goal == Activator::Goal::kKill) {
      After(Delay(), [=, this] { End(host, incarnation, Activator::End::Kind::kFailed); });
      return;
    }
    SendDesired(*agent);
  }
  void Deliver(HostId host, PacketBatch packets) override {
    for (const Packet& packet : packets) Arrive(host, NumberOf(packet));
  }
  void Refuse(HostId, PacketBatch packets, absl::string_view, bool) override {
    for (const Packet& packet : packets) {
      if (!faulty_) Fail(absl::StrCat("packet ", NumberOf(packet), " was refused"));
      waiting_.erase(NumberOf(packet));
    }
  }
  void OnTransition(const Transition& t) override { suspender_->OnTransition(t.host, now_); }

 private:
  enum class Shape { kStar, kChain, kCircle, kSilent };
  struct Desired {
    uint64_t version = 0;
    Activator::Goal goal = Activator::Goal::kRun;
    uint64_t wakes = 0, pauses = 0;
    bool forced = false, at_once = false;
  };

  // One incarnation: agent, kernel and program.
  struct Agent final : agent::GroupPauser::Delegate {
    Agent(GroupSimulation& simulation, HostId id, uint64_t number)
        : sim(simulation), host(id), incarnation(number) {
      proto::Group group;
      group.set_heartbeat_bytes_per_s(100'000);
      for (HostId fellow = 0; fellow < sim.members_; ++fellow) {
        const IpAddress address = TestAddress(fellow);
        if (fellow != host)
          group.add_fellows(std::string(address.bytes().begin(), address.bytes().end()));
      }
      pauser.emplace(group, sim.now_, *this);
    }

    // GroupPauser::Delegate:
    bool BusyNow() override { return sim.Chance(3); }
    bool Freeze() override {
      if (stopping || !up) return false;
      paused = true;
      refused = false;
      paused_at = sim.now_;
      pauser->OnPausedOrThawed(true, sim.now_);
      Report();
      return true;
    }
    void ThawNow(const proto::WakeCause&) override {
      const bool long_pause = paused && sim.now_ - paused_at > kTimeout;
      const bool ordered = long_pause && !heard.at_once;
      sim.long_pauses_ += sim.Strict() && long_pause;
      sim.ordered_pauses_ += sim.Strict() && ordered;
      if (sim.Strict() && ordered)
        for (const HostId fellow : exchanged)
          if (kernel[fellow] == 0 && sim.Find(fellow, known[fellow]) != nullptr)
            sim.Fail(absl::StrCat("m", host, " missed the beat of m", fellow));
      paused = false;
      ++thaws;
      pauser->OnPausedOrThawed(false, sim.now_);
      Report();
      // The program finds what came, and its timers have passed.
      sim.After(std::chrono::microseconds(sim.random_.Below(2'000)),
                [&s = sim, h = host, i = incarnation] {
                  Agent* self = s.Find(h, i);
                  if (self == nullptr || self->paused) return;
                  self->ReadAll();
                  self->SendBeats();
                });
      OnUse();
    }
    void OnGroupUse() override { OnUse(); }
    void OnGroupChange() override { Report(); }
    // The idle detector.
    void OnUse() {
      const uint64_t use = ++uses;
      sim.After(kQuietAfter, [&s = sim, h = host, i = incarnation, use] {
        Agent* self = s.Find(h, i);
        if (self != nullptr && self->uses == use && !self->paused && !self->stopping)
          self->pauser->OnQuiet();
      });
    }
    void Wake() {
      OnUse();
      pauser->Wake({}, sim.now_);
    }
    // ---- the program ----
    void Beat() {
      if (stopping) return;
      if (!paused) SendBeats();
      sim.After(kBeat, [&s = sim, h = host, i = incarnation] {
        if (Agent* self = s.Find(h, i)) self->Beat();
      });
    }
    void SendBeats() {
      for (const HostId fellow : sim.LedBy(host)) Send(fellow, /*beat=*/true);
    }
    void Send(HostId fellow, bool beat) {
      (void)pauser->OnFellow(TestAddress(fellow), /*inbound=*/false, 60, sim.now_);
      sim.Carry(*this, fellow, beat);
    }
    void OnPacket(HostId from, uint64_t sender, bool beat) {
      if (!up) return;
      (void)pauser->OnFellow(TestAddress(from), /*inbound=*/true, 60, sim.now_);
      if (known[from] != sender) kernel[from] = beats_of[from] = 0;
      known[from] = sender;
      exchanged.insert(from);
      ++kernel[from];
      beats_of[from] += beat;
      if (!paused) ReadAll();
    }
    void ReadAll() {
      for (auto& [from, packets] : kernel) packets = 0;
      for (auto& [from, beats] : beats_of)
        for (; beats > 0; --beats) Send(from, /*beat=*/false);
    }
    // ---- what the orchestrator says, and hears ----
    void OnDesired(const Desired& newest) {
      if (!up || newest.version <= heard.version) return;
      const bool wake = newest.wakes > heard.wakes;
      heard = newest;
      const bool asked = pauser->IsNewRequest(newest.pauses);
      if (stopping) return Report();
      if (wake) {
        Wake();
      } else if (asked) {
        pauser->OnAsked(newest.forced, newest.at_once, sim.now_);
      }
      refused = false;
      if (newest.goal == Activator::Goal::kRelease ||
          (newest.goal == Activator::Goal::kReleaseIfIdle && paused && !pauser->waking())) {
        stopping = true;
        paused = false;
        pauser->OnPausedOrThawed(false, sim.now_);
        SendBeats();  // the last of it
        sim.After(sim.Delay(), [&s = sim, h = host, i = incarnation] {
          s.End(h, i, Activator::End::Kind::kReleased);
        });
      } else {
        refused = newest.goal == Activator::Goal::kReleaseIfIdle;
      }
      Report();
    }
    // Whatever is newest when the message comes to be sent.
    void Report() {
      if (!up) return;
      sim.After(sim.Delay(), [&s = sim, h = host, i = incarnation] {
        if (Agent* self = s.Find(h, i)) s.Tell(*self);
      });
    }

    GroupSimulation& sim;
    const HostId host;
    const uint64_t incarnation;
    std::optional<agent::GroupPauser> pauser;
    Desired desired, heard;
    bool up = false, paused = false, stopping = false, refused = false;
    Instant paused_at;
    uint64_t thaws = 0, uses = 0;
    std::map<HostId, int> kernel, beats_of;  // unread: packets, and beats among them
    std::map<HostId, uint64_t> known;        // the fellow's incarnation
    std::set<HostId> exchanged;
  };

  bool Chance(uint64_t percent) { return random_.Below(100) < percent; }
  // Far below kAnswerMax: what is lost is repeated that fast.
  Duration Delay() {
    if (Chance(5)) return std::chrono::milliseconds(random_.Below(300));
    return std::chrono::microseconds(random_.Below(10'000));
  }
  bool Strict() const { return !faulty_ && shape_ != Shape::kCircle; }
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = absl::StrCat(what, " at ", (now_ - start_).count() / 1'000'000, " ms");
  }
  Agent* Find(HostId host, uint64_t incarnation) {
    Agent* const found = agents_[host].get();
    return found != nullptr && found->incarnation == incarnation ? found : nullptr;
  }
  std::vector<HostId> LedBy(HostId host) const {
    std::vector<HostId> led;
    for (HostId other = 0; other < members_; ++other) {
      const bool next = other == host + 1 || (shape_ == Shape::kCircle && other == (host + 1) % members_);
      if (other == host || shape_ == Shape::kSilent) continue;
      if (shape_ == Shape::kStar ? host == 0 : next) led.push_back(other);
    }
    return led;
  }
  // ---- ways ----
  void After(Duration delay, std::function<void()> what) {
    events_.emplace(std::pair(now_ + delay, ++order_), std::move(what));
  }
  void Carry(const Agent& from, HostId to, bool beat) {
    Instant& last = last_arrival_[{from.host, to}];
    last = std::max(last, now_ + std::chrono::microseconds(100 + random_.Below(3'000)));
    After(last - now_, [this, f = from.host, i = from.incarnation, to, beat] {
      if (agents_[to] != nullptr && Find(f, i) != nullptr) agents_[to]->OnPacket(f, i, beat);
    });
  }
  void SendDesired(Agent& agent) {
    ++agent.desired.version;
    // It does not overtake packets that were sent before it.
    After(std::max(Delay(), last_packet_[agent.host] - now_), [this, h = agent.host, i = agent.incarnation] {
      if (Agent* found = Find(h, i)) found->OnDesired(found->desired);
    });
  }
  void Tell(Agent& agent) {
    using State = Activator::Report::State;
    const State state = agent.stopping  ? State::kReleasing
                        : agent.refused ? State::kReleaseRefused
                        : agent.paused  ? State::kPaused
                                        : State::kRunning;
    proto::InstanceStatus status;
    agent.pauser->Describe(now_, status);
    const bool known = agent.heard.version == agent.desired.version;
    const HostId host = agent.host;
    activator_->OnInstanceStatus(host, agent.incarnation,
                                 {.state = state,
                                  .goal_acknowledged = known,
                                  .cause = MakeCause(Cause::Kind::kPing),
                                  .thaws = agent.thaws},
                                 now_);
    GroupSuspender::Report report;
    report.pause_answered = status.group().pause_answered();
    report.quiet = status.group().quiet();
    report.falling = status.group().falling();
    report.beats_awaited = status.group().beats_awaited();
    report.waking = status.group().waking();
    report.beat_late = status.group().beat_late();
    for (const std::string& bytes : status.group().leads())
      report.leads.push_back(*table_.FindByAddress(IpAddress::FromBytes(
          {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()})));
    suspender_->OnReport(host, std::move(report), now_);
  }
  void End(HostId host, uint64_t incarnation, Activator::End::Kind kind) {
    if (Find(host, incarnation) == nullptr) return;
    agents_[host].reset();
    After(Delay(), [=, this] {
      activator_->OnInstanceEnded(host, incarnation, {kind, "the end"}, now_);
    });
  }
  void RunActions() {
    for (const GroupSuspender::Action& action : suspender_->TakeActions()) {
      if (action.kind == GroupSuspender::Action::Kind::kWake) {
        (void)activator_->Wake(action.host, MakeCause(Cause::Kind::kGroup), now_);
      } else if (Agent* agent = agents_[action.host].get()) {
        agent->desired.pauses = action.round;
        agent->desired.forced = action.forced;
        agent->desired.at_once = action.at_once;
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
      agent->Wake();
      arrived_.push_back({host, agent->incarnation, number});
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
        if (faulty_) (void)suspender_->Suspend(host, now_);
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
    Pass(Chance(50) ? Duration(std::chrono::milliseconds(random_.Below(1'500)))
                    : Duration(std::chrono::milliseconds(random_.Below(12'000))));
  }

  void Pass(Duration by) {
    const Instant end = now_ + by;
    while (!failed()) {
      const Instant own = std::min(activator_->NextDeadline(), suspender_->NextDeadline());
      Instant next = events_.empty() ? own : std::min(own, events_.begin()->first.first);
      for (const auto& agent : agents_)
        if (agent != nullptr) next = std::min(next, agent->pauser->NextDeadline());
      if (next > end) break;
      now_ = std::max(now_, next);
      if (!events_.empty() && events_.begin()->first.first <= now_)
        events_.extract(events_.begin()).mapped()();
      activator_->OnTimer(now_);
      suspender_->OnTimer(now_);
      for (const auto& agent : agents_)
        if (agent != nullptr) agent->pauser->OnTimer(now_);
      RunActions();
      Check();
    }
    now_ = std::max(now_, end);
  }
  // ---- what must hold ----
  void Check() {
    size_t running = 0, paused = 0;
    for (const auto& agent : agents_) {
      if (agent == nullptr || !agent->up || agent->stopping) continue;
      ++(agent->paused ? paused : running);
      if (!agent->paused) to_run_.erase(agent->host);
    }
    if (running > 0 && paused > 0) {
      if (now_ - split_since_ > kSplitBound) Fail("a frozen member beside one that runs");
    } else {
      if (paused == members_ && !all_paused_) ++sleeps_;
      split_since_ = now_;
    }
    all_paused_ = paused == members_;
    // Delivered when the program runs.
    std::erase_if(arrived_, [this](const auto& it) {
      const auto [host, incarnation, number] = it;
      const Agent* agent = Find(host, incarnation);
      if (agent != nullptr && agent->paused) return false;
      if (agent == nullptr && !faulty_) Fail(absl::StrCat("packet ", number, " was lost"));
      waiting_.erase(number);
      return true;
    });
    for (const auto& [number, bound] : waiting_)
      if (now_ > bound) Fail(absl::StrCat("packet ", number, " is not delivered"));
    if (!to_run_.empty() && now_ - used_at_ > kWakeBound && !faulty_)
      Fail(absl::StrCat("m", *to_run_.begin(), " did not run though a fellow was used"));
  }
  void CheckAtRest() {
    if (failed()) return;
    const bool release = table_.policy(0).release_after.has_value();
    for (HostId host = 0; host < members_; ++host) {
      const HostState state = table_[host].state;
      const bool good = release ? state == HostState::kImaginary
                                : state == HostState::kPaused ||
                                      (faulty_ && state == HostState::kImaginary);
      if (!good) Fail(absl::StrCat("left alone, m", host, " is ", std::string(HostStateName(state))));
    }
  }

  SeededRandom random_;
  const Instant start_{std::chrono::seconds(1'000)};
  Instant now_ = start_;
  HostTable table_;
  std::unique_ptr<Activator> activator_;
  std::optional<GroupSuspender> suspender_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::map<std::pair<Instant, uint64_t>, std::function<void()>> events_;  // by time, in order
  uint64_t order_ = 0;
  std::map<std::pair<HostId, HostId>, Instant> last_arrival_;
  std::map<HostId, Instant> last_packet_;
  size_t members_ = 0;
  Shape shape_ = Shape::kStar;
  bool faulty_ = false, all_paused_ = false;
  uint32_t packet_number_ = 0;
  std::map<uint32_t, Instant> waiting_;  // packets from outside: their bound
  std::vector<std::tuple<HostId, uint64_t, uint32_t>> arrived_;
  std::set<HostId> to_run_;
  Instant used_at_ = start_, split_since_ = start_;
  uint64_t sleeps_ = 0, long_pauses_ = 0, ordered_pauses_ = 0;
  std::string failure_;
};

}  // namespace im::orchestrator

#endif  // IM_TESTS_SIMULATION_GROUP_SIMULATION_H_
