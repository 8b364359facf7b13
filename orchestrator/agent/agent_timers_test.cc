// Hosts whose programs have timers.

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "orchestrator/agent/agent_fixture.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using State = proto::InstanceStatus;

int SlowFactor() {
  const char* factor = std::getenv("IM_SLOW_FACTOR");
  return factor == nullptr ? 1 : std::max(1, std::atoi(factor));
}

class AgentTimersTest : public AgentTest, public testing::WithParamInterface<const char*> {
 protected:
  // A host that sleeps in `kind` for `ms` at a time.
  std::unique_ptr<TestAgent> MakeSleeper(const std::string& kind, int ms, bool deeds = true) {
    auto agent = MakeAgent(3, "timer");
    auto& program = *agent->request.mutable_program();
    for (const std::string& word : {kind, std::to_string(ms), std::string(deeds ? "1" : "0")})
      program.add_argv(word);
    proto::IdlePolicy& idle = *agent->request.mutable_idle();
    idle.set_mode(proto::IdlePolicy::QUIET);
    idle.set_after_ms(100);
    idle.set_timer_horizon_ms(100);
    idle.set_tick_max_ms(0);
    return agent;
  }
  static std::vector<int64_t> LateMicros(const TestAgent& agent) {
    std::vector<int64_t> late;
    for (absl::string_view line : absl::StrSplit(agent.Log(), '\n')) {
      const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
      int64_t micros = 0;
      if (words.size() == 3 && words[1] == "late" && absl::SimpleAtoi(words[2], &micros))
        late.push_back(micros);
    }
    return late;
  }
};

INSTANTIATE_TEST_SUITE_P(Calls, AgentTimersTest,
                         testing::Values("nanosleep", "absolute", "poll", "select", "ppoll",
                                         "epoll", "futex", "condition", "timerfd"),
                         [](const auto& test) { return test.param; });

TEST_P(AgentTimersTest, APausedHostIsOnTime) {
  auto agent = MakeSleeper(GetParam(), 1500);
  agent->Start();
  ASSERT_TRUE(agent->AwaitState(State::PAUSED)) << agent->Log();
  EXPECT_EQ(agent->status().timer_of(), "im_agent_tests");
  EXPECT_GT(agent->status().timer_in_ms(), 0u);
  EXPECT_LE(agent->status().timer_in_ms(), 1500u);
  ASSERT_TRUE(gateway_->RunUntil([&] { return LateMicros(*agent).size() >= 3; }))
      << agent->Log();
  EXPECT_GE(agent->status().thaws(), 2u) << "it was paused in between";
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::TIMER);
  EXPECT_EQ(agent->status().wake_cause().detail(), "of im_agent_tests");
  RecordProperty("late_us", absl::StrJoin(LateMicros(*agent), " "));
  for (const int64_t micros : LateMicros(*agent)) {
    EXPECT_GE(micros, 0) << "not before its time";
    EXPECT_LT(micros, 300'000 * SlowFactor());
  }
}

TEST_F(AgentTimersTest, AnAlarmIsNoticedSoonAfter) {
  auto agent = MakeSleeper("setitimer", 1200);
  agent->Start();
  ASSERT_TRUE(agent->AwaitState(State::PAUSED)) << agent->Log();
  EXPECT_EQ(agent->status().timer_in_ms(), 0u) << "nobody can know";
  ASSERT_TRUE(gateway_->RunUntil([&] { return LateMicros(*agent).size() >= 3; })) << agent->Log();
  EXPECT_GE(agent->status().thaws(), 2u);
  EXPECT_EQ(agent->status().wake_cause().kind(), proto::WakeCause::TIMER);
  for (const int64_t micros : LateMicros(*agent)) EXPECT_LT(micros, 300'000 + 300'000 * SlowFactor());
}

TEST_F(AgentTimersTest, ATickIsNoReasonToStayUpOrToWake) {
  auto agent = MakeSleeper("poll", 200);
  agent->request.mutable_idle()->set_tick_max_ms(1000);
  agent->Start();
  // Learnt after some rounds; what came before may still thaw it.
  ASSERT_TRUE(agent->Await([](const auto& s) {
    return s.state() == State::PAUSED && s.timer_in_ms() == 0;
  })) << agent->Log();
  const uint64_t thaws = agent->status().thaws();
  const size_t lines = LateMicros(*agent).size();
  gateway_->RunUntil([] { return false; }, milliseconds(1500));
  EXPECT_EQ(agent->status().state(), State::PAUSED);
  EXPECT_EQ(agent->status().thaws(), thaws);
  EXPECT_EQ(LateMicros(*agent).size(), lines);
}

TEST_F(AgentTimersTest, TimersThatLeadToNothingAreGivenUp) {
  auto agent = MakeSleeper("absolute", 600, /*deeds=*/false);
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) {
    return s.thaws() >= 2 && s.state() == State::PAUSED && s.timer_in_ms() == 0;
  }));
  const uint64_t thaws = agent->status().thaws();
  gateway_->RunUntil([] { return false; }, milliseconds(1500));
  EXPECT_EQ(agent->status().thaws(), thaws);
}

TEST_F(AgentTimersTest, WithHonorTheyAreNot) {
  auto agent = MakeSleeper("absolute", 600, /*deeds=*/false);
  agent->request.mutable_idle()->set_timers(proto::IdlePolicy::TIMERS_HONOR);
  agent->Start();
  EXPECT_TRUE(agent->Await([](const auto& s) { return s.thaws() >= 5; }));
}

TEST_F(AgentTimersTest, WithIgnoreNoTimerWakes) {
  auto agent = MakeSleeper("absolute", 400);
  agent->request.mutable_idle()->set_timers(proto::IdlePolicy::TIMERS_IGNORE);
  agent->Start();
  ASSERT_TRUE(agent->AwaitState(State::PAUSED));
  EXPECT_EQ(agent->status().timer_in_ms(), 0u);
  gateway_->RunUntil([] { return false; }, milliseconds(1500));
  EXPECT_EQ(agent->status().thaws(), 0u);
}

TEST_F(AgentTimersTest, ANearTimerPreventsThePause) {
  auto agent = MakeSleeper("absolute", 300);
  agent->request.mutable_idle()->set_timer_horizon_ms(1000);
  agent->request.mutable_idle()->set_cpu_below_permille(1000);  // a sanitizer's build is busier
  agent->Start();
  ASSERT_TRUE(agent->Await([](const auto& s) { return s.busy().find("timer of ") == 0; }))
      << "state " << agent->status().state() << ", busy: " << agent->status().busy();
  ASSERT_TRUE(gateway_->RunUntil([&] { return LateMicros(*agent).size() >= 4; }));
  EXPECT_EQ(agent->status().thaws(), 0u);
  EXPECT_EQ(agent->status().state(), State::RUNNING);
}

TEST_F(AgentTimersTest, AProgramOfAnOrdinaryUserIsOnTimeToo) {
  auto agent = MakeSleeper("select", 1200);
  agent->unprivileged = true;
  agent->request.mutable_program()->set_uid(65534);
  agent->request.mutable_program()->set_gid(65534);
  agent->request.set_attach(proto::ATTACH_NETSTACK);
  agent->Start();
  ASSERT_TRUE(agent->AwaitState(State::PAUSED)) << agent->Log();
  ASSERT_TRUE(gateway_->RunUntil([&] { return LateMicros(*agent).size() >= 2; })) << agent->Log();
  EXPECT_GE(agent->status().thaws(), 1u);
  for (const int64_t micros : LateMicros(*agent)) EXPECT_LT(micros, 300'000 * SlowFactor());
}

}  // namespace
}  // namespace im::agent
