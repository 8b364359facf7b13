// What must hold.

#include "absl/strings/str_cat.h"
#include "tests/simulation/cluster_simulation.h"

namespace im::simulation {
namespace {

using orchestrator::Activator;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint16_t kPort = 6379;
constexpr uint16_t kDatagramPort = 53;
constexpr uint32_t kAnswer = 0x10000;  // beside the numbers of calls

// 0: it is none that is followed.
uint32_t KeyOf(const IpView& view) {
  if (view.is_rst()) return 0;
  if (view.is_tcp() && view.source_port == kPort) return kAnswer | view.destination_port;
  if (view.is_tcp() && view.destination_port == kPort) return view.source_port;
  if (view.is_udp() && view.destination_port == kDatagramPort) return view.source_port;
  return 0;
}

// Of the packet that this refuses.
uint32_t RefusedBy(const IpView& view, const std::vector<uint8_t>& bytes) {
  if (view.is_rst())
    return view.source_port == kPort ? view.destination_port : kAnswer | view.source_port;
  constexpr uint8_t kUnreachable = 3;
  if (view.protocol != kProtocolIcmp || view.icmp_type != kUnreachable) return 0;
  // The refused header: 20 bytes, then its ports.
  const size_t at = view.payload_offset + 20u;
  return at + 2 > bytes.size() ? 0 : static_cast<uint32_t>(bytes[at] << 8 | bytes[at + 1]);
}

}  // namespace

// ---- packets ----------------------------------------------------------------

void ClusterSimulation::BeforeGateway(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  const Activator::Counters& counters = controller_->activator().counters();
  held_before_ = counters.held;
  duplicates_before_ = counters.duplicates;
  const uint32_t key = KeyOf(*view);
  known_before_ = held_.contains(key);
  const std::optional<HostId> host = table_->FindByAddress(view->destination);
  if (key == 0 || !host.has_value() || known_before_) return;
  // Whatever is refused from within finds it here.
  held_[key] = {*host, world_.Now() + spec_.hosts[*host].start_timeout, view->source};
  held_[key].source_gone = view->source != spec_.gateway && !Lives(view->source);
}

void ClusterSimulation::AfterGateway(const std::vector<uint8_t>& bytes) {
  const Activator::Counters& counters = controller_->activator().counters();
  if (counters.held != held_before_ && known_before_) {
    Held& held = held_[KeyOf(*ParseIp(bytes))];
    ++held.copies;
    held.bound = world_.Now() + spec_.hosts[held.host].start_timeout;
  }
  if (counters.held != held_before_ || counters.duplicates != duplicates_before_) return;
  held_.erase(KeyOf(*ParseIp(bytes)));  // it was passed on, refused or dropped
}

// Each copy of a packet is passed on or refused by itself.
void ClusterSimulation::OneIsGone(uint32_t key) {
  const auto it = held_.find(key);
  if (it != held_.end() && --it->second.copies == 0) held_.erase(it);
}

void ClusterSimulation::OnGatewaySends(const tunnel::PublicKey&, const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  if (!view.has_value()) return;
  OneIsGone(KeyOf(*view));
  OneIsGone(RefusedBy(*view, bytes));
}

void ClusterSimulation::ToStack(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  OneIsGone(RefusedBy(*view, bytes));
  if (trace_) Trace(absl::StrCat("to the stack: ", DescribePacket(bytes)));
  if (view->is_rst()) {
    OnRefusal(view->destination_port);
  } else if (view->is_tcp() && (view->tcp_flags & kTcpSyn) != 0) {
    OnSynAck(view->destination_port);
  }
}

void ClusterSimulation::OnLost(SimAgent& agent, const std::vector<uint8_t>& bytes, bool idle) {
  const std::optional<IpView> view = ParseIp(bytes);
  if (!calm_ || KeyOf(*view) == 0 || !idle) return;
  Fail(absl::StrCat("a packet came to ", agent.Text(), ", which was released as idle"));
}

void ClusterSimulation::OnMissedBeat(SimAgent& agent, const IpAddress& fellow) {
  Trace(absl::StrCat(agent.Text(), " missed the beat of ", fellow.ToString()));
  ++reached_.missed_beats;
}

// ---- all the time -----------------------------------------------------------

void ClusterSimulation::Check() {
  const Instant now = world_.Now();
  for (const auto& [number, call] : calls_)
    if (call.must_be_answered && call.bound < now)
      Fail(absl::StrCat("call ", number, " of h", call.to, " is not answered"));
  CheckGroups();
  if (controller_ == nullptr) return;
  const Activator& activator = controller_->activator();
  if (activator.starting() > limits_.starting_max) Fail("more starts than the cap");
  // imd's timers of this moment may still be to come.
  if (loop_->NextDeadline() <= now) return;
  for (auto it = held_.begin(); it != held_.end();) {
    const auto at = it++;
    if (at->second.bound >= now) continue;
    if (at->second.source_gone) {
      held_.erase(at);
      continue;
    }
    Fail(absl::StrCat("packet ", at->first, " for h", at->second.host, " is forgotten"));
  }
  size_t known = 0;
  for (const auto& [number, held] : held_) known += held.copies;
  if (spec_.groups.empty() && activator.held().packets() > known)
    Fail(absl::StrCat(activator.held().packets(), " packets are held, of which ", known,
                      " are known"));
  for (const auto& [host, bounds] : waiters_)
    if (!bounds.empty() && *bounds.begin() < now)
      Fail(absl::StrCat("a wake of h", host, " was never answered; it is ",
                        std::string(HostStateName((*table_)[host].state))));
}

void ClusterSimulation::CheckGroups() {
  if (spec_.groups.empty()) return;
  const size_t members = spec_.groups[0].hosts.size();
  size_t running = 0, paused = 0;
  for (const auto& [node, agent] : agents_) {
    if (agent->host() >= members || !agent->up()) continue;
    ++(agent->paused() ? paused : running);
  }
  const Instant now = world_.Now();
  const bool may_be = controller_ == nullptr || now < cut_until_ || running == 0 || paused == 0;
  if (may_be) split_since_ = now;
  // A beat that does not come ends an attempt to fall asleep only then.
  constexpr Duration bound = orchestrator::GroupSuspender::kStageMax + seconds(6);
  if (now - split_since_ > bound) Fail("a frozen member beside one that runs");
  const bool all = paused == members && running == 0;
  if (all && !all_paused_) ++reached_.group_sleeps;
  all_paused_ = all;
}

// ---- at the end -------------------------------------------------------------

void ClusterSimulation::CheckRest() {
  if (failed()) return;
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
    } else if (state != HostState::kImaginary) {
      Fail(absl::StrCat("left alone, ", text));
    }
    const bool follows_running = std::any_of(
        spec.wake_with.begin(), spec.wake_with.end(), [&](const std::string& leader) {
          return orchestrator::HasInstance((*table_)[*table_->FindByName(leader)].state);
        });
    // It may have been asked to pause (`im suspend`).
    if (spec.min_running && state != HostState::kRunning && state != HostState::kPaused)
      Fail(absl::StrCat(text, ", and is to run always"));
    const bool released = spec.idle.release_after.has_value() && !spec.min_running &&
                          spec.restart == orchestrator::RestartPolicy::kNo && !follows_running;
    if (trace_ && agent != nullptr)
      Trace(absl::StrCat(text, ": ", agent->Text(), "; ", controller_->groups().Reason(host)));
    if (released && !spec.group.empty() && state != HostState::kImaginary) {
      ++reached_.restless_groups;
      continue;
    }
    if (released && state != HostState::kImaginary)
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
  if (!waiters_.empty() && !waiters_.begin()->second.empty()) Fail("somebody waits for ever");
}

}  // namespace im::simulation
