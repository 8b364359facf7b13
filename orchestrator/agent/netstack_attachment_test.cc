// Hosts of `attach: netstack`: the real im-agent, as nobody and without a
// capability, against a gateway in this process.

#include "orchestrator/agent/netstack_attachment.h"

#include <sys/stat.h>

#include <algorithm>

#include "orchestrator/agent/agent_fixture.h"
#include "orchestrator/agent/start_request.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

class NetstackAgentTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    if (IsSkipped()) return;
    // Nobody must be able to walk to the programs.
    struct stat info = {};
    for (std::string path = BinDirectory(); path.size() > 1; path.resize(path.rfind('/')))
      if (stat(path.c_str(), &info) != 0 || (info.st_mode & S_IXOTH) == 0)
        GTEST_SKIP() << path << " is closed to others";
  }

  std::unique_ptr<TestAgent> MakeNetstackAgent(int number, const std::string& program,
                                               const std::string& wait_ms = "0") {
    auto agent = MakeAgent(number, program, wait_ms);
    agent->request.set_attach(proto::ATTACH_NETSTACK);
    agent->request.mutable_program()->set_uid(65534);
    agent->request.mutable_program()->set_gid(65534);
    agent->unprivileged = true;
    return agent;
  }
  static pid_t ProgramOf(const TestAgent& agent) {
    return static_cast<pid_t>(agent.status().program_pid());
  }
  bool Ends(pid_t pid) {
    return gateway_->RunUntil([&] {
      const auto stat = ReadProcStat(pid);
      return !stat || stat->state == 'Z';  // of a dead agent, for whoever is above us
    });
  }
};

TEST_F(NetstackAgentTest, TheProgramHasNoRightAndNamesResolve) {
  auto agent = MakeNetstackAgent(3, "capabilities");
  agent->Start();
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Log(), "Uid:\t65534\t65534\t65534\t65534\nCapEff:\t0000000000000000\n");
  auto resolver = MakeNetstackAgent(4, "names");
  proto::NameTable names;
  proto::HostName& other = *names.add_hosts();
  other.set_name("other");
  other.set_address(IpAddress::V4(0x0a4d0009).ToBytes());
  resolver->request.set_name_table(names.SerializeAsString());
  resolver->Start();
  ASSERT_TRUE(resolver->Wait().has_value());
  EXPECT_THAT(resolver->Log(), HasSubstr("\nother=10.77.0.9\nOTHER.test.im=10.77.0.9\n"));
  EXPECT_THAT(resolver->Log(), HasSubstr("\ndriver=10.77.0.254\nnobody=Name or service not known\n"));
  EXPECT_EQ(resolver->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(resolver->Report().exit_code(), 99);
}

TEST_F(NetstackAgentTest, AnswersPingAndEchoesTcp) {
  auto agent = MakeNetstackAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  EXPECT_TRUE(ReadProcStat(ProgramOf(*agent)).has_value());
  gateway_->driver().Write(
      SinglePacket(BuildEchoRequest(kTestGateway, agent->address(), 77, 1)));
  EXPECT_TRUE(gateway_->RunUntil([&] {
    return std::any_of(gateway_->seen.begin(), gateway_->seen.end(), [](const auto& packet) {
      const IpView view = *ParseIp(packet);
      return view.protocol == kProtocolIcmp && view.icmp_type == 0;
    });
  }));
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "hello"), "hello");
}

TEST_F(NetstackAgentTest, WhatComesBeforeTheProgramListensIsKept) {
  auto tcp = MakeNetstackAgent(3, "tcp", "300");
  auto udp = MakeNetstackAgent(4, "udp", "300");
  tcp->Start();
  udp->Start();
  ASSERT_TRUE(tcp->AwaitProgram() && udp->AwaitProgram());
  RealClock clock;
  const Instant before = clock.Now();
  const FileDescriptor caller = StartConnect(tcp->address());
  const FileDescriptor sender(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  sockaddr_storage address;
  const socklen_t size = Endpoint{udp->address(), kPort}.ToSockaddr(address);
  ASSERT_EQ(connect(sender.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  for (const char* text : {"1", "2", "3", "4"}) ASSERT_EQ(send(sender.get(), text, 1, 0), 1);
  ASSERT_EQ(FinishConnect(caller), 0);
  EXPECT_LT(clock.Now() - before, milliseconds(900)) << "before its first retransmission";
  EXPECT_EQ(Echo(caller, "hello"), "hello");
  std::string answers;
  while (answers.size() < 4) {
    const std::string answer = Receive(sender);
    ASSERT_EQ(answer.size(), 1u) << answer;
    answers += answer;
  }
  EXPECT_EQ(answers, "1234");
}

TEST_F(NetstackAgentTest, APortThatNeverOpensRefusesAfterTheStartTimeout) {
  auto agent = MakeNetstackAgent(3, "tcp");
  agent->request.set_start_timeout_ms(600);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const FileDescriptor fd = StartConnect(agent->address(), 9);
  EXPECT_EQ(FinishConnect(fd, milliseconds(900)), ECONNREFUSED);
  const FileDescriptor later = StartConnect(agent->address(), 9);
  EXPECT_EQ(FinishConnect(later, milliseconds(300)), ECONNREFUSED) << "at once";
}

TEST_F(NetstackAgentTest, WhenTheProgramExitsCallersAreRefused) {
  auto agent = MakeNetstackAgent(3, "exit", "400");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const FileDescriptor fd = StartConnect(agent->address());
  EXPECT_EQ(FinishConnect(fd, milliseconds(900)), ECONNREFUSED);
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(agent->Report().exit_code(), 42);
}

TEST_F(NetstackAgentTest, PausesWhenIdleAndThawsForDataAlsoWhenItSleepsInAccept) {
  for (const char* program : {"tcp", "accept"}) {
    auto agent = MakeNetstackAgent(3, program);
    agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
    agent->request.mutable_idle()->set_after_ms(200);
    agent->Start();
    ASSERT_TRUE(agent->AwaitProgram()) << program;
    // While it waits for its first caller.
    ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED)) << program;
    const FileDescriptor fd = StartConnect(agent->address());
    ASSERT_EQ(FinishConnect(fd), 0);
    EXPECT_EQ(Echo(fd, "one"), "one");
    // A thaw is told after the answer.
    ASSERT_TRUE(agent->Await([](const auto& s) { return s.thaws() == 1; })) << program;
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED)) << program;
      const uint64_t before = agent->status().thaws();
      EXPECT_TRUE(gateway_->RunUntil([&] {
        const auto stat = ReadProcStat(ProgramOf(*agent));
        return stat && stat->state == 'T';
      })) << program;
      EXPECT_EQ(Echo(fd, "again"), "again");
      ASSERT_TRUE(agent->Await([&](const auto& s) { return s.thaws() > before; })) << program;
      EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::DATA);
    }
  }
}

