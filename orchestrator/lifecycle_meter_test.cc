#include "orchestrator/lifecycle_meter.h"

#include <gtest/gtest.h>

#include <chrono>

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = LifecycleMeter::WakeKind;

const Instant kMeterStart = Instant(seconds(1000));

class LifecycleMeterTest : public testing::Test {
 protected:
  // At `at` seconds.
  void Move(HostState from, HostState to, int at, Cause::Kind cause = Cause::Kind::kUnknown,
            Duration duration = Duration(0), bool error = false, bool wakes = true) {
    Transition transition;
    transition.from = from;
    transition.to = to;
    transition.cause = MakeCause(cause);
    transition.duration = duration;
    transition.error = error;
    transition.at = kMeterStart + seconds(at);
    meter_.OnTransition(transition, wakes);
  }
  Duration TimeIn(HostState state, int at) { return meter_.host_time(state, kMeterStart + seconds(at)); }

  LifecycleMeter meter_{3, kMeterStart};
};

TEST_F(LifecycleMeterTest, CountsWakesByKindAndCause) {
  Move(HostState::kImaginary, HostState::kStarting, 1, Cause::Kind::kSyn);
  Move(HostState::kStarting, HostState::kRunning, 1, Cause::Kind::kSyn, milliseconds(4));
  Move(HostState::kRunning, HostState::kPaused, 2);
  Move(HostState::kPaused, HostState::kRunning, 3, Cause::Kind::kPing, milliseconds(1));
  Move(HostState::kCheckpointed, HostState::kRestoring, 4, Cause::Kind::kSyn);
  Move(HostState::kRestoring, HostState::kRunning, 4, Cause::Kind::kSyn, milliseconds(50));
  EXPECT_EQ(meter_.wakes(Kind::kCold, Cause::Kind::kSyn), 1u);
  EXPECT_EQ(meter_.wakes(Kind::kThaw, Cause::Kind::kPing), 1u);
  EXPECT_EQ(meter_.wakes(Kind::kThaw, Cause::Kind::kSyn), 0u);
  EXPECT_EQ(meter_.wakes(Kind::kRestore, Cause::Kind::kSyn), 1u);
  EXPECT_EQ(meter_.durations(Kind::kCold).sum(), milliseconds(4));
  EXPECT_EQ(meter_.durations(Kind::kThaw).sum(), milliseconds(1));
  EXPECT_EQ(meter_.durations(Kind::kRestore).count(), 1u);
}

TEST_F(LifecycleMeterTest, WhatIsNoWakeIsNotCountedAsOne) {
  Move(HostState::kImaginary, HostState::kStarting, 1);
  Move(HostState::kStarting, HostState::kRunning, 1, Cause::Kind::kSyn, milliseconds(4), false,
       /*wakes=*/false);
  Move(HostState::kRunning, HostState::kReleasing, 2);
  Move(HostState::kReleasing, HostState::kRunning, 2, Cause::Kind::kSyn, milliseconds(4));
  for (const Kind kind : {Kind::kCold, Kind::kThaw, Kind::kRestore}) {
    EXPECT_EQ(meter_.wakes(kind, Cause::Kind::kSyn), 0u);
    EXPECT_EQ(meter_.durations(kind).count(), 0u);
  }
}

TEST_F(LifecycleMeterTest, ACauseOfANewerAgentIsCountedAsUnknown) {
  Move(HostState::kPaused, HostState::kRunning, 3, static_cast<Cause::Kind>(200));
  EXPECT_EQ(meter_.wakes(Kind::kThaw, Cause::Kind::kUnknown), 1u);
}

TEST_F(LifecycleMeterTest, AddsUpHostSeconds) {
  EXPECT_EQ(TimeIn(HostState::kImaginary, 10), seconds(30));
  Move(HostState::kImaginary, HostState::kStarting, 10);
  Move(HostState::kStarting, HostState::kRunning, 12);
  Move(HostState::kRunning, HostState::kPaused, 20);
  EXPECT_EQ(TimeIn(HostState::kImaginary, 25), seconds(30 + 2 * 15));
  EXPECT_EQ(TimeIn(HostState::kStarting, 25), seconds(2));
  EXPECT_EQ(TimeIn(HostState::kRunning, 25), seconds(8));
  EXPECT_EQ(TimeIn(HostState::kPaused, 25), seconds(5));
  EXPECT_EQ(meter_.configured_time(kMeterStart + seconds(25)), seconds(3 * 25));
}

TEST_F(LifecycleMeterTest, TellsFailuresFromReleases) {
  Move(HostState::kImaginary, HostState::kStarting, 1);
  Move(HostState::kStarting, HostState::kImaginary, 1, Cause::Kind::kUnknown, Duration(0), true);
  EXPECT_EQ(meter_.failed_starts(), 1u);
  Move(HostState::kImaginary, HostState::kStarting, 2);
  Move(HostState::kStarting, HostState::kReleasing, 30, Cause::Kind::kUnknown, Duration(0), true);
  Move(HostState::kReleasing, HostState::kImaginary, 31);
  EXPECT_EQ(meter_.failed_starts(), 2u);
  Move(HostState::kRunning, HostState::kImaginary, 32, Cause::Kind::kUnknown, Duration(0), true);
  EXPECT_EQ(meter_.failed_programs(), 1u);
  EXPECT_EQ(meter_.releases(), 1u);
}

}  // namespace
}  // namespace im::orchestrator
