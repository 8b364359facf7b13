// Hosts that pause, end, are introduced to others and run commands.

#include "absl/strings/str_split.h"
#include "orchestrator/agent/agent_fixture.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// ---- pausing ----

TEST_F(AgentTest, PausesWhenIdleAndThawsForDataOfAnOpenConnection) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(200);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "one"), "one");
  for (uint64_t round = 1; round <= 3; ++round) {
    ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
    EXPECT_TRUE(gateway_->RunUntil([&] { return IsFrozen(*agent); }));
    EXPECT_EQ(Echo(fd, "again"), "again");
    ASSERT_TRUE(agent->Await([&](const auto& s) { return s.thaws() == round; }));
    EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::DATA);
    EXPECT_EQ(agent->status().wake_cause().destination_port(), kPort);
    EXPECT_GT(agent->status().thaw_ns(), 0u);
    RecordProperty("thaw_ns", std::to_string(agent->status().thaw_ns()));
  }
}

TEST_F(AgentTest, WhatWakesAPausedHostAndWhatDoesNot) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  uint64_t thaws = 0;
  struct Case {
    const char* what;
    std::vector<uint8_t> packet;
    proto::WakeCause::Kind kind;
  };
  // Nobody's address: a kernel of ours would answer a SYN-ACK, and wake it again.
  const Endpoint from{IpAddress::V4(0x0a4d00c8), 999}, to{agent->address(), kPort};
  const uint8_t byte[] = {1};
  const Case kCases[] = {
      {"SYN", BuildTcp(from, to, {.sequence = 5, .flags = kTcpSyn}), proto::WakeCause::SYN},
      {"datagram", BuildUdp(from, to, byte), proto::WakeCause::DATAGRAM},
      {"ping", BuildEchoRequest(from.address, to.address, 1, 1), proto::WakeCause::PING},
      {"RST", BuildTcp(from, to, {.flags = kTcpRst}), proto::WakeCause::DATA},
  };
  for (const Case& c : kCases) {
    ASSERT_TRUE(agent->Pause()) << c.what;
    EXPECT_LT(agent->status().paused_for_ms(), 600'000u) << "it sleeps since a moment ago";
    // A pure ACK does not; the kernel answers it (with RST here) by itself.
    gateway_->seen.clear();
    gateway_->driver().Write(SinglePacket(
        BuildTcp({kTestGateway, 998}, to, {.acknowledgment = 1, .flags = kTcpAck})));
    ASSERT_TRUE(gateway_->RunUntil([&] { return !gateway_->seen.empty(); }));
    EXPECT_EQ(agent->status().state(), proto::InstanceStatus::PAUSED);
    gateway_->driver().Write(SinglePacket(c.packet));
    ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING)) << c.what;
    EXPECT_EQ(agent->status().wake_cause().kind(), c.kind) << c.what;
    EXPECT_EQ(agent->status().thaws(), ++thaws) << c.what;
  }
  ASSERT_TRUE(agent->Pause());
  proto::DesiredState wake;
  wake.set_suspend_requests(agent->pause_request.suspend_requests() + 1);  // a wake beats it
  wake.set_wake_requests(1);
  wake.mutable_wake_cause()->set_kind(proto::WakeCause::PUBLISHED_PORT);
  agent->Desire(wake);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::PUBLISHED_PORT);
}

TEST_F(AgentTest, ABusyProgramIsNotPaused) {
  auto agent = MakeAgent(3, "busy");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(50);
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy().find("cpu") == 0; }));
  EXPECT_EQ(agent->status().thaws(), 0u);
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RUNNING);
}

