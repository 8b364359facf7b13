// Controller: carries out what the activator decides.
//
// It joins the parts that know nothing of each other: activator (when),
// provider (how; nobody else calls it), tunnel peers, introductions, control
// channel, gateway. One turn of the loop: events come in, the activator
// decides, messages and packets are collected; at the end of the turn they are
// sent, the one timer is set, and the state is saved if it changed.
//
//  Start      new key pair; the key becomes a peer of the gateway's tunnel (its
//             addresses, no endpoint yet), then the provider starts the agent. The
//             first status makes the host Running: held packets are delivered,
//             and their senders introduced.
//  Release    the host is withdrawn from all who know it; when all have
//             acknowledged (or kWithdrawBound has passed) the agent is told to
//             release; it ends, or refuses. Packets that come meanwhile find
//             no route and are held. A wake before the agent was told simply
//             cancels.
//  End        the peer is removed, so that the incarnation is fenced off.
//  Checkpoint the same as a release; the agent finds out that the host is on disk,
//             or that it cannot be; of a group, in steps that all its agents take before
//             the next one (activator_group_disk.cc). What is on disk when an instance has ended,
//             and only that, says whether there is a checkpoint (checkpoint_store.h)
//  Restart    instances of the saved state are adopted: peer with the saved
//             endpoint, a handshake from here, and a DesiredState, which the
//             agent answers with its status.

#ifndef IM_ORCHESTRATOR_CONTROLLER_H_
#define IM_ORCHESTRATOR_CONTROLLER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/event_loop.h"
#include "base/random.h"
#include "orchestrator/activator.h"
#include "orchestrator/address_pool.h"
#include "orchestrator/checkpoint_store.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/connections_on_disk.h"
#include "orchestrator/control_channel.h"
#include "orchestrator/event_log.h"
#include "orchestrator/gateway.h"
#include "orchestrator/group_suspender.h"
#include "orchestrator/guests.h"
#include "orchestrator/instance.h"
#include "orchestrator/introductions.h"
#include "orchestrator/lifecycle_meter.h"
#include "orchestrator/memory_admission.h"
#include "orchestrator/names/name_index.h"
#include "orchestrator/passing_names.h"
#include "orchestrator/peers.h"
#include "orchestrator/provider.h"
#include "orchestrator/start_requests.h"
#include "orchestrator/tunnel_edge.h"
#include "proto/api.pb.h"
#include "proto/state.pb.h"

namespace im::orchestrator {

// How long a release waits for those who know the host to forget it.
inline constexpr Duration kWithdrawBound = std::chrono::seconds(1);

// The saved state is written at most for this share of the time: after a write
// that took t, the next one comes kSaveQuiet * t later at the earliest.
inline constexpr int kSaveQuiet = 20;

// Incarnations that are skipped for each orchestrator since the one that wrote
// the state: the most starts that one can make without being able to save.
inline constexpr uint64_t kIncarnationGap = 1 << 20;

// Above all incarnations that orchestrators before number `life` (the first is
// 1) have used, those that could not write to a full disk too. `saved`: the
// state that is there, or an empty one.
uint64_t FirstIncarnation(const proto::SavedState& saved, uint64_t life);

class Controller final : public Activator::Delegate,
                         public Activator::Admission,
                         public Provider::Delegate,
                         public ControlChannel::Delegate,
                         public Gateway::Delegate {
 public:
  // At most one; for whoever waits (`im wake`, `im release`).
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void OnTransition(const Transition& transition) = 0;
    // Nothing tries to start the host any more.
    virtual void OnWakeOver(HostId host, absl::string_view reason) = 0;
    // A status came that was made with knowledge of all that the agent was
    // told, AskForStatus too.
    virtual void OnAnswer(HostId host) = 0;
  };

