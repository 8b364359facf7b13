#include "tests/simulation/group_pause_simulation.h"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kLeftAlone = seconds(60);
constexpr size_t kBeatBytes = 60;

}  // namespace

struct GroupPauseSimulation::Member final : GroupMember, agent::GroupPauser::Delegate {
  Member(GroupPauseSimulation& simulation, HostId id, uint64_t number)
      : GroupMember(simulation, id, number), own(simulation) {
    proto::Group group;
    group.set_heartbeat_bytes_per_s(100'000);
    for (HostId fellow = 0; fellow < sim.size(); ++fellow) {
      const IpAddress address = TestAddress(fellow);
      if (fellow != host)
        group.add_fellows(std::string(address.bytes().begin(), address.bytes().end()));
    }
    pauser.emplace(group, sim.Now(), *this);
  }

  // GroupPauser::Delegate:
  bool BusyNow() override { return sim.world().Chance(3); }
  bool Freeze() override {
    if (stopping || !up) return false;
    sim.Trace("m", host, " freezes");
    paused = true;
    refused = false;
    paused_at = sim.Now();
    pauser->OnPausedOrThawed(true, sim.Now());
    Report();
    return true;
  }
  void ThawNow(const proto::WakeCause&) override {
    sim.Trace("m", host, " is thawed");
    own.CheckBeats(*this);
    paused = false;
    for (auto& [fellow, what] : seen) what.last = kNever;
    ++thaws;
    pauser->OnPausedOrThawed(false, sim.Now());
    Report();
    // The program finds what came, and its timers have passed.
    After(sim.Millis(2), [this] {
      if (paused) return;
      ReadAll();
      SendBeats();
    });
    OnUse();
  }
  void OnGroupUse() override { OnUse(); }
  void OnGroupChange() override { Report(); }

  // GroupMember:
  void Wake() override {
    OnUse();
    pauser->Wake({}, sim.Now());
  }
  void OnQuiet() override { pauser->OnQuiet(); }
  bool IsAsked(const Desired&) override { return pauser->IsNewRequest(heard.pauses); }
  void OnAsked() override {
    sim.Trace("m", host, " is asked to pause, round ", heard.pauses,
              heard.at_once ? " at once" : "");
    for (auto& [fellow, what] : seen) what.reports = what.AreReports();
    pauser->OnAsked(heard.forced, heard.at_once, sim.Now());
  }
  void OnGoal() override {
    using Goal = Activator::Goal;
    const bool idle = heard.goal == Goal::kReleaseIfIdle && paused && !pauser->waking();
    refused = heard.goal == Goal::kReleaseIfIdle && !idle;
    if (heard.goal != Goal::kRelease && !idle) return;
    paused = false;
    pauser->OnPausedOrThawed(false, sim.Now());
    SendBeats();  // the last of it
    Stop();
  }
  void Describe(Activator::Report&, GroupSuspender::Report& report) const override {
    proto::InstanceStatus status;
    pauser->Describe(sim.Now(), status);
    report.pause_answered = status.group().pause_answered();
    report.quiet = status.group().quiet();
    report.falling = status.group().falling();
    report.waking = status.group().waking();
    report.beat_late = status.group().beat_late();
    const auto hosts_at = [this](const auto& addresses) {
      std::vector<HostId> hosts;
      for (const std::string& bytes : addresses)
        hosts.push_back(*own.table_->FindByAddress(IpAddress::FromBytes(
            {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()})));
      return hosts;
    };
    report.leads = hosts_at(status.group().leads());
    report.awaits = hosts_at(status.group().awaits());
  }
  Instant NextDeadline() const override { return pauser->NextDeadline(); }
  void OnTimer() override { pauser->OnTimer(sim.Now()); }

  // ---- the program ----
  void Beat() {
    if (stopping) return;
    if (!paused) SendBeats();
    if (own.shape_ == Shape::kReports && sim.world().Chance(15)) Talk(10);
    After(own.shape_ == Shape::kReports ? kReport : kBeat, [this] { Beat(); });
  }
  void SendBeats() {
    const bool answered = own.shape_ != Shape::kReports;
    for (const HostId fellow : own.LedBy(host)) Send(fellow, answered);
  }
  void Talk(int times) {
    if (stopping || paused || times == 0) return;
    for (const HostId fellow : own.LedBy(host)) Send(fellow, /*beat=*/true);
    After(milliseconds(20), [this, times] { Talk(times - 1); });
  }
  void Send(HostId fellow, bool beat) {
    sim.Trace("m", host, beat ? " beats m" : " answers m", fellow);
    (void)pauser->OnFellow(TestAddress(fellow), /*inbound=*/false, kBeatBytes, sim.Now());
    own.Carry(*this, fellow, beat);
  }
  void OnPacket(HostId from, uint64_t sender, bool beat) {
    if (!up) return;
    (void)pauser->OnFellow(TestAddress(from), /*inbound=*/true, kBeatBytes, sim.Now());
    if (known[from] != sender) {
      kernel[from] = beats_of[from] = 0;
      seen[from] = {};
    }
    known[from] = sender;
    seen[from].OnPacket(paused, sim.Now());
    ++kernel[from];
    beats_of[from] += beat;
    if (!paused) ReadAll();
  }
  void ReadAll() {
    for (auto& [from, packets] : kernel) packets = 0;
    for (auto& [from, beats] : beats_of)
      for (; beats > 0; --beats) Send(from, /*beat=*/false);
  }

  // Of a fellow. Reports are known for beats after some of them, when it was seen how far apart
  // they are, and as long as they are not forgotten.
  struct Seen {
    void OnPacket(bool paused, Instant now) {
      if (paused) {
        last = kNever;
        return;
      }
      ++packets;
      apart |= last != kNever && now - last > kReport / 2;
      last = now;
    }
    bool AreReports() const {
      return last != kNever && apart && packets >= agent::Beats::kPacketsMin;
    }

    int packets = 0;  // while it was awake
    Instant last = kNever;  // since it was thawed
    bool apart = false;
    bool reports = false;  // when it was asked to pause
  };

  GroupPauseSimulation& own;
  std::optional<agent::GroupPauser> pauser;
  Instant paused_at;
  std::map<HostId, int> kernel, beats_of;  // unread: packets, and beats among them
  std::map<HostId, uint64_t> known;        // the fellow's incarnation
  std::map<HostId, Seen> seen;             // of that incarnation
};

GroupPauseSimulation::GroupPauseSimulation(uint64_t seed)
    : GroupSimulation(seed, {.split_bound = seconds(6),
                             .wake_bound = seconds(6),
                             .short_percent = 50,
                             .short_max = milliseconds(1'500),
                             .long_max = seconds(12)}) {
  size_ = 2 + static_cast<HostId>(world_.random().Below(4));
  shape_ = static_cast<Shape>(world_.random().Below(5));
  faulty_ = world_.Chance(30);
  HostPolicy policy;
  policy.start_timeout = seconds(3);
  policy.stop_timeout = seconds(1);
  policy.release_after.reset();
  if (world_.Chance(60)) policy.release_after = Millis(6'000);
  NewOrchestrator(policy);
}

void GroupPauseSimulation::RunAll() {
  RunSteps(10 + world_.random().Below(20));
  if (failed()) return;
  UseOne();
  Pass(kLeftAlone);
  CheckAtRest();
}

std::unique_ptr<GroupMember> GroupPauseSimulation::MakeMember(HostId host, uint64_t incarnation) {
  return std::make_unique<Member>(*this, host, incarnation);
}

void GroupPauseSimulation::Begin(GroupMember& member) {
  member.After(world_.Delay(), [&member] {
    member.up = true;
    static_cast<Member&>(member).Beat();
    member.OnUse();
    member.Report();
  });
}

// As a Controller tells it: at the begin of a release, and when it has ended.
void GroupPauseSimulation::SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal,
                                   const Cause& cause) {
  if (goal == Activator::Goal::kReleaseIfIdle || goal == Activator::Goal::kRelease)
    TellFellows(host, /*for_good=*/false);
  GroupSimulation::SetGoal(host, incarnation, goal, cause);
}

void GroupPauseSimulation::OnTransition(const Transition& transition) {
  if (transition.to == HostState::kImaginary) TellFellows(transition.host, /*for_good=*/true);
  GroupSimulation::OnTransition(transition);
}

void GroupPauseSimulation::TellFellows(HostId host, bool for_good) {
  for (HostId fellow = 0; fellow < size_; ++fellow) {
    Member* const member = static_cast<Member*>(At(fellow));
    if (fellow == host || member == nullptr) continue;
    member->After(world_.Delay(), [this, member, host, for_good] {
      member->pauser->OnFellowGone(TestAddress(host), for_good, Now());
    });
  }
}

std::vector<HostId> GroupPauseSimulation::LedBy(HostId host) const {
  std::vector<HostId> led;
  for (HostId other = 0; other < size_; ++other) {
    const bool next =
        other == host + 1 || (shape_ == Shape::kCircle && other == (host + 1) % size_);
    if (other == host || shape_ == Shape::kSilent) continue;
    const bool to_first = shape_ == Shape::kReports && other == 0;
    const bool by_first = shape_ == Shape::kStar && host == 0;
    const bool in_row = (shape_ == Shape::kChain || shape_ == Shape::kCircle) && next;
    if (to_first || by_first || in_row) led.push_back(other);
  }
  return led;
}

void GroupPauseSimulation::Carry(const Member& from, HostId to, bool beat) {
  world_.Carry(from.host + 1, to + 1, [this, f = from.host, i = from.incarnation, to, beat] {
    GroupMember* const member = At(to);
    if (member != nullptr && Find(f, i) != nullptr)
      static_cast<Member*>(member)->OnPacket(f, i, beat);
  });
}

void GroupPauseSimulation::CheckBeats(const Member& thawed) {
  const bool long_pause = thawed.paused && Now() - thawed.paused_at > kTimeout;
  if (!long_pause || !BeatsArePromised()) return;
  if (shape_ == Shape::kReports && thawed.host != 0) return;
  ++long_pauses_;
  if (thawed.heard.at_once) return;
  ++ordered_pauses_;
  for (const auto& [fellow, seen] : thawed.seen)
    if ((shape_ != Shape::kReports || seen.reports) && thawed.kernel.at(fellow) == 0 &&
        Find(fellow, thawed.known.at(fellow)) != nullptr)
      Fail(absl::StrCat("m", thawed.host, " missed the beat of m", fellow));
}

void GroupPauseSimulation::CheckAtRest() {
  if (failed()) return;
  const bool release = table_->policy(0).release_after.has_value();
  for (HostId host = 0; host < size_; ++host) {
    const HostState state = (*table_)[host].state;
    const bool good = release ? state == HostState::kImaginary
                              : state == HostState::kPaused ||
                                    (faulty_ && state == HostState::kImaginary);
    if (!good) Fail(absl::StrCat("left alone, m", host, " is ", std::string(HostStateName(state))));
  }
}

}  // namespace im::orchestrator
