// A whole cluster in virtual time, out of one seed.
//
// Real: Controller and all below it (host table, activator, held packets,
// gateway, introductions, control channel, groups, saved state), and the agents'
// logic (sim_agent.h). Made up: the network (world.h), the tunnels without their
// cryptography, the provider, programs and their callers.
//
// Seeds are of several kinds: a calm world; a bad network; a world in which
// providers fail, hang, are slow, tell things twice or late, agents, programs and
// imd die at any step (imd is started again from what it has saved), and disk and
// memory are full for a while; and all of that at once. In most of them some hosts go
// to disk (`on_release: checkpoint`), which takes time, fails, and ends in the middle, some
// have a healthcheck, and some are started after others, or when another has done its job. In
// half of them hosts have an address of each family, and everybody calls them by either.
//
// Checked all the time:
//  1. A packet that is held is delivered or refused within its host's
//     start_timeout, once, and nothing else is held.
//  2. Two instances of a host never live at once, and no packet comes to an older
//     one after a newer one got one.
//  3. A wake without a packet ends in Running or a refusal within twice
//     start_timeout (of a group that goes to disk: the longest of its members'), and the time
//     that the last instance takes to end.
//  4. In a calm world every call is answered, none is refused, and no packet
//     comes to an instance that was released: wake beats suspend.
//  5. States change along the table (HostTable checks); starts in flight stay
//     below the cap.
//  6. Nothing is delivered more often than it was sent, and only what its sender's tunnel
//     may carry comes to the gateway.
//  7. A checkpoint is restored at most once, and none after a newer instance ran. In a
//     calm world nothing in memory is lost: connections to hosts on disk are answered,
//     and never reset; their keepalives are answered without the host.
//  8. A group is not left with a frozen member beside one that runs for longer than a
//     step of falling asleep may take, nor with one on disk. In a calm world nobody runs while
//     a fellow is on disk, or on its way there or back; what goes on has not forgotten what
//     others have of it; and hardly anybody misses a beat
//     (counted: group_suspender.h cannot promise it to who is woken while the group
//     falls asleep): whoever is thawed after more than its timeout finds something of
//     each fellow that it exchanges beats with (not where beats go in a circle).
//  9. No host is started while one that it needs is not up, or a job that it waits for has
//     never ended well.
//  10. No instance of a host that is renewed (max_lifetime) lives for much longer than it
//     may, and its stop takes. Who waited to be started again when imd died is so by the
//     next.
// And at the end, when the world is well again and left alone:
//  11. Hosts rest as their policies say (of groups, all but very few); what the table
//     says of each is what its instance does; there is no instance that imd does not
//     know; who is to run beside another (wake_with) does.
//  12. Every host answers a call.
//  13. After the shutdown nothing is left: no instance, packet, record, peer,
//     message, checkpoint or deadline.

#ifndef IM_TESTS_SIMULATION_CLUSTER_SIMULATION_H_
#define IM_TESTS_SIMULATION_CLUSTER_SIMULATION_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/event_loop.h"
#include "base/ip_header.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/controller.h"
#include "tests/simulation/sim_agent.h"
#include "tests/simulation/sim_provider.h"
#include "tests/simulation/sim_tunnel.h"
#include "tests/simulation/world.h"