  struct Options {
    std::string state_dir;  // absolute
    tunnel::PublicKey gateway_key;
    Endpoint gateway_endpoint;  // where agents reach the gateway
    uint64_t first_incarnation = 1;  // FirstIncarnation
    uint64_t life = 1;
    Activator::Limits limits;
    // What takes hosts to disk, its path; and where. Empty: none goes there.
    std::string criu;
    std::string checkpoints_directory;
    // nullptr: hosts are started whatever memory there is.
    MemoryAdmission::Available available_memory;
    Introductions::Times introduction_times;
    ControlChannel::Times control_times;
  };

  // All must outlive it. `hosts` was filled by AddHosts from `spec`.
  Controller(const Options& options, const ClusterSpec& spec, HostTable& hosts, EventLoop& loop,
             Random& random, TunnelEdge& tunnel);
  ~Controller() override;

  // Before anything else. `provider`'s delegate is this; `save` writes the
  // state to disk.
  void SetProvider(Provider* provider) { provider_ = provider; }
  void SetSave(std::function<void(const proto::SavedState&)> save) { save_ = std::move(save); }
  void SetObserver(Observer* observer) { observer_ = observer; }

  // Takes back the instances of an earlier orchestrator, and its checkpoints.
  void Restore(const std::optional<proto::SavedState>& saved);
  // Starts what is to run always. After Restore.
  void Begin();

  Gateway& gateway() { return gateway_; }
  const Gateway& gateway() const { return gateway_; }
  Peers& peers() { return peers_; }
  EventLog& events() { return events_; }
  const EventLog& events() const { return events_; }
  const LifecycleMeter& meter() const { return meter_; }
  const HostTable& hosts() const { return hosts_; }
  const Activator& activator() const { return activator_; }
  const ControlChannel& control() const { return control_; }
  const GroupSuspender& groups() const { return groups_; }
  const ClusterSpec& spec() const { return spec_; }
  const StartRequests& requests() const { return requests_; }
  // All names: those of the spec, and of guests and peers while they are there.
  names::NameIndex& name_index() { return names_; }
  const Options& options() const { return options_; }
  const ConnectionsOnDisk& connections_on_disk() const { return connections_on_disk_; }
  EventLoop& loop() const { return loop_; }
  const TunnelEdge& tunnel() const { return tunnel_; }
  // nullptr: no instance lives.
  const Instance* FindInstance(HostId host) const;
  // Where its tunnel was last heard from.
  std::optional<Endpoint> EndpointOf(const Instance& instance) const {
    return tunnel_.EndpointOf(instance.key);
  }

  // ---- what people ask for ----

  absl::Status Wake(HostId host, const Cause& cause);
  // A client connected to a published port of the host; its packets follow.
  // `text`: "127.0.0.1:8080 from 127.0.0.1:51234".
  void OnPublishedClient(HostId host, absl::string_view text);
  absl::Status Suspend(HostId host);
  absl::Status Release(HostId host, absl::string_view reason);
  // False, and nothing will come of it, unless the host is Running.
  bool AskForStatus(HostId host);
  // `done` when no instance is left.
  void Shutdown(absl::string_view reason, bool force, std::function<void()> done);

  // A guest of `im run`, whose command line is `command`; `on_end` if it ends
  // otherwise than by Leave.
  absl::StatusOr<proto::JoinReply> Join(const std::string& name, absl::string_view command,
                                        std::function<void(absl::Status)> on_end);
  void Leave(const std::string& name);

  // Saves now, whatever the bound.
  void Save();