TEST_F(AgentTest, WhilePausedAndAcknowledgedTheAgentSleeps) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  ASSERT_TRUE(agent->Pause());
  const auto switches = [&] {
    const std::string status = ReadSmallFile(absl::StrCat("/proc/", agent->pid(), "/status"));
    const size_t at = status.find("voluntary_ctxt_switches:");
    return std::atoi(status.c_str() + at + sizeof("voluntary_ctxt_switches:"));
  };
  // The acknowledgment and WireGuard's own answer to it come first; and then
  // there is time for more than one repetition or refresh.
  gateway_->RunUntil([] { return false; }, milliseconds(500));
  const int before = switches();
  gateway_->RunUntil([] { return false; }, milliseconds(2500));
  EXPECT_EQ(switches(), before);
}

// ---- release ----

TEST_F(AgentTest, ReleaseGivesTheProgramItsGrace) {
  auto agent = MakeAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());  // its first word may be faster
  proto::DesiredState desired;
  desired.set_goal(proto::DesiredState::RELEASE);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Log(), "ready\ngoodbye\n");
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Report().exit_code(), 3);
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RELEASING);
}

TEST_F(AgentTest, AStatusTellsHowATurnEnded) {
  auto agent = MakeAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());  // its first word may be faster
  ASSERT_TRUE(agent->Pause());
  const size_t before = agent->host().statuses.size();
  // It is thawed for its stop signal, which is no news to anybody.
  proto::DesiredState desired = agent->pause_request;
  desired.set_goal(proto::DesiredState::RELEASE);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  ASSERT_GT(agent->host().statuses.size(), before);
  for (size_t i = before; i < agent->host().statuses.size(); ++i)
    EXPECT_NE(agent->host().statuses[i].state(), proto::InstanceStatus::RUNNING) << i;
}

TEST_F(AgentTest, ANewDesiredStateIsAnsweredWithFreshFigures) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  // A host at rest says nothing by itself, least of all that time passes.
  const uint64_t before = agent->status().idle_for_ms();
  uint64_t version = 0;
  do {
    agent->Desire({});
    ++version;
    ASSERT_TRUE(
        agent->Await([&](const auto& s) { return s.acknowledged_desired() == version; }));
  } while (agent->status().idle_for_ms() <= before && version < 10'000);
  EXPECT_GT(agent->status().idle_for_ms(), before);
}

TEST_F(AgentTest, AStubbornProgramIsKilledAfterItsGrace) {
  auto agent = MakeAgent(3, "stubborn");
  agent->request.mutable_program()->set_stop_grace_ms(200);
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  RealClock clock;
  const Instant before = clock.Now();
  kill(agent->pid(), SIGTERM);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_GE(clock.Now() - before, milliseconds(200));
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Report().signal(), SIGKILL);
}

TEST_F(AgentTest, APausedHostIsReleasedIfIdleAndARunningOneRefuses) {
  auto agent = MakeAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());
  proto::DesiredState desired;
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RELEASE_REFUSED));
  EXPECT_EQ(agent->status().acknowledged_desired(), 1u);
  desired.set_goal(proto::DesiredState::RUN);
  desired.set_suspend_requests(1);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Log(), "ready\ngoodbye\n") << "thawed to take its leave";
}

TEST_F(AgentTest, ARefusalStandsUntilItIsAnsweredThoughTheHostFallsAsleep) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(1000);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  proto::DesiredState desired;
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RELEASE_REFUSED));
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy().empty(); })) << "paused";
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RELEASE_REFUSED);
  desired.set_goal(proto::DesiredState::RUN);
  agent->Desire(desired);
  EXPECT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
}

TEST_F(AgentTest, UseThatTheOrchestratorHasNotHeardOfRefusesTheReleaseThoughItIsPausedAgain) {
  auto agent = MakeAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());
  proto::DesiredState desired;
  desired.set_suspend_requests(1);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  desired.set_wake_requests(1);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING));
  desired.set_suspend_requests(2);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  ASSERT_EQ(agent->status().thaws(), 1u);
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  desired.set_thaws_known(0);
  agent->Desire(desired);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RELEASE_REFUSED));
  desired.set_thaws_known(1);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
}

