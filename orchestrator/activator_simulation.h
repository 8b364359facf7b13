// The Activator in a simulated cluster: hosts, callers, and a provider that is
// slow, fails, answers twice, late or never, all out of one seed.
//
// Checked all the time:
//  1. Every packet is answered once: forwarded, delivered, refused, dropped for
//     a limit or as useless, or it was a copy of a held SYN.
//  2. No packet is held beyond its host's start_timeout.
//  3. Two instances of a host never live at once.
//  4. Every wake without a packet ends in Running or a refusal within twice
//     start_timeout.
//  5. A packet is never lost to an idle release: no packet comes to an instance
//     that was released as idle, and a release that can be cancelled is.
//  6. States change only along the table (HostTable checks), starts in flight
//     stay below the cap, and a wake waits only for a reason: the cap is
//     reached, or a back-off runs.
//  7. When all is over, nothing is left: no packet, no record, no deadline.

#ifndef IM_ORCHESTRATOR_ACTIVATOR_SIMULATION_H_
#define IM_ORCHESTRATOR_ACTIVATOR_SIMULATION_H_

#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "orchestrator/activator.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {

class ActivatorSimulation final : public Activator::Delegate {
 public:
  using Goal = Activator::Goal;
  using State = Activator::Report::State;
  using EndKind = Activator::End::Kind;

