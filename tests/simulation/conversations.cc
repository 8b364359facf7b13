// Connections that outlive what is said on them: their callers say something now
// and then, also when the host has been released meanwhile.

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ip_build.h"
#include "tests/simulation/cluster_simulation.h"

namespace im::simulation {
namespace {

using std::chrono::seconds;

// As a kernel repeats what is not acknowledged.
constexpr int kConversationTriesMax = 5;
constexpr Duration kConversationBound = seconds(15);
constexpr size_t kSaid = 20;  // bytes

}  // namespace

bool ClusterSimulation::GoesToDisk(HostId host) {
  return spec_.hosts[host].on_release == orchestrator::OnRelease::kCheckpoint;
}

// ---- the caller -------------------------------------------------------------

void ClusterSimulation::BeginConversation(uint32_t number, const Call& call) {
  if (!disk_) return;
  // What is on disk is not lost where nothing is killed.
  conversations_[number] = {.to = call.to,
                            .from = call.from,
                            .v6 = call.v6,
                            .lasts = calm_ && call.from == kImd && GoesToDisk(call.to),
                            .next = number + 1};
}

// False: nobody has anything to say.
bool ClusterSimulation::StepOfConversation() {
  if (conversations_.empty()) return false;
  const auto it = std::next(conversations_.begin(),
                            static_cast<long>(world_.random().Below(conversations_.size())));
  const uint32_t number = it->first;
  const Conversation& conversation = it->second;
  if (conversation.tries > 0) return false;
  if (conversation.from != kImd && FindAgent(conversation.from) == nullptr) {
    conversations_.erase(it);
    return false;
  }
  const bool on_disk = controller_ != nullptr &&
                       (*table_)[conversation.to].state == HostState::kCheckpointed;
  if (on_disk && conversation.from == kImd && world_.Chance(40)) {
    SendKeepalive(number);
  } else {
    Say(number);
  }
  return true;
}

void ClusterSimulation::Say(uint32_t number) {
  Conversation& conversation = conversations_.at(number);
  Trace("something is said on ", number, " to h", conversation.to);
  conversation.bound = BoundIn(kConversationBound);
  RepeatSaying(number, conversation.next);
}

void ClusterSimulation::RepeatSaying(uint32_t number, uint32_t sequence) {
  const auto it = conversations_.find(number);
  if (it == conversations_.end() || it->second.next != sequence) return;
  Conversation& conversation = it->second;
  const SimAgent* const caller = FindAgent(conversation.from);
  if ((conversation.from != kImd && caller == nullptr) ||
      ++conversation.tries > kConversationTriesMax) {
    if (!conversation.lasts) conversations_.erase(it);
    return;
  }
  world_.After(seconds(1) * (1 << (conversation.tries - 1)),
               [this, number, sequence] { RepeatSaying(number, sequence); });
  if (caller != nullptr && (caller->paused() || !caller->up())) return;
  const std::vector<uint8_t> data(kSaid, 'x');
  SendFrom(conversation.from, ConversationPacket(number, conversation.next, data));
}

// Of the host alone, which is on disk: it is not woken for it.
void ClusterSimulation::SendKeepalive(uint32_t number) {
  const Conversation before = conversations_.at(number);  // it may be reset at once
  Trace("keepalive on ", number, " to h", before.to);
  keepalive_ = number;
  SendFrom(kImd, ConversationPacket(number, before.next - 1, {}));
  if (std::exchange(keepalive_, 0) == 0) {
    ++reached_.keepalives;
    reached_.keepalives6 += before.v6;
  } else if (before.lasts) {
    Fail(absl::StrCat("the keepalive on ", number, " to h", before.to, " is not answered"));
  }
}

std::vector<uint8_t> ClusterSimulation::ConversationPacket(uint32_t number, uint32_t sequence,
                                                           std::span<const uint8_t> data) {
  const Conversation& conversation = conversations_.at(number);
  return BuildTcp({SourceOf(conversation.from, conversation.v6), static_cast<uint16_t>(number)},
                  {ByFamily(spec_.hosts[conversation.to].address, conversation.v6), kServicePort},
                  {.sequence = sequence,
                   .acknowledgment = conversation.acknowledged,
                   .flags = kTcpAck,
                   .window = 64'000},
                  data);
}

// Something of a connection came to its caller.
void ClusterSimulation::OnSaid(const IpView& view) {
  const auto it = conversations_.find(view.destination_port);
  if (it == conversations_.end() || view.source_port != kServicePort) return;
  Conversation& conversation = it->second;
  if (view.v6 != conversation.v6) return;
  if (view.payload_size() == 0) {
    if (keepalive_ == it->first && view.tcp_acknowledgment == conversation.next &&
        view.tcp_sequence == conversation.acknowledged)
      keepalive_ = 0;
    return;
  }
  if (conversation.tries == 0 || view.tcp_acknowledgment != conversation.next + kSaid) return;
  Trace("answered on ", it->first);
  ++reached_.said;
  reached_.said6 += conversation.v6;
  conversation.next += kSaid;
  conversation.acknowledged = view.tcp_sequence + 1;
  conversation.tries = 0;
  conversation.bound = kNever;
}

void ClusterSimulation::OnReset(uint32_t number) {
  const auto it = conversations_.find(number);
  if (it == conversations_.end()) return;
  Trace("connection ", number, " is reset");
  if (it->second.lasts)
    Fail(absl::StrCat("connection ", number, " to h", it->second.to, " was reset"));
  conversations_.erase(it);
}

// One of each host.
std::vector<uint32_t> ClusterSimulation::LastingConversations() const {
  std::map<HostId, uint32_t> found;
  for (const auto& [number, conversation] : conversations_)
    if (conversation.lasts && conversation.tries == 0) found.emplace(conversation.to, number);
  std::vector<uint32_t> numbers;
  for (const auto& [host, number] : found) numbers.push_back(number);
  return numbers;
}

// ---- the host ---------------------------------------------------------------

void ClusterSimulation::OnDataToProgram(SimAgent& agent, const IpView& view,
                                        const std::vector<uint8_t>& bytes) {
  const Endpoint peer{view.source, view.source_port};
  const auto it = agent.memory().connections.find(peer);
  if (it == agent.memory().connections.end()) {
    // Its kernel has no such connection.
    if (const auto refusal = BuildRefusal(bytes, RefusalKind::kPort)) agent.Send(*refusal);
    return;
  }
  SimAgent::Connection& connection = it->second;
  if (view.tcp_sequence == connection.receive_next) {
    connection.receive_next += static_cast<uint32_t>(view.payload_size());
    ++connection.send_next;
  }
  const std::vector<uint8_t> data(1, 'y');
  agent.Send(BuildTcp({view.destination, view.destination_port}, peer,
                      {.sequence = connection.send_next - 1,
                       .acknowledgment = connection.receive_next,
                       .flags = kTcpAck,
                       .window = 64'000},
                      data));
}

// ---- to disk, and back ------------------------------------------------------

SimAgent::DiskFate ClusterSimulation::FateOnDisk(HostId host, bool restore) {
  SimAgent::DiskFate fate;
  // Where nobody dies all calls are answered, so nobody may wait for a dump to the last.
  const Duration slow = deaths_ ? seconds(20)
                                : std::min<Duration>(seconds(2), StartTimeouts(host).first / 2);
  fate.takes = world_.Delay();
  const bool may_fail = deaths_ || !restore;
  if (world_.Chance(5) && may_fail) fate.takes = world_.UpTo(slow);
  if (!restore) fate.fails = disk_full_;
  fate.fails |= may_fail && world_.Chance(disk_failures_);
  fate.lost = deaths_ && world_.Chance(disk_failures_ / 4);
  return fate;
}

void ClusterSimulation::OnCheckpointed(SimAgent& agent) {
  Trace(agent, " is on disk");
  ++reached_.checkpoints;
  memories_[agent.host()] = {agent.image(), /*used=*/false};
}

SimAgent::Memory ClusterSimulation::MemoryOnDisk(HostId host, Node life, uint32_t snapshot) {
  const SimAgent::Memory& newest = memories_[host].memory;
  if (newest.life == life && newest.snapshot == snapshot) return newest;
  return {.life = life, .snapshot = snapshot};
}

void ClusterSimulation::OnMemory(SimAgent& agent, const SimAgent::Memory& memory) {
  if (!disk_) return;
  NewestMemory& newest = memories_[agent.host()];
  if (memory.snapshot > 0) {
    Trace(agent, " is restored");
    if (newest.used || newest.memory.life != memory.life ||
        newest.memory.snapshot != memory.snapshot)
      Fail(absl::StrCat(agent.Text(), " has an old memory, or one that was used"));
  } else if (newest.memory.life != 0 && calm_ && GoesToDisk(agent.host())) {
    Fail(absl::StrCat("what was in the memory of h", agent.host(), " is lost"));
  }
  newest = {memory, /*used=*/true};
}

}  // namespace im::simulation