TEST_F(AgentTest, APacketBehindTheQuestionRefusesTheRelease) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  ASSERT_TRUE(agent->Pause());
  // Both are in its socket when it looks, the question first.
  ASSERT_EQ(kill(agent->pid(), SIGSTOP), 0);
  const FileDescriptor fd = StartConnect(agent->address());
  proto::DesiredState desired = agent->pause_request;
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  agent->Desire(desired);
  int turns = 0;
  gateway_->RunUntil([&] { return ++turns > 4; });
  ASSERT_EQ(kill(agent->pid(), SIGCONT), 0);
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "alive"), "alive");
  EXPECT_FALSE(agent->Wait(milliseconds(1)).has_value());
}

TEST_F(AgentTest, KillingTheAgentLeavesNothing) {
  auto agent = MakeAgent(3, "stubborn");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());  // its first word may be faster
  ASSERT_TRUE(agent->Pause());  // also when it is frozen
  const pid_t program = static_cast<pid_t>(agent->status().program_pid());
  const std::string cgroup = CgroupOf(*agent);
  kill(agent->pid(), SIGKILL);
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_TRUE(gateway_->RunUntil([&] { return kill(program, 0) != 0; }));
  if (!cgroup.empty()) {
    EXPECT_TRUE(gateway_->RunUntil([&] { return !std::filesystem::exists(cgroup); }));
  }
}

// ---- the gateway goes and comes ----

TEST_F(AgentTest, AGatewayThatComesBackHearsFromIt) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  gateway_->Close();
  gateway_->Reopen();
  const size_t before = agent->host().statuses.size();
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_TRUE(gateway_->RunUntil([&] { return agent->host().statuses.size() > before; }))
      << "a new session brings the status";
  EXPECT_FALSE(agent->Wait(milliseconds(1)).has_value());
}

TEST_F(AgentTest, IntroducedHostsTalkWithoutTheGateway) {
  auto server = MakeAgent(3, "tcp");
  server->Start();
  ASSERT_TRUE(server->AwaitProgram());
  auto client = MakeAgent(4, "udp");
  client->Start();
  ASSERT_TRUE(client->AwaitProgram());
  const auto introduce = [&](TestAgent& to, TestAgent& peer, uint64_t version, bool withdrawn) {
    proto::ToAgent message;
    message.set_incarnation(1);
    proto::PeerUpdate& update = *message.add_peers();
    update.set_version(version);
    update.set_address(peer.address().ToBytes());
    update.set_public_key(std::string(peer.host().key.raw()));
    update.set_endpoint(gateway_->driver().device().GetPeer(peer.host().key)->endpoint->ToString());
    update.set_withdrawn(withdrawn);
    gateway_->Send(to.address(), message);
  };
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto dial = [&] {
    return Result(Request(*client, {self, "0", server->address().ToString()}, 2, "dial"))
        .exit_code();
  };
  ASSERT_EQ(dial(), 0);
  const uint64_t by_gateway = gateway_->forwarded;
  EXPECT_GT(by_gateway, 0u);
  introduce(*server, *client, 1, false);
  introduce(*client, *server, 1, false);
  ASSERT_TRUE(gateway_->RunUntil([&] {
    return server->status().direct_peers() == 1 && client->status().direct_peers() == 1;
  }));
  EXPECT_THAT(server->host().acknowledged_peers, testing::Contains(1u));
  // The last packets of the first connection may still be on their old way.
  uint64_t settled = by_gateway;
  for (int attempt = 0; attempt < 5; ++attempt) {
    settled = gateway_->forwarded;
    ASSERT_EQ(dial(), 0);
    if (gateway_->forwarded == settled) break;
  }
  EXPECT_EQ(gateway_->forwarded, settled) << "not one packet by way of the gateway";
  // Each tells how much it sent to the other.
  for (const auto& [host, peer] : {std::pair(&server, &client), std::pair(&client, &server)}) {
    ASSERT_TRUE(gateway_->RunUntil([&] { return (*host)->status().peers_size() == 1; }));
    const proto::PeerTraffic told = (*host)->status().peers(0);
    const auto bytes = (*peer)->address().bytes();
    EXPECT_EQ(told.address(), std::string(bytes.begin(), bytes.end()));
    EXPECT_GT(told.tx_bytes(), 0u);
  }
  introduce(*server, *client, 2, true);
  introduce(*client, *server, 2, true);
  ASSERT_TRUE(gateway_->RunUntil([&] {
    return testing::Value(server->host().acknowledged_peers, testing::Contains(2u)) &&
           testing::Value(client->host().acknowledged_peers, testing::Contains(2u));
  }));
  ASSERT_EQ(dial(), 0);
  EXPECT_GT(gateway_->forwarded, settled) << "withdrawn: the gateway again";
}

