#include "tests/simulation/group_disk_simulation.h"

#include <string>
#include <utility>

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kLeftAloneOnDisk = seconds(120);

HostPolicy Policy() {
  HostPolicy policy;
  policy.start_timeout = seconds(6);
  policy.stop_timeout = seconds(3);
  policy.release_after = seconds(1);
  policy.to_disk = true;
  return policy;
}

}  // namespace

// As agent/agent_group_disk.cc has it.
struct GroupDiskSimulation::Member final : GroupMember {
  Member(GroupDiskSimulation& simulation, HostId id, uint64_t number)
      : GroupMember(simulation, id, number), own(simulation) {}

  void Wake() override {
    OnUse();
    if (!paused) return Report();
    if (disk == Disk::kNotHeld) return Thaw();
    wake_waits = true;
  }
  void OnQuiet() override {
    quiet_use = uses;
    Report();
  }
  bool IsAsked(const Desired& before) override { return heard.pauses > before.pauses && !paused; }
  void OnAsked() override {
    paused = quiet_use == uses;
    quiet_use.reset();
    if (!paused) OnUse();
  }
  void OnGoal() override {
    why.clear();
    switch (heard.goal) {
      case Goal::kReleaseIfIdle:
        if (disk != Disk::kNotHeld) return;
        refused = !paused;
        if (paused) disk = Disk::kHeld;
        return;
      case Goal::kDump:
        if (disk == Disk::kHeld) BeginDump();
        refused = disk == Disk::kNotHeld;
        return;
      case Goal::kCommit:
        refused = disk == Disk::kNotHeld;
        if (disk == Disk::kDumped) Commit();
        return;
      case Goal::kRelease:
        return Stop();
      default:
        CallOff();
    }
  }
  void Describe(Activator::Report& report, GroupSuspender::Report& group) const override {
    report.not_checkpointed = why;
    report.disk = disk;
    group.pause_answered = heard.pauses;
    group.quiet = quiet_use == uses && !paused;
  }

  void Thaw() {
    own.CheckThaw(*this);
    paused = false;
    ++thaws;
    OnUse();
    Report();
  }
  void BeginDump() {
    disk = Disk::kDumping;
    After(sim.Millis(600), [this] {
      if (stopping) return;
      const bool fails = sim.world().Chance(own.dump_fails_percent_);
      disk = fails ? Disk::kHeld : Disk::kDumped;
      if (fails) why = "CRIU says no";
      if (heard.goal < Goal::kReleaseIfIdle) CallOff();
      Report();
    });
  }
  void Commit() {
    if (own.Fault(3)) {
      disk = Disk::kHeld;
      why = "disk full";
      return;
    }
    own.disk_[host] = kept;
    sim.End(host, incarnation, Activator::End::Kind::kCheckpointed);
  }
  void CallOff() {
    if (disk == Disk::kNotHeld || disk == Disk::kDumping) return;
    disk = Disk::kHeld;
    if (heard.goal == Goal::kStay) return;
    disk = Disk::kNotHeld;
    if (std::exchange(wake_waits, false)) Wake();
  }

  GroupDiskSimulation& own;
  const bool restored = (*own.table_)[host].state == HostState::kRestoring;
  bool restoring = restored;
  bool wake_waits = false;
  std::optional<uint64_t> quiet_use;  // the last before it was quiet
  Disk disk = Disk::kNotHeld;
  std::string why;
};

GroupDiskSimulation::GroupDiskSimulation(uint64_t seed)
    : GroupSimulation(seed, {.split_bound = seconds(8),
                             .wake_bound = seconds(12),
                             .short_percent = 60,
                             .short_max = seconds(4),
                             .long_max = seconds(15)}) {
  size_ = 2 + static_cast<HostId>(world_.random().Below(4));
  faults_ = faulty_ = world_.Chance(40);
  dump_fails_percent_ = world_.Chance(50) ? 0 : world_.random().Below(40);
  disk_.resize(size_);
  NewOrchestrator(Policy());
}

void GroupDiskSimulation::RunAll() {
  RunSteps(8 + world_.random().Below(15));
  dump_fails_percent_ = 0;
  faults_ = false;
  for (const bool after_faults : {faulty_, false}) {
    if (failed()) return;
    UseOne();
    Pass(kLeftAloneOnDisk);
    CheckOnDisk(after_faults);
  }
}

// ---- members begin and end --------------------------------------------------

