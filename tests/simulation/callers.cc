// Who uses the cluster, and what goes wrong in it.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/ip_build.h"
#include "tests/simulation/cluster_simulation.h"

namespace im::simulation {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kNoOther = 99;  // nothing else in this step

// As a kernel repeats a SYN: 1, 3, 7 and 15 s after the first.
constexpr int kTriesMax = 5;
// In a calm world; the second where hosts may be on their way to disk.
constexpr Duration kAnswerBound = seconds(9), kAnswerBoundOfDisk = seconds(15);

}  // namespace

IpAddress ClusterSimulation::SourceOf(Node from, bool v6) {
  const SimAgent* const agent = FindAgent(from);
  return ByFamily(agent == nullptr ? spec_.gateway : agent->address(), v6);
}

void ClusterSimulation::SendFrom(Node from, const std::vector<uint8_t>& bytes) {
  CountSent(bytes);
  if (from != kImd) {
    if (SimAgent* agent = FindAgent(from)) agent->Send(bytes);
    return;
  }
  if (controller_ == nullptr) return;
  Turn([&] {
    BeforeGateway(bytes);
    controller_->gateway().from_stack().Write(SinglePacket(bytes));
    AfterGateway();
  });
}

void ClusterSimulation::SendCall(HostId to, Node from, bool must_be_answered) {
  const uint32_t number = ++packet_number_;
  Call& call = calls_[number];
  call.to = to;
  call.from = from;
  call.v6 = DrawV6();
  call.bound = BoundIn(disk_ ? kAnswerBoundOfDisk : kAnswerBound);
  call.must_be_answered =
      must_be_answered || (calm_ && from == kImd && controller_ != nullptr && job_ != to);
  Trace("call ", number, " of h", to, " by node ", from, call.v6 ? " over IPv6" : "");
  RepeatCall(number);
}

