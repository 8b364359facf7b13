// Agent: one host's network and process supervisor.
//
// Life: Start() makes the cgroup, clones the sandbox's init, and opens the
// tunnel, so that the handshake with the gateway and the making of the
// namespaces go on at the same time. The first status leaves when the
// handshake is done; that is what makes the host Running, or, with a healthcheck, the
// first one after that has succeeded (readiness.h). From then on the
// loop moves packets (DataPath, Attachment), pauses and thaws (Pauser), and answers the
// orchestrator (ControlClient). It ends when the program does, when it is told
// to (SIGTERM or a DesiredState: stop signal, grace, SIGKILL), or when the
// gateway did not answer within start_timeout; then all processes are gone,
// the cgroup is removed, and instance_dir/exit says why.
//
// A program that ends by itself may have packets on their way to it. So the
// agent says RELEASING and stays, its kernel refusing what comes, until the
// orchestrator, which sends nothing more from then on and has told all others,
// answers RELEASE.
//
// With `checkpointing` a release that is asked for while the host is paused may
// put its processes on disk instead of stopping them, and a start may take them
// from there (checkpointer.h); with its group in steps (agent_group_disk.cc). Until it
// is restored nothing reaches the host's kernel, which would refuse what belongs to
// connections that it has not got yet.
//
// A gateway that goes away later changes nothing here: direct peers stay, and
// the status is repeated, ever more slowly, until somebody answers.

#ifndef IM_ORCHESTRATOR_AGENT_AGENT_H_
#define IM_ORCHESTRATOR_AGENT_AGENT_H_

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/dual_stack.h"
#include "base/event_loop.h"
#include "base/random.h"
#include "base/restore_watch.h"
#include "base/status.h"
#include "orchestrator/agent/attachment.h"
#include "orchestrator/agent/capture_server.h"
#include "orchestrator/agent/cgroup.h"
#include "orchestrator/agent/checkpointer.h"
#include "orchestrator/agent/control_client.h"
#include "orchestrator/agent/data_path.h"
#include "orchestrator/agent/direct_peers.h"
#include "orchestrator/agent/exec_server.h"
#include "orchestrator/agent/group_disk.h"
#include "orchestrator/agent/health_probe.h"
#include "orchestrator/agent/pauser.h"
#include "orchestrator/agent/program_output.h"
#include "orchestrator/agent/readiness.h"
#include "orchestrator/agent/sandbox.h"
#include "orchestrator/agent/use_meter.h"
#include "proto/agent.pb.h"
#include "tunnel/driver.h"

