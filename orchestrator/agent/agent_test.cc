// Hosts that come up, and what is sent to them meanwhile.

#include "orchestrator/agent/agent.h"

#include <netinet/tcp.h>

#include "absl/strings/str_split.h"
#include "orchestrator/agent/agent_fixture.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// ---- coming up ----

TEST_F(AgentTest, ProgramHasItsNamesAndANumberSpaceOfItsOwn) {
  auto agent = MakeAgent(3, "names");
  proto::NameTable names;
  proto::HostName& other = *names.add_hosts();
  other.set_name("other");
  other.set_address(IpAddress::V4(0x0a4d0009).ToBytes());
  agent->request.set_name_table(names.SerializeAsString());
  agent->request.set_hostname("host3");
  agent->Start();
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Log(),
            "hostname=host3\nhost3=10.77.0.3\nother=10.77.0.9\nOTHER.test.im=10.77.0.9\n"
            "driver=10.77.0.254\nnobody=Name or service not known\nlocalhost=127.0.0.1\npid=2\n");
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(agent->Report().exit_code(), 99);
  EXPECT_FALSE(std::filesystem::exists(agent->directory() + "/agent.sock"));
  EXPECT_EQ(CgroupOf(*agent), "");
}

TEST_F(AgentTest, TheFirstStatusSaysWhoItIs) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  EXPECT_EQ(agent->status().agent_pid(), static_cast<uint32_t>(agent->pid()));
  EXPECT_EQ(agent->status().state(), proto::InstanceStatus::RUNNING);
  const auto stat = ReadProcStat(static_cast<pid_t>(agent->status().program_pid()));
  ASSERT_TRUE(stat.has_value()) << "the number is of our own PID namespace";
}

TEST_F(AgentTest, AnswersPingAndEchoesTcp) {
  auto agent = MakeAgent(3, "tcp");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  gateway_->driver().Write(
      SinglePacket(BuildEchoRequest(kTestGateway, agent->address(), 77, 1)));
  EXPECT_TRUE(gateway_->RunUntil([&] {
    for (const auto& packet : gateway_->seen)
      if (ParseIp(packet)->protocol == kProtocolIcmp && ParseIp(packet)->icmp_type == 0) return true;
    return false;
  }));
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "hello"), "hello");
}

TEST_F(AgentTest, ACommandThatDoesNotExistIsReported) {
  auto agent = MakeAgent(3, "");
  agent->request.mutable_program()->set_argv(0, "nginxx");
  agent->Start();
  ASSERT_EQ(agent->Wait(), 0);
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXEC_FAILED);
  EXPECT_EQ(agent->Report().message(), "exec nginxx: No such file or directory");
  EXPECT_TRUE(agent->host().statuses.empty()) << "it never ran";
}

TEST_F(AgentTest, WhatCannotBeSetUpIsReported) {
  struct Case {
    std::function<void(proto::StartRequest&)> spoil;
    std::string message;
    proto::ExitReport::Reason reason;
  };
  const Case kCases[] = {
      {[](auto& r) { r.mutable_program()->set_working_dir("/nowhere"); },
       "change to directory /nowhere: No such file or directory", proto::ExitReport::EXEC_FAILED},
      {[](auto& r) { (*r.mutable_program()->mutable_ulimits())["nofiles"] = 5; },
       "set ulimit nofiles: Invalid argument", proto::ExitReport::EXEC_FAILED},
      {[](auto& r) {
         auto* mount = r.mutable_program()->add_mounts();
         mount->set_source("/tmp");
         mount->set_target("/nowhere");
       },
       "mount /tmp at /nowhere: No such file or directory", proto::ExitReport::SANDBOX_FAILED},
      {[](auto& r) { r.set_log_path("/nowhere/log"); },
       "open log /nowhere/log: No such file or directory", proto::ExitReport::SANDBOX_FAILED},
  };
  for (const Case& c : kCases) {
    auto agent = MakeAgent(3, "tcp");
    c.spoil(agent->request);
    agent->Start();
    ASSERT_TRUE(agent->Wait().has_value()) << c.message;
    EXPECT_EQ(agent->Report().message(), c.message);
    EXPECT_EQ(agent->Report().reason(), c.reason) << c.message;
  }
}

