// Hosts with a healthcheck.

#include <fstream>
#include <string>

#include "orchestrator/agent/agent_fixture.h"

namespace im::agent {
namespace {

class AgentReadinessTest : public AgentTest {
 protected:
  std::unique_ptr<TestAgent> MakeChecked(const std::string& line) {
    std::unique_ptr<TestAgent> agent = MakeAgent(3, "tcp");
    proto::Healthcheck& check = *agent->request.mutable_healthcheck();
    for (const char* word : {"sh", "-c"}) check.add_argv(word);
    check.add_argv(line);
    check.set_interval_ms(30'000);
    check.set_timeout_ms(30'000);
    check.set_retries(3);
    check.set_start_interval_ms(10);
    return agent;
  }
  // Its test succeeds when the file is there, and leaves a mark each time.
  std::unique_ptr<TestAgent> MakeWaiting() {
    auto agent = MakeChecked("");
    *agent->request.mutable_healthcheck()->mutable_argv(2) =
        absl::StrCat("cd ", agent->directory(), "; echo run >> runs; test -e ready || ",
                     "{ echo first; echo \"not $OF_IT\"; exit 3; }");
    (*agent->request.mutable_program()->mutable_environment())["OF_IT"] = "yet";
    return agent;
  }
  static void LetBeReady(const TestAgent& agent) {
    std::ofstream(agent.directory() + "/ready") << "yes";
  }
  bool AwaitReady(TestAgent& agent) {
    return agent.Await([](const auto& s) { return s.program_pid() != 0 && s.not_ready().empty(); });
  }
};

TEST_F(AgentReadinessTest, AHostIsUpWhenItsTestHasSucceededAndIsNotTestedLater) {
  auto agent = MakeWaiting();
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(50);
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) {
    return s.not_ready() == "its healthcheck failed: exit code 3: not yet";
  })) << agent->status().not_ready();
  EXPECT_NE(agent->status().program_pid(), 0u);
  LetBeReady(*agent);
  ASSERT_TRUE(AwaitReady(*agent));
  for (const proto::InstanceStatus& status : agent->host().statuses)
    EXPECT_TRUE(status.not_ready().empty() || status.state() == proto::InstanceStatus::RUNNING);
  const std::string runs = ReadSmallFile(agent->directory() + "/runs");
  // It keeps no host up, and wakes none.
  for (uint64_t round = 1; round <= 2; ++round) {
    ASSERT_TRUE(agent->AwaitState(proto::InstanceStatus::PAUSED));
    const FileDescriptor fd = StartConnect(agent->address());
    ASSERT_EQ(FinishConnect(fd), 0);
    EXPECT_EQ(Echo(fd, "hello"), "hello");
    ASSERT_TRUE(agent->Await([&](const auto& s) { return s.thaws() == round; }));
  }
  EXPECT_EQ(ReadSmallFile(agent->directory() + "/runs"), runs);
}

TEST_F(AgentReadinessTest, WithoutNamespacesToo) {
  auto agent = MakeWaiting();
  agent->request.set_attach(proto::ATTACH_NETSTACK);
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) {
    return s.not_ready() == "its healthcheck failed: exit code 3: not yet";
  }));
  LetBeReady(*agent);
  EXPECT_TRUE(AwaitReady(*agent));
}

TEST_F(AgentReadinessTest, AnUnhealthyHostEndsAndSaysWhatTheTestSaidLast) {
  auto agent = MakeChecked("echo no database >&2; exit 2");
  agent->request.mutable_healthcheck()->set_interval_ms(50);
  agent->Start();
  ASSERT_TRUE(agent->Wait());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::UNHEALTHY);
  EXPECT_EQ(agent->Report().message(),
            "its healthcheck failed: exit code 2: no database (3 times that count)");
}

TEST_F(AgentReadinessTest, AnUnhealthyProgramIsAskedToStop) {
  auto agent = MakeChecked("exit 1");
  agent->request.mutable_healthcheck()->set_interval_ms(50);
  agent->request.mutable_program()->clear_argv();
  for (const char* word :
       {"sh", "-c", "trap 'echo in order; exit 0' TERM; while :; do sleep 0.01; done"})
    agent->request.mutable_program()->add_argv(word);
  agent->request.mutable_program()->set_stop_signal("SIGTERM");
  agent->request.mutable_program()->set_stop_grace_ms(10'000);
  agent->Start();
  ASSERT_TRUE(agent->Wait());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::UNHEALTHY);
  EXPECT_EQ(agent->Log(), "in order\n");
}

TEST_F(AgentReadinessTest, ATestThatTakesTooLongIsKilled) {
  auto agent = MakeChecked("sleep 1000 & sleep 1000");
  agent->request.mutable_healthcheck()->set_timeout_ms(50);
  agent->Start();
  EXPECT_TRUE(agent->Await([](const auto& s) {
    return s.not_ready() == "its healthcheck failed: took longer than 0.05s";
  }));
}

TEST_F(AgentReadinessTest, ATestThatCannotBeRunHasFailed) {
  auto agent = MakeChecked("");
  agent->request.mutable_healthcheck()->clear_argv();
  agent->request.mutable_healthcheck()->add_argv("/no/such/test");
  agent->Start();
  EXPECT_TRUE(agent->Await([](const auto& s) {
    return s.not_ready().find("/no/such/test: No such file") != std::string::npos;
  }));
}

TEST_F(AgentReadinessTest, AProgramThatEndsBeforeItIsReadyIsNotMourned) {
  auto agent = MakeWaiting();
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.program_pid() != 0; }));
  kill(static_cast<pid_t>(agent->status().program_pid()), SIGKILL);
  ASSERT_TRUE(agent->Wait());
  EXPECT_EQ(agent->Report().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(agent->Report().signal(), SIGKILL);
}

}  // namespace
}  // namespace im::agent