TEST_F(NetstackAgentTest, ConnectionsKeepAHostUpIfThePolicySaysSo) {
  auto agent = MakeNetstackAgent(3, "tcp");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::NO_CONNECTIONS);
  agent->request.mutable_idle()->set_after_ms(100);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "one"), "one");
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy() == "1 connection"; }));
  fd.Reset();
  EXPECT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
}

TEST_F(NetstackAgentTest, ReleaseGivesTheProgramItsGrace) {
  auto agent = MakeNetstackAgent(3, "polite");
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());
  ASSERT_TRUE(agent->Pause());  // it is thawed for its stop signal
  proto::DesiredState desired = agent->pause_request;
  desired.set_goal(proto::DesiredState::RELEASE);
  agent->Desire(desired);
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Log(), "ready\ngoodbye\n");
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(agent->Report().exit_code(), 3);
}

TEST_F(NetstackAgentTest, NothingOutlivesTheAgentOrInit) {
  enum class Killed { kAgent, kPausedAgent, kInit };
  for (const Killed killed : {Killed::kAgent, Killed::kPausedAgent, Killed::kInit}) {
    auto agent = MakeNetstackAgent(3, "family");
    agent->Start();
    ASSERT_TRUE(agent->LogHas("\n"));
    ASSERT_TRUE(agent->AwaitProgram());
    if (killed == Killed::kPausedAgent) {
      ASSERT_TRUE(agent->Pause());
    }
    const pid_t program = ProgramOf(*agent);
    const pid_t orphan = std::atoi(agent->Log().c_str());
    const pid_t init = ReadProcStat(program)->parent;
    EXPECT_TRUE(gateway_->RunUntil([&] { return ReadProcStat(orphan)->parent == init; }));
    kill(killed == Killed::kInit ? init : agent->pid(), SIGKILL);
    ASSERT_TRUE(agent->Wait().has_value());
    for (const pid_t pid : {init, program, orphan}) {
      EXPECT_TRUE(Ends(pid)) << pid;
    }
    if (killed == Killed::kInit) {
      EXPECT_EQ(agent->Report().signal(), SIGKILL);
    }
  }
}

TEST_F(NetstackAgentTest, WhatCannotBeIsReported) {
  auto missing = MakeNetstackAgent(3, "");
  missing->request.mutable_program()->set_argv(0, "nginxx");
  missing->Start();
  ASSERT_EQ(missing->Wait(), 0);
  EXPECT_EQ(missing->Report().reason(), proto::ExitReport::EXEC_FAILED);
  EXPECT_EQ(missing->Report().message(), "exec nginxx: No such file or directory");
  auto other = MakeNetstackAgent(4, "tcp");
  other->request.mutable_program()->set_uid(1);
  other->Start();
  ASSERT_EQ(other->Wait(), 0);
  EXPECT_EQ(other->Report().message(), "setgroups: Operation not permitted");
  auto mounts = MakeNetstackAgent(5, "tcp");
  mounts->request.mutable_program()->add_mounts()->set_target("/mnt");
  EXPECT_EQ(CheckStartRequest(mounts->request).message(),
            "start request: attach: netstack has no mounts");
}

TEST_F(NetstackAgentTest, ExecHasTheHostsNetwork) {
  auto server = MakeNetstackAgent(3, "tcp");
  server->Start();
  auto client = MakeNetstackAgent(4, "udp");
  client->Start();
  ASSERT_TRUE(server->AwaitProgram() && client->AwaitProgram());
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  EXPECT_EQ(Result(Request(*client, {self, "0", server->address().ToString()}, 2, "dial"))
                .exit_code(), 0);
  EXPECT_EQ(Result(Request(*client, {"nosuch"}, 2)).error(),
            "exec nosuch: No such file or directory");
}

}  // namespace
}  // namespace im::agent