std::vector<uint8_t> ClusterSimulation::CallPacket(const Call& call, uint32_t number) {
  return BuildTcp({SourceOf(call.from, call.v6), static_cast<uint16_t>(number)},
                  {ByFamily(spec_.hosts[call.to].address, call.v6), kServicePort},
                  {.sequence = number, .flags = kTcpSyn, .window = 64'000});
}

void ClusterSimulation::RepeatCall(uint32_t number) {
  const auto it = calls_.find(number);
  if (it == calls_.end()) return;
  Call& call = it->second;
  SimAgent* const caller = FindAgent(call.from);
  if ((call.from != kImd && caller == nullptr) || ++call.tries > kTriesMax) {
    if (!call.must_be_answered) calls_.erase(it);
    return;
  }
  world_.After(seconds(1) * (1 << (call.tries - 1)), [this, number] { RepeatCall(number); });
  if (caller != nullptr && (caller->paused() || !caller->up())) return;
  SendFrom(call.from, CallPacket(call, number));
}

void ClusterSimulation::SendOdd(HostId to, Node from) {
  const auto number = static_cast<uint16_t>(++packet_number_);
  const bool v6 = DrawV6();
  const Endpoint source{SourceOf(from, v6), number};
  const Endpoint destination{ByFamily(spec_.hosts[to].address, v6), kServicePort};
  switch (world_.random().Below(4)) {
    case 0:
      return SendFrom(from, BuildTcp(source, destination,
                                     {.sequence = number, .flags = kTcpRst, .window = 0}));
    case 1:
      return SendFrom(from, BuildTcp(source, destination,
                                     {.sequence = number, .flags = kTcpAck, .window = 64'000}));
    case 2: {
      const std::vector<uint8_t> data(20, 'x');
      return SendFrom(from, BuildTcp(source, destination,
                                     {.sequence = number, .flags = kTcpAck, .window = 64'000}, data));
    }
    default: {
      const std::vector<uint8_t> data(4, 'u');
      return SendFrom(from, BuildUdp(source, {destination.address, kDatagramPort}, data));
    }
  }
}

// ---- answers ----------------------------------------------------------------

void ClusterSimulation::OnProgramGets(SimAgent& agent, const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  uint64_t& newest = newest_served_[agent.host()];
  if (agent.id().incarnation < newest)
    Fail(absl::StrCat("a packet came to ", agent.Text(), ", and #", newest, " was there before"));
  newest = std::max(newest, agent.id().incarnation);
  CountServed(agent, *view);
  if (view->is_syn()) {
    const Endpoint peer{view->source, view->source_port};
    if (disk_) agent.memory().connections.try_emplace(peer, SimAgent::Connection{view->tcp_sequence + 1, 1001});
    agent.Send(BuildTcp({view->destination, view->destination_port},
                        {view->source, view->source_port},
                        {.sequence = 1000,
                         .acknowledgment = view->tcp_sequence + 1,
                         .flags = kTcpSyn | kTcpAck,
                         .window = 64'000}));
  } else if (view->is_rst() && view->source_port == kServicePort) {
    OnRefusal(view->destination_port);
  } else if (view->is_tcp() && (view->tcp_flags & kTcpSyn) != 0) {
    OnSynAck(view->destination_port);
  } else if (view->is_udp()) {
    reached_.datagrams6 += view->v6;
  } else if (disk_ && view->is_tcp() && !view->is_rst()) {
    if (view->destination_port != kServicePort) {
      OnSaid(*view);
    } else if (view->payload_size() > 0) {
      OnDataToProgram(agent, *view, bytes);
    }
  }
}

void ClusterSimulation::OnSynAck(uint32_t number) {
  const auto it = calls_.find(number);
  if (it == calls_.end()) return;
  BeginConversation(number, it->second);
  ++reached_.answered;
  reached_.answered6 += it->second.v6;
  reached_.within6 += it->second.v6 && it->second.from != kImd;
  calls_.erase(it);
  Trace("call ", number, " is answered");
}

void ClusterSimulation::OnRefusal(uint32_t number) {
  OnReset(number);
  const auto it = calls_.find(number);
  if (it == calls_.end()) return;
  Trace("call ", number, " is refused");
  if (it->second.must_be_answered)
    Fail(absl::StrCat("call ", number, " of h", it->second.to, " was refused"));
  ++reached_.refused;
  reached_.refused6 += it->second.v6;
  calls_.erase(it);
}

// ---- what happens -----------------------------------------------------------

// The shortest and the longest of those that go to disk and come back with this host.
std::pair<Duration, Duration> ClusterSimulation::StartTimeouts(HostId host) {
  Duration least = spec_.hosts[host].start_timeout, most = least;
  const bool alone = spec_.hosts[host].group.empty() || !GoesToDisk(host);
  for (HostId member = 0; !alone && member < spec_.groups[0].hosts.size(); ++member) {
    least = std::min<Duration>(least, spec_.hosts[member].start_timeout);
    most = std::max<Duration>(most, spec_.hosts[member].start_timeout);
  }
  return {least, most};
}

void ClusterSimulation::Step() {
  const HostId host = static_cast<HostId>(world_.random().Below(spec_.hosts.size()));
  const HostId other = static_cast<HostId>(world_.random().Below(spec_.hosts.size()));
  SimAgent* const agent = AgentOf(other);
  const Node caller = agent != nullptr && agent->up() && !agent->paused() && other != host &&
                              world_.Chance(60)
                          ? agent->node()
                          : kImd;
  const bool talked = disk_ && world_.Chance(30) && StepOfConversation();
  switch (talked ? kNoOther : world_.random().Below(10)) {
    case kNoOther:
      break;
    case 0:
      if (controller_ == nullptr) break;
      Turn([&] {
        const HostState before = (*table_)[host].state;
        const Instant at = BoundIn(2 * StartTimeouts(host).second);
        waiters_[host].insert(at);
        const absl::Status woken = controller_->Wake(
            host, orchestrator::MakeCause(orchestrator::Cause::Kind::kUser));
        // Refused, or up, at once: nobody waits.
        const auto waiters = waiters_.find(host);
        if ((!woken.ok() || before == HostState::kRunning || before == HostState::kPaused) &&
            waiters != waiters_.end()) {
          if (const auto it = waiters->second.find(at); it != waiters->second.end())
            waiters->second.erase(it);
        }
      });
      break;
    case 1:
      SendOdd(host, caller);
      break;
    case 2:
      // Nobody can wait for a job that people have suspended.
      if (controller_ == nullptr || !world_.Chance(50) || (calm_ && job_ == host)) break;
      Turn([&] { (void)controller_->Suspend(host); });
      break;
    case 3:
    case 4:
      if (!calm_) {
        StepOfFault(host);
        break;
      }
      [[fallthrough]];
    default:
      SendCall(host, caller);
  }
  switch (world_.random().Below(3)) {
    case 0:
      return Pass(world_.UpTo(milliseconds(50)));
    case 1:
      return Pass(world_.UpTo(seconds(2)));
    default:
      return Pass(world_.UpTo(seconds(12)));
  }
}

void ClusterSimulation::StepOfFault(HostId host) {
  SimAgent* const agent = AgentOf(host);
  switch (world_.random().Below(deaths_ ? 8 : 2)) {
    case 0:
      if (controller_ == nullptr) return;
      return Turn([&] { (void)controller_->Release(host, "im release"); });
    case 1: {
      if (agent == nullptr) return;
      Trace("parted: ", *agent);
      const bool all = world_.Chance(50);
      if (all || world_.Chance(50)) world_.Part(agent->node(), kImd);
      for (const auto& [node, other] : agents_)
        if (node != agent->node() && (all || world_.Chance(50))) world_.Part(agent->node(), node);
      cut_until_ = std::max(cut_until_, world_.Now() + world_.UpTo(seconds(20)));
      return world_.After(cut_until_ - world_.Now(), [this] {
        if (world_.Now() >= cut_until_) world_.Heal();
      });
    }
    case 2:
      if (agent != nullptr) KillAgent(agent->node());
      return;
    case 3:
      if (agent != nullptr && agent->up())
        agent->ExitProgram(world_.Chance(50) ? 0 : 1);
      return;
    case 4:
      if (controller_ != nullptr) KillImd();
      return;
    case 5:
      dies_in_turn_ = true;  // in the middle of what comes next
      return;
    case 6:
      Trace("no memory is left");
      memory_full_ = true;
      return world_.After(world_.UpTo(seconds(6)), [this] { memory_full_ = false; });
    default:
      if (!world_.Chance(30)) return;
      Trace("the disk is full");
      disk_full_ = true;
      return world_.After(world_.UpTo(seconds(3)), [this] { disk_full_ = false; });
  }
}

}  // namespace im::simulation
