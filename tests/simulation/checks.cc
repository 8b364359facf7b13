// What must hold.

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "orchestrator/host_setup.h"
#include "tests/simulation/cluster_simulation.h"

namespace im::simulation {
namespace {

using orchestrator::Activator;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Beside the numbers of calls.
constexpr uint32_t kAnswer = 0x10000, kReset = 0x20000, kResetByHost = 0x30000;

// 0: it is none that is followed.
uint32_t KeyOf(const IpView& view) {
  // (Where hosts are on disk it may be held.)
  if (view.is_rst())
    return view.source_port == kServicePort ? kResetByHost | view.destination_port
                                     : kReset | view.source_port;
  if (view.is_tcp() && view.source_port == kServicePort) return kAnswer | view.destination_port;
  if (view.is_tcp() && view.destination_port == kServicePort) return view.source_port;
  if (view.is_udp() && view.destination_port == kDatagramPort) return view.source_port;
  return 0;
}

// Of the packet that this refuses.
uint32_t RefusedBy(const IpView& view, const std::vector<uint8_t>& bytes) {
  if (view.is_rst())
    return view.source_port == kServicePort ? view.destination_port : kAnswer | view.source_port;
  constexpr uint8_t kUnreachable = 3, kUnreachable6 = 1;
  if (!view.v6 && (view.protocol != kProtocolIcmp || view.icmp_type != kUnreachable)) return 0;
  if (view.v6 && (view.protocol != kProtocolIcmpV6 || view.icmp_type != kUnreachable6)) return 0;
  // The refused header, then its ports.
  const size_t at = view.payload_offset + (view.v6 ? 40u : 20u);
  return at + 2 > bytes.size() ? 0 : static_cast<uint32_t>(bytes[at] << 8 | bytes[at + 1]);
}

}  // namespace

// ---- packets ----------------------------------------------------------------

// `bytes` is about to go into the gateway. Until AfterGateway it counts as held, so
// that whatever is refused from within finds it.
void ClusterSimulation::BeforeGateway(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  const Activator::Counters& counters = controller_->activator().counters();
  passing_ = {.bytes = &bytes,
              .held = counters.held,
              .not_held = counters.duplicates + counters.over_limit};
  const uint32_t key = KeyOf(*view);
  const std::optional<HostId> host = table_->FindByAddress(view->destination);
  if (key == 0 || !host.has_value()) return;
  passing_.key = key;
  const auto [it, first] = held_.try_emplace(key);
  ++it->second.copies;
  if (!first) return;
  it->second.host = *host;
  it->second.bound = BoundIn(spec_.hosts[*host].start_timeout);
  const IpAddress source = table_->Plain(view->source);
  it->second.source = source;
  it->second.source_gone = view->is_rst() || (source != spec_.gateway && !Lives(source));
}

void ClusterSimulation::AfterGateway() {
  const Passing passing = std::exchange(passing_, Passing());
  const auto it = held_.find(passing.key);
  if (it == held_.end()) return;
  const Activator::Counters& counters = controller_->activator().counters();
  if (counters.held != passing.held) {
    it->second.bound = BoundIn(spec_.hosts[it->second.host].start_timeout);
    return;
  }
  // Passed on, or refused at once: that was counted. Others like it may still be held.
  const bool left =
      passing.gone > 0 && counters.duplicates + counters.over_limit == passing.not_held;
  if (!left) OneIsGone(passing.key);
}

// Each copy of a packet is passed on or refused by itself.
void ClusterSimulation::OneIsGone(uint32_t key) {
  if (key == 0) return;
  if (key == passing_.key) ++passing_.gone;
  const auto it = held_.find(key);
  if (it != held_.end() && --it->second.copies == 0) held_.erase(it);
}

// imd sends `bytes` to somebody.
void ClusterSimulation::OnSentByImd(const IpView& view, const std::vector<uint8_t>& bytes) {
  // A refusal that only passes is not imd's.
  if (passing_.bytes != nullptr && bytes == *passing_.bytes) return OneIsGone(KeyOf(view));
  const uint32_t key = KeyOf(view);
  const uint32_t refused = RefusedBy(view, bytes);
  reached_.unreachable6 += view.v6 && !view.is_tcp() && refused != 0;
  OneIsGone(key != 0 && held_.contains(key) ? key : refused);
}

void ClusterSimulation::OnGatewaySends(const tunnel::PublicKey&, const std::vector<uint8_t>& bytes) {
  if (const std::optional<IpView> view = ParseIp(bytes)) OnSentByImd(*view, bytes);
}

void ClusterSimulation::ToStack(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  OnSentByImd(*view, bytes);
  if (trace_) Trace("to the stack: ", DescribePacket(bytes));
  if (view->is_rst()) {
    OnRefusal(view->destination_port);
  } else if (view->is_tcp() && (view->tcp_flags & kTcpSyn) != 0) {
    OnSynAck(view->destination_port);
  } else if (disk_ && view->is_tcp()) {
    OnSaid(*view);
  }
}

void ClusterSimulation::CountSent(const std::vector<uint8_t>& bytes) {
  if (doubles_) return;
  if (const uint32_t key = KeyOf(*ParseIp(bytes)); key != 0 && key < kAnswer) ++sent_[key];
}

void ClusterSimulation::CountServed(const SimAgent& agent, const IpView& view) {
  if (doubles_) return;
  const uint32_t key = KeyOf(view);
  if (key == 0 || key >= kAnswer || ++served_[key] <= sent_[key]) return;
  Fail(absl::StrCat("packet ", key, " came to ", agent.Text(), " more often than it was sent"));
}

void ClusterSimulation::OnLost(SimAgent& agent, const std::vector<uint8_t>& bytes, bool idle) {
  const std::optional<IpView> view = ParseIp(bytes);
  if (!calm_ || KeyOf(*view) == 0 || KeyOf(*view) >= kReset || !idle) return;
  Fail(absl::StrCat("a packet came to ", agent.Text(), ", which was released as idle"));
}

void ClusterSimulation::OnMissedBeat(SimAgent& agent, const IpAddress& fellow, Node life) {
  if (std::none_of(agents_.begin(), agents_.end(),
                   [life](const auto& other) { return other.second->memory().life == life; }))
    return;
  Trace(agent, " missed the beat of ", fellow.ToString());
  ++reached_.missed_beats;
}

void ClusterSimulation::OnOldBeat(SimAgent& agent, const IpAddress& fellow) {
  Fail(absl::StrCat(agent.Text(), " has more of ", fellow.ToString(), " than that has said"));
}

void ClusterSimulation::OnThaw(SimAgent& agent) {
  if (!calm_ || spec_.hosts[agent.host()].group.empty() || !GoesToDisk(agent.host())) return;
  for (HostId host = 0; host < spec_.groups[0].hosts.size(); ++host) {
    const SimAgent* const fellow = AgentOf(host);
    const bool on_disk = fellow == nullptr && (*table_)[host].state == HostState::kCheckpointed;
    if (on_disk || (fellow != nullptr && fellow->between()))
      Fail(absl::StrCat(agent.Text(), " is thawed, and h", host, " is on disk, or between"));
  }
}

// ---- all the time -----------------------------------------------------------

void ClusterSimulation::Check() {
  if (next_bound_ < world_.Now()) CheckBounds();
  CheckGroups();
  if (controller_ == nullptr) return;
  CheckLifetimes();
  const Activator& activator = controller_->activator();
  if (activator.starting() > limits_.starting_max) Fail("more starts than the cap");
  const size_t packets = activator.held().packets();
  if (packets == 0 || !spec_.groups.empty() || loop_->NextDeadline() <= world_.Now()) return;
  size_t known = 0;
  for (const auto& [number, held] : held_) known += held.copies;
  if (packets > known) Fail(absl::StrCat(packets, " packets are held, of which ", known, " are known"));
}

// The time in which something must happen. All bounds are made here, since they are looked at
// only when the next has passed.
Instant ClusterSimulation::BoundIn(Duration time) {
  const Instant bound = world_.Now() + time;
  next_bound_ = std::min(next_bound_, bound);
  return bound;
}

void ClusterSimulation::CheckBounds() {
  const Instant now = world_.Now();
  Instant next = kNever;
  const auto passed = [now, &next](Instant bound) {
    if (bound >= now) next = std::min(next, bound);
    return bound < now;
  };
  for (const auto& [number, call] : calls_)
    if (passed(call.bound) && call.must_be_answered)
      Fail(absl::StrCat("call ", number, " of h", call.to, " is not answered"));
  for (const auto& [number, conversation] : conversations_)
    if (passed(conversation.bound) && conversation.lasts && conversation.tries > 0)
      Fail(absl::StrCat("what was said on ", number, " to h", conversation.to, " is not answered"));
  // imd's timers of this moment may still be to come.
  if (controller_ != nullptr && loop_->NextDeadline() <= now) return;
  for (auto it = held_.begin(); it != held_.end();) {
    const auto at = it++;
    if (!passed(at->second.bound)) continue;
    if (at->second.source_gone) {
      held_.erase(at);
      continue;
    }
    Fail(absl::StrCat("packet ", at->first, " for h", at->second.host, " is forgotten"));
  }
  for (const auto& [host, bounds] : waiters_)
    if (!bounds.empty() && passed(*bounds.begin()))
      Fail(absl::StrCat("a wake of h", host, " was never answered; it is ",
                        std::string(HostStateName((*table_)[host].state))));
  next_bound_ = next;
}

// In the order in which it is told: what came up may have ended since.
void ClusterSimulation::CheckNeeds(const orchestrator::Transition& t) {
  told_[t.host] = t.to;
  if (t.to != HostState::kStarting || taking_back_) return;
  for (const orchestrator::HostTable::Need& need : table_->needs(t.host)) {
    if (need.kind == orchestrator::HostTable::Need::Kind::kCompleted) {
      if (!job_done_) Fail(absl::StrCat("h", t.host, " is started before the job is done"));
      ++reached_.jobs;
      continue;
    }
    const HostState state = told_[need.host];
    if (state != HostState::kRunning && state != HostState::kPaused)
      Fail(absl::StrCat("h", t.host, " is started, and h", need.host, " is ",
                        std::string(HostStateName(state))));
    ++reached_.needs;
  }
}

// An imd that died has saved who was to be started again.
void ClusterSimulation::CheckStartedAgain() {
  const std::vector<std::pair<HostId, orchestrator::Cause>> starts =
      controller_->activator().ToStart();
  for (const proto::SavedStart& saved : saved_.to_start()) {
    const HostId host = *table_->FindByName(saved.host());
    if (!orchestrator::HasInstance((*table_)[host].state) &&
        absl::c_none_of(starts, [host](const auto& start) { return start.first == host; }))
      Fail(absl::StrCat("h", host, " was to be started again"));
    ++reached_.started_again;
  }
}

bool ClusterSimulation::IsRenewed(HostId host) const {
  const orchestrator::HostSpec& spec = spec_.hosts[host];
  return spec.max_lifetime && spec.group.empty() &&
         spec.on_release == orchestrator::OnRelease::kTerminate;
}

void ClusterSimulation::CheckLifetimes() {
  for (const auto& [node, agent] : agents_) {
    if (!IsRenewed(agent->host())) continue;
    const orchestrator::HostSpec& spec = spec_.hosts[agent->host()];
    // It was up within start_timeout. An imd hears of it within that, too, or kills it.
    const Instant over = std::max(agent->began_at() + *spec.max_lifetime, imd_began_at_) +
                         spec.start_timeout;
    constexpr Duration slack = seconds(5);  // what is told late
    if (world_.Now() > over + orchestrator::PolicyOf(spec).stop_timeout + slack)
      Fail(absl::StrCat(agent->Text(), " has lived for too long"));
  }
}

void ClusterSimulation::CheckGroups() {
  if (spec_.groups.empty()) return;
  const size_t members = spec_.groups[0].hosts.size();
  size_t running = 0, paused = 0, on_disk = 0;
  for (const auto& [node, agent] : agents_) {
    if (agent->host() >= members || !agent->up()) continue;
    ++(agent->paused() ? paused : running);
  }
  for (HostId host = 0; controller_ != nullptr && host < members; ++host)
    on_disk += (*table_)[host].state == HostState::kCheckpointed;
  if (on_disk == members && !all_on_disk_) ++reached_.group_disk;
  all_on_disk_ = on_disk == members;
  const Instant now = world_.Now();
  const bool may_be =
      controller_ == nullptr || now < cut_until_ || running == 0 || paused + on_disk == 0;
  // Members fall asleep one after the other: the bound is that of one step. A beat that
  // does not come ends an attempt only then.
  if (may_be || std::exchange(paused_before_, paused) != paused) split_since_ = now;
  constexpr Duration bound = orchestrator::GroupSuspender::kStageMax + seconds(6);
  if (now - split_since_ > bound) {
    for (const auto& [node, agent] : agents_) Trace(*agent);
    Fail("a frozen member beside one that runs");
  }
  const bool all = paused == members && running == 0;
  if (all && !all_paused_) ++reached_.group_sleeps;
  all_paused_ = all;
}

// ---- at the end -------------------------------------------------------------

// It runs because another does.
bool ClusterSimulation::Follows(const orchestrator::HostSpec& host) const {
  return !host.wake_with.empty() ||
         std::any_of(spec_.hosts.begin(), spec_.hosts.end(), [&](const orchestrator::HostSpec& other) {
           return absl::c_any_of(other.depends_on, [&](const orchestrator::DependencySpec& needed) {
             return needed.host == host.name;
           });
         });
}

bool ClusterSimulation::FollowsRunning(const orchestrator::HostSpec& host) const {
  return absl::c_any_of(host.wake_with, [&](const std::string& leader) {
    return orchestrator::HasInstance((*table_)[*table_->FindByName(leader)].state);
  });
}

void ClusterSimulation::CheckRest() {
  if (failed()) return;
  // A host that is replaced and not released is awake again and again, and with it who follows
  // it.
  const bool moves = std::any_of(
      spec_.hosts.begin(), spec_.hosts.end(), [&](const orchestrator::HostSpec& host) {
        return host.max_lifetime &&
               (!host.idle.release_after || host.min_running || FollowsRunning(host));
      });
  for (HostId host = 0; host < spec_.hosts.size(); ++host) {
    const orchestrator::HostSpec& spec = spec_.hosts[host];
    const HostState state = (*table_)[host].state;
    const std::string text = absl::StrCat("h", host, " is ", std::string(HostStateName(state)));
    SimAgent* const agent = AgentOf(host);
    if (orchestrator::HasInstance(state) != (agent != nullptr)) {
      Fail(absl::StrCat("left alone, ", text, ", and its instance ",
                        agent == nullptr ? "is none" : agent->Text()));
      return;
    }
    if (agent != nullptr && agent->id().incarnation != (*table_)[host].incarnation)
      Fail(absl::StrCat(text, " and has another instance: ", agent->Text()));
    if (state == HostState::kRunning || state == HostState::kPaused) {
      if (agent->paused() != (state == HostState::kPaused))
        Fail(absl::StrCat(text, ", but its instance: ", agent->Text()));
    } else if (state != HostState::kImaginary &&
               (state != HostState::kCheckpointed || !GoesToDisk(host))) {
      Fail(absl::StrCat("left alone, ", text));
    }
    // It may have been asked to pause (`im suspend`).
    if (spec.min_running && state != HostState::kRunning && state != HostState::kPaused)
      Fail(absl::StrCat(text, ", and is to run always"));
    const bool released = spec.idle.release_after.has_value() && !spec.min_running &&
                          spec.restart == orchestrator::RestartPolicy::kNo && !FollowsRunning(spec) &&
                          !(moves && Follows(spec));
    if (absl::c_any_of(spec.wake_with, [this](const std::string& leader) {
          return (*table_)[*table_->FindByName(leader)].state == HostState::kRunning;
        }) && !orchestrator::HasInstance(state))
      Fail(absl::StrCat(text, ", and follows one that runs"));
    if (trace_ && agent != nullptr)
      Trace(text, ": ", agent->Text(), "; ", controller_->groups().Reason(host));
    if (released && !spec.group.empty() && state != HostState::kImaginary &&
        state != HostState::kCheckpointed) {
      ++reached_.restless_groups;
      continue;
    }
    if (released && state != HostState::kImaginary && state != HostState::kCheckpointed)
      Fail(absl::StrCat("left alone, ", text, ", and is not released"));
  }
  if (processes_.running.size() != agents_.size()) Fail("processes are not counted right");
  if (tunnel_->peers() != agents_.size())
    Fail(absl::StrCat(tunnel_->peers(), " peers for ", agents_.size(), " instances"));
}

void ClusterSimulation::CheckNothingLeft() {
  if (failed()) return;
  const Activator& activator = controller_->activator();
  if (!agents_.empty())
    Fail(absl::StrCat("after the shutdown there is ", agents_.begin()->second->Text()));
  if (!activator.all_ended()) Fail("after the shutdown not all have ended");
  if (activator.held().packets() != 0 || activator.held().bytes() != 0)
    Fail("packets are held for ever");
  if (activator.active() != 0) Fail("a record is left");
  if (activator.NextDeadline() != kNever) Fail("a deadline of the activator is left");
  if (controller_->control().NextDeadline() != kNever) Fail("a message is left");
  if (controller_->groups().NextDeadline() != kNever) Fail("a deadline of a group is left");
  if (tunnel_->peers() != 0) Fail("a peer is left");
  if (disk_) {
    for (const auto& entry : std::filesystem::directory_iterator(spec_.checkpoints_directory))
      if (entry.path().filename().string()[0] != '.')
        Fail(absl::StrCat("left on disk: ", entry.path().filename().string()));
  }
  if (!waiters_.empty() && !waiters_.begin()->second.empty()) Fail("somebody waits for ever");
}

}  // namespace im::simulation