  explicit ActivatorSimulation(uint64_t seed) : random_(seed) {
    Activator::Limits limits;
    limits.starting_max = 1 + random_.Below(4);
    limits.backoff.first = std::chrono::milliseconds(1 + random_.Below(400));
    limits.backoff.max = std::chrono::seconds(1 + random_.Below(10));
    limits.backoff.forget_after = std::chrono::seconds(30);
    limits.kill_retry_first = std::chrono::milliseconds(50);
    limits.held.packets_per_host = 2 + random_.Below(20);
    limits.held.packets = 5 + random_.Below(60);
    starting_max_ = limits.starting_max;
    activator_ = std::make_unique<Activator>(table_, limits, 1, *this);
    const size_t hosts = 1 + random_.Below(6);
    for (size_t i = 0; i < hosts; ++i) {
      HostPolicy policy;
      policy.start_timeout = std::chrono::milliseconds(200 + random_.Below(3'000));
      policy.stop_timeout = std::chrono::milliseconds(100 + random_.Below(500));
      if (!Chance(20)) policy.release_after = std::chrono::milliseconds(random_.Below(2'000));
      policy.restart = static_cast<HostPolicy::Restart>(Chance(80) ? 0 : random_.Below(3));
      policy.always_running = Chance(5);
      const absl::StatusOr<HostId> id =
          table_.Add({.name = absl::StrCat("h", i),
                      .address = TestAddress(static_cast<uint32_t>(i)),
                      .policy = policy},
                     now_);
      hosts_.push_back({.id = *id});
    }
    for (size_t i = 1; i < hosts; ++i)
      if (Chance(20))
        table_.AddFollower(static_cast<HostId>(random_.Below(i)), static_cast<HostId>(i),
                           Chance(50) ? Cause::Kind::kWakeWith : Cause::Kind::kDependsOn);
    // Some clusters are well, some are sick.
    failure_percent_ = Chance(50) ? random_.Below(5) : random_.Below(60);
    hang_percent_ = Chance(50) ? 0 : random_.Below(20);
  }

  void RunAll() {
    activator_->Begin(now_);
    Check();
    const int steps = 60 + static_cast<int>(random_.Below(120));
    for (int i = 0; i < steps && !failed(); ++i) Step();
    Calm();
  }

  const std::string& failure() const { return failure_; }
  bool failed() const { return !failure_.empty(); }
  uint64_t delivered() const { return delivered_; }
  uint64_t refused() const { return refused_; }
  uint64_t cancelled() const { return cancelled_; }

  // ---- Delegate -------------------------------------------------------------

  void StartInstance(HostId host, uint64_t incarnation, const Cause&) override {
    Sim& sim = hosts_[host];
    if (sim.alive != 0) Fail(absl::StrCat("two instances of h", host, " at once"));
    if (incarnation <= last_incarnation_) Fail("an incarnation was used twice");
    last_incarnation_ = incarnation;
    sim.alive = incarnation;
    sim.up = sim.paused = sim.stopping = sim.ended = false;
    sim.goal = sim.known_goal = Goal::kRun;
    sim.goal_version = sim.known_version = 0;
    sim.kills = 0;
    sim.thaws = 0;
    sim.killable = !Chance(hang_percent_);
    if (Chance(failure_percent_)) {
      if (Chance(30)) {
        End(host, incarnation, EndKind::kFailed);  // from within
      } else {
        After(Delay(), [=, this] { End(host, incarnation, EndKind::kFailed); });
      }
    } else if (!Chance(hang_percent_)) {
      After(Delay(), [=, this] { ComeUp(host, incarnation); });
    }
  }

  void SetGoal(HostId host, uint64_t incarnation, Goal goal, const Cause&) override {
    Sim& sim = hosts_[host];
    if (sim.alive != incarnation) return;  // the agent is gone, its end is on the way
    sim.goal = goal;
    ++sim.goal_version;
    if (goal == Goal::kKill) {
      ++sim.kills;
      if (sim.killable || sim.kills > 3)
        After(Delay(), [=, this] { End(host, incarnation, EndKind::kFailed); });
      return;
    }
    const uint64_t version = sim.goal_version;
    // On the packets' own path: it does not overtake those sent before it.
    const Duration behind = std::max(Duration(0), sim.last_arrival - now_);
    After(std::max(behind, Delay()), [=, this] { LearnGoal(host, incarnation, goal, version); });
    // Repeated until it is acknowledged; here, once.
    After(std::chrono::milliseconds(30),
          [=, this] { LearnGoal(host, incarnation, goal, version); });
  }

  void Deliver(HostId host, PacketBatch packets) override {
    Arrive(host, hosts_[host].alive);
    for (const Packet& packet : packets) Answered(host, packet, "delivered");
    delivered_ += packets.size();
  }

  void Refuse(HostId host, PacketBatch packets, absl::string_view reason, bool over) override {
    if (reason.empty()) Fail("a refusal without a reason");
    for (const Packet& packet : packets) Answered(host, packet, "refused");
    refused_ += packets.size();
    if (over) hosts_[host].waiters.clear();
  }

  void OnTransition(const Transition& t) override {
    Sim& sim = hosts_[t.host];
    if (sim.state != t.from) Fail("a transition from another state than the last one's");
    sim.state = t.to;
    if (t.to == HostState::kRunning) sim.waiters.clear();
    if (t.from == HostState::kReleasing && t.to == HostState::kRunning) ++cancelled_;
  }

 private:
  struct Sim {
    HostId id;
    HostState state = HostState::kImaginary;
    // The one instance that may live, as the provider sees it.
    uint64_t alive = 0;
    bool up = false, paused = false, stopping = false, ended = false, killable = true;
    int kills = 0;
    Goal goal = Goal::kRun;        // the newest that was set
    Goal known_goal = Goal::kRun;  // the newest that the agent heard of
    uint64_t goal_version = 0, known_version = 0;
    Instant last_arrival;
    uint64_t released_if_idle = 0;  // the instance that followed kReleaseIfIdle
    uint64_t thaws = 0;
    std::map<uint32_t, Instant> held;  // by the packet's number: its bound
    std::multiset<Instant> waiters;    // bounds of wakes without a packet
  };
  struct Event {
    Instant at;
    uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };

  bool Chance(uint64_t percent) { return random_.Below(100) < percent; }
  // Mostly short, sometimes beyond every timeout.
  Duration Delay() {
    if (Chance(5)) return std::chrono::milliseconds(random_.Below(5'000));
    return std::chrono::microseconds(random_.Below(20'000));
  }
  void After(Duration delay, std::function<void()> what) {
    events_.push({now_ + delay, ++order_, std::move(what)});
  }
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }

  // ---- the provider and the agents ------------------------------------------

  void ComeUp(HostId host, uint64_t incarnation) {
    Sim& sim = hosts_[host];
    if (sim.alive != incarnation) return;
    sim.up = true;
    Report(host, incarnation);
    if (Chance(failure_percent_ / 2)) After(Delay(), [=, this] { EndItself(host, incarnation); });
  }

  // Often it has time to say so.
  void EndItself(HostId host, uint64_t incarnation) {
    Sim& sim = hosts_[host];
    if (sim.alive != incarnation) return;
    const EndKind kind = Chance(50) ? EndKind::kFailed : EndKind::kExited;
    if (Chance(30)) return End(host, incarnation, kind);
    sim.stopping = sim.ended = true;
    Report(host, incarnation);
    After(Delay(), [=, this] { End(host, incarnation, kind); });
  }

  void End(HostId host, uint64_t incarnation, EndKind kind) {
    Sim& sim = hosts_[host];
    if (sim.alive != incarnation) return;
    sim.alive = 0;
    const auto tell = [=, this] {
      activator_->OnInstanceEnded(host, incarnation, {kind, "the end"}, now_);
    };
    tell();
    if (Chance(20)) After(Delay(), tell);  // once more, late
  }

  // The agent's newest status, some time later, perhaps twice.
  void Report(HostId host, uint64_t incarnation) {
    const auto tell = [=, this] {
      const Sim& sim = hosts_[host];
      if (sim.alive != incarnation) {
        activator_->OnInstanceStatus(host, incarnation, {}, now_);  // late, stale
        return;
      }
      if (!sim.up) return;
      State state = sim.stopping ? State::kReleasing
                    : sim.paused ? State::kPaused
                                 : State::kRunning;
      if (!sim.stopping && sim.known_goal == Goal::kReleaseIfIdle) state = State::kReleaseRefused;
      activator_->OnInstanceStatus(host, incarnation,
                                   {.state = state,
                                    .program_ended = sim.ended,
                                    .goal_acknowledged = sim.known_version == sim.goal_version,
                                    .cause = MakeCause(Cause::Kind::kPing),
                                    .thaw = std::chrono::microseconds(300),
                                    .thaws = sim.thaws},
                                   now_);
    };
    After(Chance(70) ? Duration(0) : Delay(), tell);
    if (Chance(30)) After(Delay(), tell);
  }

  void LearnGoal(HostId host, uint64_t incarnation, Goal goal, uint64_t version) {
    Sim& sim = hosts_[host];
    if (sim.alive != incarnation || !sim.up || version < sim.known_version ||
        Chance(hang_percent_ / 4))
      return;
    const bool news = version > sim.known_version;
    sim.known_goal = goal;
    sim.known_version = version;
    const bool if_idle = goal == Goal::kReleaseIfIdle;
    if (sim.stopping || !news) {
      // Nothing to decide.
    } else if (goal == Goal::kRelease || (if_idle && sim.paused && !Chance(20))) {
      sim.stopping = true;
      if (if_idle) sim.released_if_idle = incarnation;
      After(Delay(), [=, this] { End(host, incarnation, EndKind::kReleased); });
    } else if (sim.paused) {
      sim.paused = false;
      ++sim.thaws;
    }
    Report(host, incarnation);
  }

  // A packet is on its way to the instance, which the agent takes as use.
  void Arrive(HostId host, uint64_t incarnation) {
    const Duration way = std::chrono::microseconds(random_.Below(3'000));
    hosts_[host].last_arrival = std::max(hosts_[host].last_arrival, now_ + way);
    After(way, [=, this] {
      // What a user or a failure ends is another matter.
      if (incarnation != 0 && hosts_[host].released_if_idle == incarnation)
        Fail("a packet came to an instance that was released as idle");
      if (hosts_[host].alive == incarnation) Use(host);
    });
  }

  // ---- callers and users ----------------------------------------------------

  void SendPacket(HostId host) {
    const uint32_t number = ++packet_number_;
    std::vector<uint8_t> bytes;
    bool repeatable = false;
    switch (random_.Below(10)) {
      case 0:
        bytes = Tcp(200, 1, host, 6379, kTcpRst, number);
        break;
      case 1:
        bytes = Tcp(200, static_cast<uint16_t>(number), host, 6379, kTcpAck, number);
        break;
      case 2:
        bytes = Tcp(200, static_cast<uint16_t>(number), host, 6379, kTcpAck, number, 20);
        break;
      case 3:
      case 4:
        bytes = NumberedUdp(host, number);
        break;
      default:
        bytes = Tcp(200, static_cast<uint16_t>(number), host, 6379, kTcpSyn, number);
        repeatable = true;
    }
    Offer(host, bytes, number, false);
    if (repeatable && Chance(50))
      After(std::chrono::milliseconds(random_.Below(1'000)),
            [=, this] { Offer(host, bytes, number, true); });
  }

  void Offer(HostId host, const std::vector<uint8_t>& bytes, uint32_t number, bool again) {
    TestPacket packet(bytes);
    Sim& sim = hosts_[host];
    const HostState before = table_[host].state;
    const bool was_held = sim.held.contains(number);
    const bool up = before == HostState::kRunning || before == HostState::kPaused;
    // Whatever is delivered from within this call must find it here.
    if (!was_held && !up) sim.held[number] = now_ + table_.policy(host).start_timeout;
    const uint64_t duplicates = activator_->counters().duplicates;
    const Activator::Verdict verdict =
        activator_->OnPacket(host, packet.packet(), packet.view(), now_);
    switch (verdict) {
      case Activator::Verdict::kForward:
        if (!up) Fail("forwarded to a host that is not up");
        Arrive(host, sim.alive);
        break;
      case Activator::Verdict::kHeld:
        if (up) Fail("held for a host that is up");
        if (was_held && activator_->counters().duplicates != duplicates + 1)
          Fail("a SYN was held twice");
        if (again && !was_held && activator_->counters().duplicates != duplicates)
          Fail("a SYN that is not held was called a duplicate");
        break;
      case Activator::Verdict::kDropped:
        if (!was_held) sim.held.erase(number);
        break;
      case Activator::Verdict::kRefused:
        if (!was_held && sim.held.contains(number)) Fail("refused without a refusal");
        break;
    }
    if (before == HostState::kReleasing && verdict == Activator::Verdict::kHeld &&
        sim.goal == Goal::kReleaseIfIdle && packet.view().is_syn() && sim.alive != 0)
      Fail("a release was not cancelled");
  }

  void Answered(HostId host, const Packet& packet, absl::string_view how) {
    Sim& sim = hosts_[host];
    const auto it = sim.held.find(NumberOf(packet));
    if (it == sim.held.end()) {
      Fail(absl::StrCat("packet ", NumberOf(packet), " was ", std::string(how), " twice"));
      return;
    }
    if (it->second < now_) Fail("a packet was held too long");
    sim.held.erase(it);
  }

  // A packet that the agent sees.
  void Use(HostId host) {
    Sim& sim = hosts_[host];
    if (sim.alive == 0 || !sim.up || !sim.paused || sim.stopping) return;
    sim.paused = false;
    ++sim.thaws;
    Report(host, sim.alive);
  }

  void Step() {
    const HostId host = static_cast<HostId>(random_.Below(hosts_.size()));
    Sim& sim = hosts_[host];
    switch (random_.Below(12)) {
      case 0: {
        const Cause cause = MakeCause(Chance(50) ? Cause::Kind::kUser : Cause::Kind::kExec);
        const Instant bound = now_ + 2 * table_.policy(host).start_timeout;
        sim.waiters.insert(bound);
        // Up at once, or refused at once: nobody waits.
        const HostState before = table_[host].state;
        const bool ok = activator_->Wake(host, cause, now_).ok();
        if (!ok || before == HostState::kRunning || before == HostState::kPaused) {
          // OnTransition or Refuse may have cleared it already.
          const auto it = sim.waiters.find(bound);
          if (it != sim.waiters.end()) sim.waiters.erase(it);
        }
        break;
      }
      case 1:
        if (Chance(20)) (void)activator_->Release(host, "im release", now_);
        break;
      case 2:
      case 3:
        if (sim.alive != 0 && sim.up && !sim.paused && !sim.stopping) {
          sim.paused = true;
          Report(host, sim.alive);
        }
        break;
      case 4:
        if (sim.alive != 0 && Chance(failure_percent_))
          End(host, sim.alive, EndKind::kFailed);
        break;
      default:
        SendPacket(host);
    }
    Check();
    Pass(Chance(70) ? Duration(std::chrono::microseconds(random_.Below(50'000)))
                    : Duration(std::chrono::milliseconds(random_.Below(1'500))));
  }

  // Time goes on; everything due happens in its order.
  void Pass(Duration by) {
    const Instant end = now_ + by;
    while (!failed()) {
      const Instant own = activator_->NextDeadline();
      const Instant next = events_.empty() ? own : std::min(own, events_.top().at);
      if (next > end) break;
      now_ = std::max(now_, next);
      if (!events_.empty() && events_.top().at <= now_ && (own > now_ || Chance(50))) {
        const std::function<void()> what = events_.top().what;
        events_.pop();
        what();
      } else {
        activator_->OnTimer(now_);
      }
      Check();
    }
    now_ = std::max(now_, end);
  }

  void Check() {
    if (activator_->starting() > starting_max_) Fail("more starts than the cap");
    if (activator_->starting() != table_.count(HostState::kStarting)) Fail("a start slot is lost");
    size_t held = 0;
    for (const Sim& sim : hosts_) {
      held += sim.held.size();
      if (sim.state != table_[sim.id].state) Fail("a transition was not told");
      for (const auto& [number, bound] : sim.held)
        if (bound < now_) Fail(absl::StrCat("packet ", number, " of h", sim.id, " is forgotten"));
      if (!sim.waiters.empty() && *sim.waiters.begin() < now_)
        Fail(absl::StrCat("a wake of h", sim.id, " was never answered; state ",
                          std::string(HostStateName(sim.state))));
      const bool up = sim.state == HostState::kRunning || sim.state == HostState::kPaused;
      const Activator::Outlook outlook = activator_->outlook(sim.id, now_);
      if (sim.state == HostState::kImaginary && outlook.wake_waits && !outlook.retry_at &&
          activator_->starting() < starting_max_ && activator_->NextDeadline() > now_)
        Fail(absl::StrCat("h", sim.id, " is not started, and nothing hinders it"));
      if (up && activator_->held().Has(sim.id)) Fail("packets are held for a host that is up");
    }
    if (held != activator_->held().packets())
      Fail(absl::StrCat("held: ", held, " by our count, ", activator_->held().packets()));
    if (activator_->active() > hosts_.size()) Fail("more records than hosts");
  }

  // The cluster goes down: everything must come to rest.
  void Calm() {
    if (failed()) return;
    activator_->Shutdown("im down", Chance(50), now_);
    Check();
    Pass(std::chrono::seconds(120));
    if (failed()) return;
    if (!activator_->all_ended()) Fail("instances live on after the shutdown");
    for (const Sim& sim : hosts_) {
      if (sim.alive != 0) Fail("the provider has an instance that nobody knows of");
      if (!sim.waiters.empty()) Fail("somebody waits for ever");
    }
    if (activator_->held().packets() != 0 || activator_->held().bytes() != 0)
      Fail("packets are held for ever");
    Pass(std::chrono::hours(1));  // failures are forgotten
    if (activator_->active() != 0) Fail("a record is left");
    if (activator_->NextDeadline() != kNever) Fail("a deadline is left");
  }

  SeededRandom random_;
  Instant now_{std::chrono::seconds(1'000)};
  HostTable table_;
  std::unique_ptr<Activator> activator_;
  std::vector<Sim> hosts_;
  std::priority_queue<Event> events_;
  uint64_t order_ = 0;
  uint64_t last_incarnation_ = 0;
  uint32_t packet_number_ = 0;
  size_t starting_max_ = 0;
  uint64_t failure_percent_ = 0;
  uint64_t hang_percent_ = 0;
  uint64_t delivered_ = 0, refused_ = 0, cancelled_ = 0;
  std::string failure_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_ACTIVATOR_SIMULATION_H_
