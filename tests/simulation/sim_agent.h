// SimAgent: one incarnation of a host: its agent, its kernel and its program.
//
// Real: the control messages (agent/control_client.h), the idle detector, the
// GroupPauser and the GroupDisk. Made up after agent.cc, pauser.cc and direct_peers.cc: what joins
// them, the tunnel, the sandbox, CRIU. The program answers each SYN with SYN+ACK,
// and data of connections that it has; it calls others when it is told to, may have
// a timer, and as a member of a group sends beats to those it leads, and answers
// those that come.

#ifndef IM_TESTS_SIMULATION_SIM_AGENT_H_
#define IM_TESTS_SIMULATION_SIM_AGENT_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "base/ip_header.h"
#include "orchestrator/agent/control_client.h"
#include "orchestrator/agent/group_disk.h"
#include "orchestrator/agent/group_pauser.h"
#include "orchestrator/agent/idle_detector.h"
#include "orchestrator/host.h"
#include "orchestrator/provider.h"
#include "proto/agent.pb.h"
#include "tests/simulation/sim_tunnel.h"
#include "tests/simulation/world.h"
#include "tunnel/keys.h"

namespace im::simulation {

// Where programs listen, and where those of a group get beats.
inline constexpr uint16_t kServicePort = 6379;
inline constexpr uint16_t kDatagramPort = 53;
inline constexpr uint16_t kBeatPort = 7000;

class SimAgent final : public agent::ControlClient::Delegate,
                       public agent::IdleDetector::Delegate,
                       public agent::GroupDisk::Delegate,
                       public agent::GroupPauser::Delegate {
 public:
  static constexpr Duration kBeat = std::chrono::milliseconds(100);
  // Beyond kAnswerMax: so long may wait who is woken in the moment when it fell
  // asleep, since its fellow's answer came just before that.
  static constexpr Duration kTimeout = agent::GroupPauser::kAnswerMax + std::chrono::seconds(1);

  // How it goes to disk, or comes back.
  struct DiskFate {
    Duration takes{0};
    bool fails = false;
    bool lost = false;  // what was in its memory
  };
  // What is in its program's memory. An incarnation that is restored has that of
  // the one that began this life.
  struct Connection {
    uint32_t receive_next = 0, send_next = 0;
  };
  struct Fellow {
    Node life = 0, node = 0;  // who beats: since when it lives, and where it is now
    uint32_t number = 0;      // of its newest beat
  };
  struct Memory {
    Node life = 0;          // who began it
    uint32_t snapshot = 0;  // how often it went to disk
    std::map<Endpoint, Connection> connections;  // by their peers
    uint32_t beats = 0;     // that it has sent, answers too
    std::map<IpAddress, Fellow> fellows;  // by their IPv4 addresses
  };

  class Delegate {
   public:
    virtual ~Delegate() = default;
    virtual World& world() = 0;
    // nullptr: it is dead.
    virtual SimAgent* FindAgent(Node node) = 0;
    virtual SimAgent* FindAgent(const tunnel::PublicKey& key) = 0;
    // Which imd runs; 0: none.
    virtual uint64_t imd() const = 0;
    // To that imd, if it runs and has a session with us.
    virtual void ToGateway(SimAgent& from, uint64_t imd, const std::vector<uint8_t>& bytes) = 0;
    // Whether the answer is on its way.
    virtual void HandshakeToGateway(SimAgent& from) = 0;
    virtual void OnProgramGets(SimAgent& agent, const std::vector<uint8_t>& bytes) = 0;
    virtual void OnLost(SimAgent& agent, const std::vector<uint8_t>& bytes, bool idle) = 0;
    virtual void OnExit(SimAgent& agent, const proto::ExitReport& report) = 0;  // destroys it
    // Nothing of that life came while it slept.
    virtual void OnMissedBeat(SimAgent& agent, const IpAddress& fellow, Node life) = 0;
    // A life goes on with less than it had said already.
    virtual void OnOldBeat(SimAgent& agent, const IpAddress& fellow) = 0;
    virtual void OnThaw(SimAgent& agent) = 0;  // is about to
    virtual bool BeatsAreChecked() = 0;
    virtual DiskFate FateOnDisk(orchestrator::HostId host, bool restore) = 0;
    virtual bool CommitFails() = 0;
    virtual void OnCheckpointed(SimAgent& agent) = 0;
    // As it was when it went to disk.
    virtual Memory MemoryOnDisk(orchestrator::HostId host, Node life, uint32_t snapshot) = 0;
    // Its program begins; snapshot 0: with nothing in its memory.
    virtual void OnMemory(SimAgent& agent, const Memory& memory) = 0;
  };
  // What its program will do.
  struct Behaviour {
    Duration boot{0};             // of the agent, then of the program
    Duration stop{0};
    bool start_fails = false;
    bool hangs = false;           // never comes up, or never stops
    uint64_t busy_percent = 0;    // when it is looked at
    uint64_t timer_percent = 0;   // a timer, at each pause
    std::vector<IpAddress> leads;  // sends them beats
    bool beats = false;
    Duration tested{0};           // so long its healthcheck fails
    Duration works{0};            // so long, then it ends; zero: it is a server
    bool work_fails = false;
  };

  SimAgent(Delegate& delegate, Node node, orchestrator::HostId host,
           const proto::StartRequest& request, const Behaviour& behaviour);

  const orchestrator::InstanceId& id() const { return id_; }
  orchestrator::HostId host() const { return host_; }
  Node node() const { return node_; }
  const IpAddress& address() const { return address_; }  // of IPv4
  const tunnel::PublicKey& key() const { return key_; }
  Instant began_at() const { return began_at_; }
  bool up() const { return program_ && !stopping_; }
  bool paused() const { return paused_; }
  bool stopping() const { return stopping_; }
  // Frozen whatever comes: on its way to disk, or just restored.
  bool held() const { return dumping_ || group_disk_.held(); }
  // On the way between its instances.
  bool between() const {
    return (checkpointing_ && checkpointing_->restore() && !program_) ||
           group_disk_.state() == agent::GroupDisk::State::kDumping ||
           group_disk_.state() == agent::GroupDisk::State::kDumped;
  }
  Memory& memory() { return memory_; }
  const Memory& image() const { return image_; }  // as it was copied
  std::string Text() const;

  // ---- the program ----
  void Send(const std::vector<uint8_t>& packet);
  void ExitProgram(int exit_code);
  // ---- the provider ----
  void Stop();
  // ---- the network ----
  void OnHandshakeOfGateway(uint64_t imd);
  void OnGatewayAnswers(uint64_t imd);
  void OnPacket(uint64_t imd, const std::vector<uint8_t>& bytes);
  void OnDirectPacket(const tunnel::PublicKey& from, const std::vector<uint8_t>& bytes);
  // ---- time ----
  Instant NextDeadline() const;
  void OnTimer();

  // ControlClient::Delegate:
  void SendControl(const std::string& message) override;
  void OnDesired(const proto::DesiredState& desired) override;
  void OnPeer(const IpAddress& address, const proto::PeerUpdate& update) override;
  // IdleDetector::Delegate:
  agent::IdleEvidence LookAtProcesses(Look what) override;
  std::string LookAtTimers() override { return {}; }
  void OnIdle() override;
  // GroupPauser::Delegate:
  bool BusyNow() override { return world_.Chance(busy_percent_ / 3); }
  bool Freeze() override;
  void ThawNow(const proto::WakeCause& cause) override { Thaw(cause, /*used=*/true); }
  void OnGroupUse() override;
  void OnGroupChange() override { Publish(); }
  // GroupDisk::Delegate:
  absl::Status BeginGroupDump() override;
  absl::Status CommitDump() override;
  void DiscardDump() override;
  void OnLoose() override;
  void NotCheckpointed(const absl::Status& why) override;

 private:
  struct Peer {
    tunnel::PublicKey key;
    bool up = false;
    Instant asked_at;
    Instant silent_since = kNever;  // sent to, and nothing came back
  };

  // sim_agent_network.cc
  void ConnectGateway();
  void SendByGateway(const std::vector<uint8_t>& bytes);
  void ConnectPeer(const IpAddress& address);
  void JoinControl();
  void StartProgram();
  void RunProgram();
  void BecomeReady();
  void OnWorkDone();
  void OnInside(const std::vector<uint8_t>& bytes);
  void Wake(const proto::WakeCause& cause);
  bool may_be_woken() const { return paused_ || (group_ && group_->ready()); }
  bool PauseNow();
  void Thaw(const proto::WakeCause& cause, bool used);
  void StopPausing();
  void DecideReleaseIfIdle(uint64_t thaws_before);
  void End(proto::ExitReport::Reason reason, int exit_code, const std::string& message);
  void Publish();
  proto::InstanceStatus MakeStatus() const;
  void ReadAll();
  void Beat();
  void SendBeat(const IpAddress& fellow, bool answer);  // over the address's family
  void ToKernel(std::vector<uint8_t> bytes);
  bool HasUnreadBeat(const IpAddress& fellow) const;
  // sim_agent_disk.cc
  std::string CheckpointPath(const char* rest) const;
  static absl::Status Unsupported() {
    return absl::UnimplementedError("CRIU: something is not supported");
  }
  void BeginCheckpoint();
  void BeginDump();
  void BeginMove();
  void OnDumpEnded(const DiskFate& fate);
  void WriteCheckpoint();
  void LetGo();
  void ReadCheckpoint();
  void BeginRestoreIfReady();
  void OnRestoreEnded(const DiskFate& fate);
  // sim_agent_group_disk.cc
  void HoldForGroup();
  void OnGroupDumpEnded(bool failed);
  void OnCalledOff();
  void PutGroupIn(proto::CheckpointManifest& manifest) const;
  void HoldRestored();
  // Runs `what` later, if this one lives then.
  void After(Duration delay, void (SimAgent::*what)());

  Delegate& delegate_;
  World& world_;
  const Node node_;
  const orchestrator::HostId host_;
  const orchestrator::InstanceId id_;
  const IpAddress address_;
  const IpAddress gateway_;
  const DualStack dual_stack_;
  const tunnel::PublicKey key_;
  const Behaviour behaviour_;
  const Duration stop_grace_;
  const Instant began_at_;
  const bool tells_connections_;
  uint64_t busy_percent_;
  agent::ControlClient control_;
  agent::IdleDetector detector_;
  std::optional<agent::GroupPauser> group_;

  // The tunnel.
  uint64_t imd_ = 0;  // with which a session is up
  bool gateway_seen_ = false;
  Instant connect_at_ = kNever;        // the next handshake
  Instant gateway_silent_since_ = kNever;
  std::vector<std::vector<uint8_t>> waiting_;
  std::map<IpAddress, Peer> peers_;

  bool ready_ = true;  // its healthcheck has succeeded, if it has one
  bool program_ = false, paused_ = false, stopping_ = false, ended_ = false;
  bool may_pause_ = false, refused_release_ = false, publish_due_ = false;
  bool released_as_idle_ = false, work_done_ = false;
  uint32_t connections_ = 0;  // when it was paused
  uint64_t thaws_ = 0, wakes_seen_ = 0, suspends_seen_ = 0;
  proto::WakeCause cause_;
  Instant give_up_at_, timer_at_ = kNever, kill_at_ = kNever, leave_at_ = kNever;
  proto::ExitReport report_;
  Memory memory_, image_;
  // To disk, and back.
  std::optional<proto::Checkpointing> checkpointing_;
  bool dumping_ = false, stop_after_dump_ = false, moving_ = false;
  agent::GroupDisk group_disk_{*this};
  bool ready_to_restore_ = false, restore_begun_ = false;
  bool keeps_ = false;  // what comes
  std::vector<std::vector<uint8_t>> kept_;
  std::optional<proto::WakeCause> wake_when_loose_;
  std::string not_checkpointed_;
  proto::CheckpointManifest manifest_;
  // Of a frozen program: what its kernel keeps.
  std::vector<std::vector<uint8_t>> kernel_;
  Instant paused_at_;
};

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_SIM_AGENT_H_
