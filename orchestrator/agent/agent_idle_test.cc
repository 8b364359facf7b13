// What keeps a host up, what is no use of it, and what is saved while it is
// paused.

#include <fstream>

#include "base/ip_build.h"
#include "orchestrator/agent/agent_fixture.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using State = proto::InstanceStatus;

class AgentIdleTest : public AgentTest {
 protected:
  std::unique_ptr<TestAgent> MakeQuiet(const std::string& program, uint32_t after_ms) {
    auto agent = MakeAgent(3, program);
    agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
    agent->request.mutable_idle()->set_after_ms(after_ms);
    return agent;
  }
  void Ping(const TestAgent& agent, uint32_t from) {
    gateway_->driver().Write(
        SinglePacket(BuildEchoRequest(IpAddress::V4(from), agent.address(), 1, 1)));
  }
  static constexpr uint32_t kProber = 0x0a4d0102, kOther = 0x0a4d00c8;
};

TEST_F(AgentIdleTest, AProbeIsAnsweredAndTheHostPausedAgainAtOnce) {
  auto agent = MakeQuiet("tcp", 600'000);
  agent->request.mutable_idle()->add_ignore_from("10.77.1.0/24");
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  ASSERT_TRUE(agent->Pause());
  for (uint64_t round = 1; round <= 3; ++round) {
    gateway_->seen.clear();
    Ping(*agent, kProber);
    ASSERT_TRUE(gateway_->RunUntil([&] { return !gateway_->seen.empty(); })) << "an answer";
    ASSERT_TRUE(agent->Await([&](const auto& s) {
      return s.thaws() == round && s.state() == State::PAUSED;
    })) << "long before it was quiet for ten minutes";
    EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::PING);
  }
  Ping(*agent, kOther);
  ASSERT_TRUE(agent->AwaitState(State::RUNNING));
  EXPECT_GT(agent->status().pause_in_ms(), 300'000u);
}

TEST_F(AgentIdleTest, TheEndOfAConnectionIsSeenAndTheHostPausedAgainAtOnce) {
  auto agent = MakeQuiet("tcp", 600'000);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  ASSERT_EQ(Echo(fd, "one"), "one");
  ASSERT_TRUE(agent->Pause());
  // The program closes its end when it has read this one.
  ASSERT_EQ(shutdown(fd.get(), SHUT_WR), 0);
  EXPECT_EQ(Receive(fd), "");
  ASSERT_TRUE(agent->Await([&](const auto& s) {
    return s.thaws() == 1 && s.state() == State::PAUSED;
  })) << "long before it was quiet for ten minutes";
}

TEST_F(AgentIdleTest, ATrickleDoesNotKeepItUp) {
  auto agent = MakeQuiet("udp", 600'000);
  agent->request.mutable_idle()->set_below_bytes_per_s(500);
  agent->Start();
  ASSERT_TRUE(agent->AwaitProgram());
  const Endpoint from{IpAddress::V4(kOther), 999}, to{agent->address(), kPort};
  // A datagram that is held for a program which does not listen yet is use.
  gateway_->driver().Write(SinglePacket(BuildUdp(from, to, std::vector<uint8_t>(100))));
  ASSERT_TRUE(gateway_->RunUntil([&] { return !gateway_->seen.empty(); }));
  ASSERT_TRUE(agent->Pause());
  gateway_->driver().Write(SinglePacket(BuildUdp(from, to, std::vector<uint8_t>(100))));
  ASSERT_TRUE(agent->Await([](const auto& s) {
    return s.thaws() == 1 && s.state() == State::PAUSED;
  }));
  gateway_->driver().Write(SinglePacket(BuildUdp(from, to, std::vector<uint8_t>(600))));
  ASSERT_TRUE(agent->AwaitState(State::RUNNING));
  EXPECT_GT(agent->status().pause_in_ms(), 300'000u);
}

TEST_F(AgentIdleTest, ABusyFileKeepsItUpUntilItIsGone) {
  auto agent = MakeQuiet("tcp", 50);
  const std::string file = agent->directory() + "/busy";
  std::ofstream(file) << "x";
  agent->request.mutable_idle()->set_busy_file(file);
  agent->Start();
  // What keeps a host up is told with its figures, when those move.
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_EQ(FinishConnect(fd), 0);
  EXPECT_EQ(Echo(fd, "some traffic"), "some traffic");
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy() == "busy file"; }));
  EXPECT_EQ(agent->status().state(), State::RUNNING);
  std::filesystem::remove(file);
  EXPECT_TRUE(agent->AwaitState(State::PAUSED));
}

TEST_F(AgentIdleTest, HeldPacketsKeepItUpUntilTheProgramListens) {
  auto agent = MakeAgent(3, "tcp", /*wait_ms=*/"4000");
  agent->request.mutable_idle()->set_mode(proto::IdlePolicy::QUIET);
  agent->request.mutable_idle()->set_after_ms(50);
  agent->request.mutable_idle()->set_timers(proto::IdlePolicy::TIMERS_IGNORE);
  agent->Start();
  const FileDescriptor fd = StartConnect(agent->address());
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy() == "1 held packet"; }));
  ASSERT_EQ(FinishConnect(fd), 0) << "it was not paused in its sleep";
  EXPECT_EQ(Echo(fd, "alive"), "alive");
}

TEST_F(AgentIdleTest, MemoryOfAPausedHostIsPushedOut) {
  constexpr size_t kBytes = 32 << 20;
  // Of a file, so that it can go on a machine without swap; not in a tmpfs.
  std::string file = "/var/tmp/im_hoard_XXXXXX";
  const FileDescriptor fd(mkstemp(file.data()));
  ASSERT_TRUE(fd.valid());
  const std::vector<char> bytes(kBytes, 'x');
  ASSERT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(kBytes));
  ASSERT_EQ(fsync(fd.get()), 0);  // what is dirty cannot go at once
  auto agent = MakeQuiet("hoard", 600'000);
  agent->request.mutable_program()->add_argv(file);
  agent->request.mutable_idle()->set_reclaim(true);
  agent->Start();
  ASSERT_TRUE(agent->LogHas("ready"));
  ASSERT_TRUE(agent->AwaitProgram());
  ASSERT_TRUE(agent->Pause());
  const uint64_t before = agent->status().memory_bytes();
  EXPECT_GE(before, kBytes);
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.reclaimed_bytes() > 0; }));
  EXPECT_GE(agent->status().reclaimed_bytes(), kBytes / 2);
  EXPECT_LE(agent->status().memory_bytes(), before - kBytes / 2);
  EXPECT_EQ(agent->status().state(), State::PAUSED);
  proto::DesiredState wake = agent->pause_request;
  wake.set_wake_requests(1);
  agent->Desire(wake);
  ASSERT_TRUE(agent->AwaitState(State::RUNNING));
  EXPECT_EQ(agent->status().reclaimed_bytes(), 0u);
  unlink(file.c_str());
}

}  // namespace
}  // namespace im::agent