namespace im::simulation {

using orchestrator::HostId;
using orchestrator::HostState;

class ClusterSimulation final : public SimAgent::Delegate,
                                public SimTunnel::Delegate,
                                public SimProvider::Delegate,
                                public orchestrator::Controller::Observer {
 public:
  // Figures that say whether a simulation reaches what it is for.
  struct Reached {
    uint64_t answered = 0, refused = 0, imd_deaths = 0, agent_deaths = 0, releases_cancelled = 0,
             group_sleeps = 0, missed_beats = 0, restless_groups = 0, starts = 0, thaws = 0, lost = 0,
             checkpoints = 0, restores = 0, said = 0, keepalives = 0, moves = 0, needs = 0, jobs = 0,
             group_disk = 0, renewals = 0, overdue = 0, started_again = 0;
    // Of those, over IPv6; calls that one host made of another; and datagrams.
    uint64_t answered6 = 0, refused6 = 0, said6 = 0, keepalives6 = 0, within6 = 0, datagrams6 = 0,
             unreachable6 = 0;
    void Add(const Reached& other);
  };

  // `directory` exists. `trace`: what happens, to stderr. `disk`: hosts may go there.
  ClusterSimulation(uint64_t seed, const std::string& directory, bool trace, bool disk = true);
  ~ClusterSimulation() override;

  void RunAll();
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  const Reached& reached() const { return reached_; }

  // SimAgent::Delegate:
  World& world() override { return world_; }
  SimAgent* FindAgent(Node node) override;
  SimAgent* FindAgent(const tunnel::PublicKey& key) override;
  uint64_t imd() const override { return controller_ == nullptr ? 0 : imd_; }
  void ToGateway(SimAgent& from, uint64_t imd, const std::vector<uint8_t>& bytes) override;
  void HandshakeToGateway(SimAgent& from) override;
  void OnProgramGets(SimAgent& agent, const std::vector<uint8_t>& bytes) override;
  void OnLost(SimAgent& agent, const std::vector<uint8_t>& bytes, bool idle) override;
  void OnExit(SimAgent& agent, const proto::ExitReport& report) override;
  void OnMissedBeat(SimAgent& agent, const IpAddress& fellow, Node life) override;
  void OnOldBeat(SimAgent& agent, const IpAddress& fellow) override;
  void OnThaw(SimAgent& agent) override;
  bool BeatsAreChecked() override { return calm_ && shape_ != Shape::kCircle; }
  SimAgent::DiskFate FateOnDisk(HostId host, bool restore) override;
  bool CommitFails() override { return disk_full_ || (deaths_ && world_.Chance(3)); }
  void OnCheckpointed(SimAgent& agent) override;
  SimAgent::Memory MemoryOnDisk(HostId host, Node life, uint32_t snapshot) override;
  void OnMemory(SimAgent& agent, const SimAgent::Memory& memory) override;
  // SimTunnel::Delegate:
  void OnGatewaySends(const tunnel::PublicKey& peer, const std::vector<uint8_t>& bytes) override;
  void HandshakeToAgent(Node node, const tunnel::PublicKey& key) override;
  void PacketToAgent(Node node, const std::vector<uint8_t>& bytes) override;
  // SimProvider::Delegate:
  Node AddAgent(const proto::StartRequest& request) override;
  void KillAgent(Node node) override;
  void StopAgent(Node node) override;
  void InImd(uint64_t imd, std::function<void(orchestrator::Controller&)> what) override;
  // Controller::Observer:
  void OnTransition(const orchestrator::Transition& transition) override;
  void OnWakeOver(HostId host, absl::string_view reason) override;
  void OnAnswer(HostId) override {}

 private:
  enum class Shape { kStar, kChain, kCircle, kSilent };
  struct Call {
    HostId to = 0;
    Node from = kImd;
    bool v6 = false;
    int tries = 0;
    bool must_be_answered = false;
    Instant bound;
  };
  struct Held {
    HostId host = 0;
    Instant bound;
    IpAddress source;  // of IPv4
    bool source_gone = false;  // nobody can be told any more
    size_t copies = 0;
  };
  // A packet in the gateway's hands.
  struct Passing {
    const std::vector<uint8_t>* bytes = nullptr;
    uint32_t key = 0;
    int gone = 0;  // of its key, since then
    uint64_t held = 0, not_held = 0;  // the activator's counters before
  };
  // A connection that a call became.
  struct Conversation {
    HostId to = 0;
    Node from = kImd;
    bool v6 = false;
    bool lasts = false;         // and must be answered
    uint32_t next = 0;          // sequence numbers: to be sent,
    uint32_t acknowledged = 1001;  // to come
    int tries = 0;              // of what waits for its answer; 0: nothing does
    Instant bound = kNever;
  };
  // Of a host: of the program that ran last, or of what is on disk.
  struct NewestMemory {
    SimAgent::Memory memory;
    bool used = false;
  };
  class StackSink;

  // cluster_simulation.cc
  void MakeSpec();
  void MakeNeeds();
  void MakeJob();
  void MakeFamilies();
  void StartImd();
  void KillImd();
  void Turn(const std::function<void()>& what);
  void Pass(Duration by);
  bool RunNext(Instant end);
  template <typename... Parts>
  void Trace(const Parts&... parts) const {
    if (trace_) PrintTrace(absl::StrCat(Shown(parts)...));  // most runs are not traced
  }
  void PrintTrace(const std::string& what) const;
  template <typename Part>
  static const Part& Shown(const Part& part) { return part; }
  static std::string Shown(const SimAgent& agent) { return agent.Text(); }
  void Fail(const std::string& what);
  void ToRest();
  bool Lives(const IpAddress& address) const;  // an agent has it

  // callers.cc
  void Step();
  void StepOfFault(HostId host);
  std::pair<Duration, Duration> StartTimeouts(HostId host);
  void SendCall(HostId to, Node from, bool must_be_answered = false);
  void RepeatCall(uint32_t number);
  void SendOdd(HostId to, Node from);
  void SendFrom(Node from, const std::vector<uint8_t>& bytes);
  std::vector<uint8_t> CallPacket(const Call& call, uint32_t number);
  bool DrawV6() { return spec_.dual_stack.on() && families_.Below(2) == 0; }
  IpAddress ByFamily(const IpAddress& address, bool v6) const {
    return v6 ? spec_.dual_stack.ToV6(address) : address;
  }
  IpAddress SourceOf(Node from, bool v6);
  void ToStack(const std::vector<uint8_t>& bytes);
  void OnSynAck(uint32_t number);
  void OnRefusal(uint32_t number);

  void CheckStartedAgain();
  bool IsRenewed(HostId host) const;

  // conversations.cc
  bool GoesToDisk(HostId host);
  void BeginConversation(uint32_t number, const Call& call);
  bool StepOfConversation();
  void Say(uint32_t number);
  void RepeatSaying(uint32_t number, uint32_t sequence);
  void SendKeepalive(uint32_t number);
  std::vector<uint8_t> ConversationPacket(uint32_t number, uint32_t sequence,
                                          std::span<const uint8_t> data);
  void OnSaid(const IpView& view);
  void OnReset(uint32_t number);
  std::vector<uint32_t> LastingConversations() const;
  void OnDataToProgram(SimAgent& agent, const IpView& view, const std::vector<uint8_t>& bytes);

  // checks.cc
  void CountSent(const std::vector<uint8_t>& bytes);
  void CountServed(const SimAgent& agent, const IpView& view);
  void BeforeGateway(const std::vector<uint8_t>& bytes);
  void AfterGateway();
  void OneIsGone(uint32_t key);
  void OnSentByImd(const IpView& view, const std::vector<uint8_t>& bytes);
  void Check();
  Instant BoundIn(Duration time);
  void CheckBounds();
  void CheckNeeds(const orchestrator::Transition& t);
  void CheckLifetimes();
  void CheckGroups();
  bool Follows(const orchestrator::HostSpec& host) const;
  bool FollowsRunning(const orchestrator::HostSpec& host) const;
  void CheckRest();
  void CheckNothingLeft();
  SimAgent* AgentOf(HostId host);

  static constexpr uint64_t kNeedsSeed = 0x6e656564, kJobSeed = 0x6a6f62,
                            kFamiliesSeed = 0x697036;
  const uint64_t seed_;
  World world_;
  SeededRandom families_;  // by which of them is called
  const std::string directory_;
  const bool trace_;
  bool calm_ = false, deaths_ = false, disk_ = false, doubles_ = false, steps_over_ = false;
  uint64_t start_failures_ = 0, hangs_ = 0, disk_failures_ = 0;
  Shape shape_ = Shape::kSilent;
  orchestrator::ClusterSpec spec_;
  std::optional<HostId> job_;  // one whose program ends by itself
  orchestrator::Activator::Limits limits_;
  std::unique_ptr<EventLoop> loop_;
  tunnel::PublicKey gateway_key_;

  // imd
  uint64_t imd_ = 0;
  Instant imd_began_at_;
  bool dies_in_turn_ = false, disk_full_ = false, memory_full_ = false;
  uint64_t slow_disk_ = 0;
  proto::SavedState saved_;
  std::unique_ptr<orchestrator::HostTable> table_;
  std::unique_ptr<SimTunnel> tunnel_;
  std::unique_ptr<SimProvider> provider_;
  std::unique_ptr<StackSink> stack_;
  std::unique_ptr<orchestrator::Controller> controller_;
  bool in_turn_ = false;

  std::map<Node, std::unique_ptr<SimAgent>> agents_;
  std::vector<std::unique_ptr<SimAgent>> buried_;
  Node last_node_ = 0;
  SimProvider::Processes processes_;

  // What is promised.
  std::map<uint32_t, Call> calls_;
  std::map<uint32_t, Conversation> conversations_;  // by their numbers
  std::map<HostId, NewestMemory> memories_;
  uint32_t keepalive_ = 0;  // not answered yet
  std::map<uint32_t, Held> held_;  // by the packet's number
  // Of each number, where the network does not double packets.
  std::map<uint32_t, int> sent_, served_;
  std::map<HostId, std::multiset<Instant>> waiters_;
  bool taking_back_ = false;          // an imd those that live
  std::map<HostId, HostState> told_;  // by transitions, so far
  bool job_done_ = false;             // once
  std::map<HostId, uint64_t> newest_served_;
  Passing passing_;
  Instant next_bound_ = kNever;  // the first that has not passed of all of them
  uint32_t packet_number_ = 0;
  Instant split_since_, cut_until_;
  size_t paused_before_ = 0;  // of the group
  bool all_paused_ = false, all_on_disk_ = false;
  Reached reached_;
  std::string failure_;
};

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_CLUSTER_SIMULATION_H_
