#include "orchestrator/memory_admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kMiB = 1 << 20;

class MemoryAdmissionTest : public testing::Test {
 protected:
  std::optional<uint64_t> available = 200 * kMiB;
  int readings = 0;
  MemoryAdmission admission{100 * kMiB, [this] {
                              ++readings;
                              return available;
                            }};
  Instant now{seconds(1'000)};
};

TEST_F(MemoryAdmissionTest, AHostNeedsWhatItUsedElseItsLimit) {
  EXPECT_EQ(admission.NeedOf(1), MemoryAdmission::kNeedUnknown);
  admission.SetLimit(1, 80 * kMiB);
  admission.SetLimit(2, 0);
  EXPECT_EQ(admission.NeedOf(1), 80 * kMiB);
  EXPECT_EQ(admission.NeedOf(2), MemoryAdmission::kNeedUnknown);
  admission.OnUse(1, 30 * kMiB);
  admission.OnUse(1, 10 * kMiB);
  admission.OnUse(1, 0);  // not told
  EXPECT_EQ(admission.NeedOf(1), 30 * kMiB);
  admission.OnUse(1, 90 * kMiB);
  EXPECT_EQ(admission.NeedOf(1), 80 * kMiB);
}

TEST_F(MemoryAdmissionTest, StartsUnderWayCountUntilTheirMemoryShows) {
  for (HostId host = 0; host < 2; ++host) admission.SetLimit(host, 60 * kMiB);
  EXPECT_EQ(admission.Start(0, now), std::nullopt);
  const std::optional<std::string> why = admission.Start(1, now);
  ASSERT_TRUE(why.has_value());
  EXPECT_EQ(*why, "needs 60 MiB of memory; of 200 MiB available 100 MiB are kept free and 60 MiB "
                  "are for other starts");
  now += MemoryAdmission::kSettle;
  EXPECT_EQ(admission.Start(1, now), std::nullopt);
}

TEST_F(MemoryAdmissionTest, AReadingServesForAMoment) {
  for (HostId host = 0; host < 3; ++host) (void)admission.Start(host, now);
  EXPECT_EQ(readings, 1);
  (void)admission.Start(3, now += MemoryAdmission::kReadingMax);
  EXPECT_EQ(readings, 2);
}

TEST_F(MemoryAdmissionTest, NobodyWaitsWhereNothingIsKnown) {
  available = std::nullopt;
  admission.SetLimit(0, 1'000'000 * kMiB);
  EXPECT_EQ(admission.Start(0, now), std::nullopt);
}

TEST_F(MemoryAdmissionTest, TheKernelsFigureIsFound) {
  EXPECT_EQ(ParseMemAvailable("MemTotal: 8 kB\nMemAvailable:   2048 kB\n"), 2048u << 10);
  EXPECT_EQ(ParseMemAvailable("MemTotal: 8 kB\n"), std::nullopt);
  EXPECT_EQ(ParseMemAvailable("MemAvailable: much kB"), std::nullopt);
  EXPECT_TRUE(ReadMemAvailable().has_value());
}

// ---- the Activator's side ---------------------------------------------------

class ActivatorMemoryTest : public ActivatorFixture {
 protected:
  void SetUp() override {
    policy.start_timeout = seconds(3);
    activator->SetAdmission(&admission);
  }
  struct Admission final : Activator::Admission {
    std::optional<std::string> Start(HostId, Instant) override {
      ++asked;
      return full ? std::optional<std::string>("needs more") : std::nullopt;
    }
    bool full = true;
    int asked = 0;
  } admission;
  HostPolicy policy;
};

TEST_F(ActivatorMemoryTest, AHostWaitsForMemoryAndIsStartedWhenItIsThere) {
  const HostId web = Add("web", policy);
  EXPECT_EQ(SendSyn(web), Activator::Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("wait web: needs more"));
  EXPECT_EQ(table[web].state, HostState::kImaginary);
  EXPECT_TRUE(activator->outlook(web, now).wake_waits);
  EXPECT_EQ(activator->outlook(web, now).memory_wait, "needs more");
  admission.full = false;
  now = activator->NextDeadline();
  activator->OnTimer(now);
  EXPECT_THAT(recorder.Take(), ElementsAre("web imaginary > starting", "start web#1"));
  EXPECT_EQ(activator->outlook(web, now).memory_wait, "");
}

TEST_F(ActivatorMemoryTest, TheWaitIsBoundedAndSaysWhy) {
  const HostId web = Add("web", policy);
  SendSyn(web);
  recorder.Take();
  const Instant end = now + policy.start_timeout;
  while (activator->NextDeadline() <= end) {
    now = activator->NextDeadline();
    activator->OnTimer(now);
  }
  EXPECT_GT(admission.asked, 5);
  EXPECT_THAT(recorder.Take(), ElementsAre("refuse web 1 over: no memory within 3s: needs more"));
  EXPECT_EQ(now, end);
  EXPECT_EQ(activator->active(), 0u);
}

TEST_F(ActivatorMemoryTest, AHostThatMustRunWaitsForEver) {
  policy.always_running = true;
  const HostId db = Add("db", policy);
  activator->Begin(now);
  for (int i = 0; i < 1'000; ++i) {
    now = activator->NextDeadline();
    activator->OnTimer(now);
  }
  EXPECT_EQ(table[db].state, HostState::kImaginary);
  admission.full = false;
  now = activator->NextDeadline();
  activator->OnTimer(now);
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorMemoryTest, WhoWaitsForMemoryKeepsNoStartSlot) {
  const HostId big = Add("big", policy);
  const HostId small = Add("small", policy);
  SendSyn(big);
  admission.full = false;
  SendSyn(small);
  EXPECT_EQ(table[small].state, HostState::kStarting);
  EXPECT_EQ(activator->starting(), 1u);
}

}  // namespace
}  // namespace im::orchestrator