namespace im::agent {

class Agent final : public Sandbox::Delegate,
                    public DataPath::Delegate,
                    public ControlClient::Delegate,
                    public Pauser::Delegate,
                    public ExecServer::Delegate,
                    public Readiness::Delegate,
                    public GroupDisk::Delegate,
                    public tunnel::Device::Delegate {
 public:
  // `request` was checked. SIGTERM, SIGINT and SIGHUP are blocked.
  // `started_at`: of the process.
  Agent(proto::StartRequest request, Instant started_at);
  ~Agent() override;

  // From start to end. Returns the report, which has been written too.
  proto::ExitReport Run();

 private:
  // What must work for the host to come up; else the report says why.
  struct Failure {
    proto::ExitReport::Reason reason;
    absl::Status status;
  };
  std::optional<Failure> StartSandbox();
  absl::Status MakeAttachment();
  std::optional<Failure> StartTunnel();
  absl::Status WatchSignals();

  // After each turn of the loop: what is due.
  void OnTurn();
  Instant NextDeadline() const;

  void OnDesiredGoal(const proto::DesiredState& desired);
  void DecideReleaseIfIdle(uint64_t thaws_before);
  // agent_checkpoint.cc: to disk, or why not; and back.
  void BeginCheckpoint();
  void BeginMove();
  void EndMove();
  proto::CheckpointManifest MakeManifest() const;
  void EndOnDisk();
  // agent_group_disk.cc: the same with the host's group.
  void HoldForGroup();
  absl::Status CheckUnread() const;
  void OnGroupDumpEnded(absl::Status status);
  void OnCalledOff();
  void HoldRestored();
  void PutGroupIn(proto::CheckpointManifest& manifest) const;
  std::optional<Failure> ReadCheckpoint();
  void BeginRestoreIfReady();
  bool restoring() const { return request_.checkpointing().restore(); }
  // Asks the program to end; the report will say RELEASED.
  void Stop();
  void KillProgram();
  void End(proto::ExitReport::Reason reason, int wait_status, const std::string& message);
  // It ended, and nothing is on its way to us.
  bool MayLeave() const;
  proto::InstanceStatus MakeStatus() const;
  DropCounters Drops() const;
  // Tells the orchestrator how things stand at the end of this turn. What
  // woke the host is delivered before.
  void Publish();
  // The same a little later: the program's first answer goes first.
  void PublishSoon();
  void JoinControl();

  // Sandbox::Delegate:
  void OnDescriptor(FileDescriptor fd) override;
  void OnProgramStarted(pid_t pid) override;
  void OnStartFailed(proto::ExitReport::Reason reason, const std::string& text) override;
  void OnProgramEnded(int wait_status) override;
  void OnReadyToRestore() override;
  void OnCriuEnded(int wait_status, const std::string& error) override;
  void OnSessionEnded(uint32_t id, int wait_status, const std::string& error) override;
  // DataPath::Delegate:
  void OnInboundUse(Use use, const IpView& packet) override;
  void OnInboundDelivered() override;
  void OnOutboundUse(const IpView& packet) override;
  void OnControl(std::span<const uint8_t> payload) override;
  // ControlClient::Delegate:
  void SendControl(const std::string& message) override;
  void OnDesired(const proto::DesiredState& desired) override;
  void OnPeer(const IpAddress& address, const proto::PeerUpdate& update) override;
  // Pauser::Delegate:
  void OnPausedOrThawed() override;
  void OnGroupChange() override { Publish(); }
  // ExecServer::Delegate:
  absl::Status RunSession(uint32_t id, const proto::ExecRequest& request,
                          std::span<const int> fds) override;
  void SignalSession(uint32_t id, int signal) override { sandbox_->Signal(id, signal); }
  void OnSessionsChanged(int running) override;
  // Readiness::Delegate, agent_readiness.cc:
  void RunTest() override;
  void KillTest() override;
  void OnReady() override;
  void OnUnhealthy(const std::string& why) override;
  void OnTestEnded(int wait_status, const std::string& error);
  // GroupDisk::Delegate, agent_group_disk.cc:
  absl::Status BeginGroupDump() override;
  absl::Status CommitDump() override;
  void DiscardDump() override;
  void OnLoose() override;
  void NotCheckpointed(const absl::Status& why) override;
  // tunnel::Device::Delegate:
  void OnSessionUp(const tunnel::PublicKey& peer) override;
  void OnSessionDown(const tunnel::PublicKey& peer) override;

  proto::StartRequest request_;
  const Instant started_at_;
  RealClock clock_;
  SecureRandom random_;
  tunnel::PublicKey gateway_;
  const DualStack dual_stack_;
  std::unique_ptr<EventLoop> loop_;  // made last, gone last
  std::unique_ptr<Cgroup> cgroup_;
  std::unique_ptr<ProgramOutput> output_;
  std::unique_ptr<Sandbox> sandbox_;
  names::NameIndex names_;
  names::DnsResponder dns_;
  ControlClient control_;
  UseMeter use_meter_;
  HealthProbe health_probe_;
  Readiness readiness_;
  std::unique_ptr<DataPath> data_path_;
  std::unique_ptr<tunnel::Driver> driver_;
  std::unique_ptr<DirectPeers> peers_;
  std::unique_ptr<Attachment> attachment_;
  std::unique_ptr<Pauser> pauser_;
  std::optional<Checkpointer> checkpointer_;
  std::unique_ptr<ExecServer> exec_server_;
  std::unique_ptr<CaptureServer> capture_server_;
  std::unique_ptr<RestoreWatch> restore_watch_;
  FileDescriptor signals_;
  EventLoop::Watch signals_watch_;

  bool publish_due_ = false;
  Instant publish_at_ = kNever;
  // What is to be thawed for as soon as it is delivered, and whether it is use.
  std::optional<proto::WakeCause> thaw_cause_;
  bool thaw_used_ = false;
  bool thaw_news_ = false;
  bool gateway_seen_ = false;
  Instant give_up_at_;              // if the gateway was not seen until then
  Instant refresh_at_ = kNever;     // look at the figures
  Instant kill_at_ = kNever;        // the stop's grace ends
  Instant leave_at_ = kNever;       // though nobody answers our goodbye
  pid_t program_ = 0;
  bool stopping_ = false;
  bool killed_ = false;
  bool ended_ = false;
  bool refused_release_ = false;  // until the orchestrator has answered
  std::string unhealthy_;         // why it is stopped, if that is it
  std::string not_checkpointed_;  // why, since the last request
  bool stop_after_dump_ = false;
  GroupDisk group_disk_{*this};
  bool moving_ = false;      // to disk, although it is in use
  int exec_sessions_ = 0;    // that run
  // What is to be restored, and whether all is there for it.
  proto::CheckpointManifest manifest_;
  bool ready_to_restore_ = false;
  bool restore_begun_ = false;
  uint64_t suspends_seen_ = 0;
  uint64_t wakes_seen_ = 0;
  int held_packets_ = 0;
  proto::ExitReport report_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_AGENT_H_