std::unique_ptr<GroupMember> GroupDiskSimulation::MakeMember(HostId host, uint64_t incarnation) {
  return std::make_unique<Member>(*this, host, incarnation);
}

void GroupDiskSimulation::Begin(GroupMember& begins) {
  Member& member = static_cast<Member&>(begins);
  const auto fail = [this, &member] {
    End(member.host, member.incarnation, Activator::End::Kind::kFailed);
  };
  // Before the checkpoint was touched.
  if (member.restored && Fault(5)) return member.After(world_.Delay(), fail);
  member.After(world_.Delay() + Millis(300), [this, &member, fail] {
    member.restoring = false;
    if (!member.restored) return Begun(member);
    if (!disk_[member.host].has_value()) Fail("restored without a checkpoint");
    ++restores_;
    member.kept = *std::exchange(disk_[member.host], std::nullopt);
    if (Fault(5)) return fail();
    member.paused = true;
    member.disk = Disk::kHeld;
    Begun(member);
  });
}

void GroupDiskSimulation::Begun(Member& member) {
  member.up = true;
  member.OnUse();
  if (!member.kept.empty()) member.Wake();
  member.Report();
}

Activator::End GroupDiskSimulation::EndOf(HostId host, Activator::End::Kind kind) const {
  Activator::End end = GroupSimulation::EndOf(host, kind);
  end.checkpoint_kept = OnDisk(host);
  end.restore_at_once = OnDisk(host) && !disk_[host]->empty();
  return end;
}

// ---- the orchestrator -------------------------------------------------------

void GroupDiskSimulation::SetGoal(HostId host, uint64_t incarnation, Goal goal,
                                  const Cause& cause) {
  called_off_ += goal == Goal::kStay && Find(host, incarnation) != nullptr;
  GroupSimulation::SetGoal(host, incarnation, goal, cause);
}

void GroupDiskSimulation::OnTransition(const Transition& t) {
  const bool used = t.from == HostState::kRestoring && t.to != HostState::kCheckpointed &&
                    t.to != HostState::kReleasing;
  if (used || t.to == HostState::kImaginary) disk_[t.host].reset();
  GroupSimulation::OnTransition(t);
}

void GroupDiskSimulation::RestartOrchestrator() {
  waiting_.clear();  // what was held went with it
  NewOrchestrator(Policy());
  std::vector<HostId> on_disk;
  for (HostId host = 0; host < size_; ++host) {
    if (GroupMember* const member = At(host)) {
      activator_->Adopt(host, member->incarnation, Cause(), Now());
      member->desired.goal = Goal::kRun;
      SendDesired(*member);
    } else if (const auto ended = ended_.find(host); ended != ended_.end()) {
      activator_->Adopt(host, ended->second, Cause(), Now());  // its end is about to be told
    } else if (OnDisk(host)) {
      on_disk.push_back(host);
    }
  }
  for (const HostId host : on_disk)
    activator_->AdoptCheckpoint(host, Duration(0), std::nullopt, Now());
  for (const HostId host : on_disk)
    if (OnDisk(host) && !disk_[host]->empty())
      (void)activator_->Wake(host, MakeCause(Cause::Kind::kData), Now());
}

// ---- what must hold ---------------------------------------------------------

void GroupDiskSimulation::CheckThaw(const Member& thawed) {
  if (faulty_) return;
  for (HostId host = 0; host < size_; ++host) {
    const Member* const other = static_cast<const Member*>(At(host));
    const char* const where = OnDisk(host)                    ? "on disk"
                              : other == nullptr              ? "gone"
                              : other->restoring              ? "being restored"
                              : other->disk == Disk::kDumping ? "being dumped"
                              : other->disk == Disk::kDumped  ? "dumped"
                                                              : nullptr;
    if (host != thawed.host && where != nullptr)
      Fail(absl::StrCat("m", thawed.host, " is thawed while m", host, " is ", where));
  }
}

void GroupDiskSimulation::CheckOnDisk(bool after_faults) {
  for (HostId host = 0; host < size_; ++host) {
    const HostState state = (*table_)[host].state;
    // Who was lost while the others ran is back with the next wake.
    if (state == HostState::kCheckpointed || (state == HostState::kImaginary && after_faults))
      continue;
    Fail(absl::StrCat("left alone, m", host, " is ", std::string(HostStateName(state))));
  }
}

}  // namespace im::orchestrator