  // ---- Activator::Delegate ----
  void StartInstance(HostId host, uint64_t incarnation, const Cause& cause) override;
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal,
               const Cause& cause) override;
  void Deliver(HostId host, PacketBatch packets) override;
  void Refuse(HostId host, PacketBatch packets, absl::string_view reason, bool wake_over) override;
  void OnTransition(const Transition& transition) override;
  void OnWait(HostId host, absl::string_view reason) override;
  // ---- Activator::Admission ----
  std::optional<std::string> Start(HostId host, Instant now) override {
    return memory_.Start(host, now);
  }

  // ---- Provider::Delegate ----
  void OnStarted(const InstanceId& id, const InstanceHandle& handle) override;
  void OnEnded(const InstanceId& id, const proto::ExitReport& report) override;

  // ---- ControlChannel::Delegate ----
  void OnStatus(const IpAddress& host, const proto::InstanceStatus& status,
                bool goal_known) override;

  // ---- Gateway::Delegate ----
  void OnControlPacket(const Packet& packet, const IpView& view) override;
  void OnForwarded(const IpAddress& from, const IpAddress& to) override;
  bool OnPacketToSleeper(const Packet& packet, const IpView& view) override;
  std::optional<tunnel::PublicKey> PeerOf(const IpAddress& host) const override;

 private:
  Instant now() const { return loop_.now(); }
  Instance* Find(HostId host, uint64_t incarnation);
  Instance& AddInstance(HostId host, uint64_t incarnation, const tunnel::PublicKey& key,
                        const Cause& cause, bool adopted);
  absl::Status Start(Instance& instance, const tunnel::PrivateKey& key);
  // Tells the agent the newest goal, if it may hear of it.
  void SendDesired(Instance& instance);
  void BeginWithdrawal(Instance& instance);
  // The instance is gone: forgets it and tells the activator.
  void Ended(HostId host, const Activator::End& end);
  // controller_groups.cc: what GroupSuspender is told, and asks for.
  void ReportToGroup(HostId host, const proto::GroupStatus& status);
  void RunGroupActions();
  // The instance has ended for good.
  void TellFellows(const Instance& ended);
  void EndGuest(HostId host, const absl::Status& why);
  // controller_checkpoints.cc
  void AdoptCheckpoints();
  absl::Status PrepareCheckpointing(HostId host, proto::StartRequest& request) const;
  std::optional<proto::CheckpointManifest> CheckpointOf(HostId host) const;
  // With what is on disk of the host.
  Activator::End EndOf(HostId host, const proto::ExitReport& report);
  void RemoveCheckpoint(const Transition& transition);
  // Whether a packet to a host on disk needs nothing of the host.
  bool AnsweredFor(HostId host, const Packet& packet, const IpView& view);
  bool GoesToDisk(HostId host) const { return hosts_.policy(host).to_disk; }
  void RestoreInstances(const proto::SavedState& saved);
  void AdoptStarts(const proto::SavedState& saved);
  void AdoptSaved(const proto::SavedInstance& saved, HostId host);
  static void NoteEndpoint(const Instance& instance, const Endpoint& endpoint);
  void KillStray(const proto::SavedInstance& saved);
  proto::SavedState ToSave() const;

  // Asks for EndOfTurn, once a turn.
  void Touch();
  void EndOfTurn();
  void SendControl();

  const Options options_;
  const ClusterSpec& spec_;
  HostTable& hosts_;
  EventLoop& loop_;
  Random& random_;
  TunnelEdge& tunnel_;
  StartRequests requests_;
  CheckpointStore checkpoints_;
  ConnectionsOnDisk connections_on_disk_;
  Gateway gateway_;
  MemoryAdmission memory_;
  Activator activator_;
  Introductions introductions_;
  ControlChannel control_;
  GroupSuspender groups_;
  EventLog events_;
  AddressPool addresses_;  // what the spec's hosts leave
  PassingNames passing_names_;
  names::NameIndex names_;
  Guests guests_;
  Peers peers_;
  LifecycleMeter meter_;
  Provider* provider_ = nullptr;
  Observer* observer_ = nullptr;
  std::function<void(const proto::SavedState&)> save_;
  absl::flat_hash_map<HostId, std::unique_ptr<Instance>> instances_;
  // Hosts' last instances that no spec names any more; being killed.
  absl::flat_hash_set<InstanceId> strays_;
  std::function<void()> on_all_ended_;
  bool shutting_down_ = false;
  bool touched_ = false;
  bool dirty_ = false;
  Instant save_not_before_;
  EventLoop::Timer timer_;
  // Cleared by the destructor, so that what waits for the loop finds nobody.
  std::shared_ptr<Controller*> self_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CONTROLLER_H_