TEST_F(AgentTest, WithoutAnAnswerOfTheGatewayItGivesUp) {
  auto agent = MakeAgent(3, "tcp");
  gateway_->Close();
  agent->request.set_start_timeout_ms(300);
  agent->Start();
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::TUNNEL_FAILED);
  EXPECT_THAT(agent->Report().message(), HasSubstr("did not answer within 0.3s"));
}

TEST_F(AgentTest, WithoutALogTheExitCodeIsTheProgramsOwn) {
  auto agent = MakeAgent(3, "exit");
  agent->request.clear_log_path();
  agent->Start();
  const auto status = agent->Wait();
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(WEXITSTATUS(*status), 42);
}

// ---- early packets ----

TEST_F(AgentTest, ASynIsHeldUntilTheProgramListens) {
  auto agent = MakeAgent(3, "tcp", "300");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  RealClock clock;
  const Instant before = clock.Now();
  const FileDescriptor fd = StartConnect(agent->address());
  EXPECT_TRUE(agent->Await([](const auto& s) { return s.program_pid() != 0; }));
  ASSERT_EQ(FinishConnect(fd), 0);
  const Duration took = clock.Now() - before;
  EXPECT_GE(took, milliseconds(200));
  EXPECT_LT(took, milliseconds(900)) << "before the caller's first retransmission";
  tcp_info info = {};
  socklen_t size = sizeof(info);
  ASSERT_EQ(getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  EXPECT_EQ(info.tcpi_total_retrans, 0u);
  EXPECT_EQ(Echo(fd, "hello"), "hello");
  for (const auto& packet : gateway_->seen) {
    const IpView view = *ParseIp(packet);
    if (view.destination_port != LocalPort(fd)) continue;  // left over of an earlier test
    EXPECT_FALSE(view.is_rst()) << "no refusal leaves: " << DescribePacket(packet);
  }
}

TEST_F(AgentTest, DatagramsAreHeldInOrderUntilTheProgramListens) {
  auto agent = MakeAgent(3, "udp", "300");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  FileDescriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  sockaddr_storage address;
  const socklen_t size = Endpoint{agent->address(), kPort}.ToSockaddr(address);
  ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  for (const char* text : {"1", "2", "3", "4"}) ASSERT_EQ(send(fd.get(), text, 1, 0), 1);
  std::string answers;
  while (answers.size() < 4) {
    const std::string answer = Receive(fd);
    ASSERT_EQ(answer.size(), 1u) << answer;
    answers += answer;
  }
  EXPECT_EQ(answers, "1234");
}

TEST_F(AgentTest, APortThatNeverOpensRefusesAfterTheStartTimeout) {
  auto agent = MakeAgent(3, "tcp");
  agent->request.set_start_timeout_ms(600);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  RealClock clock;
  const Instant before = clock.Now();
  const FileDescriptor fd = StartConnect(agent->address(), 9);
  EXPECT_EQ(FinishConnect(fd), ECONNREFUSED);
  EXPECT_LT(clock.Now() - before, milliseconds(900));
  const FileDescriptor later = StartConnect(agent->address(), 9);
  EXPECT_EQ(FinishConnect(later, milliseconds(300)), ECONNREFUSED) << "at once";
}

TEST_F(AgentTest, WhenTheProgramExitsCallersAreRefused) {
  auto agent = MakeAgent(3, "exit", "400");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const FileDescriptor fd = StartConnect(agent->address());
  EXPECT_EQ(FinishConnect(fd, milliseconds(900)), ECONNREFUSED);
  ASSERT_TRUE(agent->Wait().has_value());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(agent->Report().exit_code(), 42);
}

}  // namespace
}  // namespace im::agent