// ---- exec ----

TEST_F(AgentTest, ExecRunsInsideTheHost) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  FileDescriptor in(fds[0]), out(fds[1]);
  const FileDescriptor session =
      Request(*agent, {"sh", "-c", "hostname; ls /sys/class/net; cat /proc/1/comm; exit 5"},
              out.get());
  out.Reset();
  const proto::ExecResult result = Result(session);
  EXPECT_EQ(result.error(), "");
  EXPECT_EQ(result.exit_code(), 5);
  char buffer[256];
  const ssize_t n = read(in.get(), buffer, sizeof(buffer));
  EXPECT_EQ(std::string(buffer, std::max<ssize_t>(n, 0)), "host3\nim0\nlo\nim-init\n");
}

TEST_F(AgentTest, ExecSaysWhyACommandCannotBeRun) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  EXPECT_EQ(Result(Request(*agent, {"nosuch"}, 2)).error(),
            "exec nosuch: No such file or directory");
  EXPECT_EQ(Result(Request(*agent, {}, 2)).error(), "no command");
}

TEST_F(AgentTest, ExecTellsSuccessFromAnEndOfTheAgent) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  EXPECT_GT(Receive(Request(*agent, {"true"}, 2)).size(), 0u) << "not what a closed socket gives";
  const proto::ExecResult success = Result(Request(*agent, {"true"}, 2));
  EXPECT_EQ(success.error(), "");
  EXPECT_EQ(success.exit_code(), 0);
  const FileDescriptor session = Request(*agent, {"sleep", "1000"}, 2);
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy() == "exec session"; }));
  kill(agent->pid(), SIGKILL);
  EXPECT_EQ(Result(session).error(), "no result");
}

TEST_F(AgentTest, ExecThawsForwardsSignalsAndKeepsTheHostUp) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(100);
  agent->Start();
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
  const FileDescriptor session = Request(*agent, {"sleep", "1000"}, 2);
  ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::EXEC);
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy() == "exec session"; }));
  proto::ExecToAgent signal;
  signal.mutable_signal()->set_signal(SIGINT);
  ASSERT_TRUE(SendSeqPacket(session.get(), signal.SerializeAsString()).ok());
  EXPECT_EQ(Result(session).exit_code(), 128 + SIGINT);
  EXPECT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
}

TEST_F(AgentTest, ExecAClientThatGoesHangsUpTheCommand) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const std::string file = agent->directory() + "/said";
  const auto said = [&](const std::string& text) {
    return gateway_->RunUntil([&] { return ReadSmallFile(file) == text; });
  };
  const FileDescriptor out(open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  FileDescriptor session = Request(
      *agent, {"sh", "-c", "trap 'echo hup; exit' HUP; echo up; sleep 1000 & wait"}, out.get());
  ASSERT_TRUE(said("up\n"));
  session.Reset();
  EXPECT_TRUE(said("up\nhup\n"));
}

}  // namespace
}  // namespace im::agent
