// The table of host.h, cell by cell.

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "orchestrator/activator.h"
#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using Verdict = Activator::Verdict;
using State = Activator::Report::State;
using EndKind = Activator::End::Kind;

class ActivatorTableTest : public ActivatorFixture {};

TEST_F(ActivatorTableTest, EveryStateMeetsEveryEvent) {
  enum Event { kPacket, kWake, kIdle, kStatusRunning, kStatusPaused, kEnd, kFail, kTime, kRelease };
  const struct {
    HostState from;
    HostState to[9];  // by Event
  } rows[] = {
      {HostState::kImaginary,
       {HostState::kStarting, HostState::kStarting, HostState::kImaginary, HostState::kImaginary,
        HostState::kImaginary, HostState::kImaginary, HostState::kImaginary, HostState::kImaginary,
        HostState::kImaginary}},
      {HostState::kStarting,
       {HostState::kStarting, HostState::kStarting, HostState::kStarting, HostState::kRunning,
        HostState::kPaused, HostState::kImaginary, HostState::kImaginary, HostState::kReleasing,
        HostState::kReleasing}},
      {HostState::kRunning,
       {HostState::kRunning, HostState::kRunning, HostState::kRunning, HostState::kRunning,
        HostState::kPaused, HostState::kImaginary, HostState::kImaginary, HostState::kRunning,
        HostState::kReleasing}},
      {HostState::kPaused,
       {HostState::kPaused, HostState::kPaused, HostState::kReleasing, HostState::kRunning,
        HostState::kPaused, HostState::kImaginary, HostState::kImaginary, HostState::kPaused,
        HostState::kReleasing}},
      {HostState::kReleasing,
       {HostState::kReleasing, HostState::kReleasing, HostState::kReleasing, HostState::kReleasing,
        HostState::kReleasing, HostState::kImaginary, HostState::kImaginary, HostState::kReleasing,
        HostState::kReleasing}},
  };
  int n = 0;
  for (const auto& row : rows) {
    for (int event = kPacket; event <= kRelease; ++event) {
      const HostId host = Add(absl::StrCat("h", n++));
      Bring(host, row.from);
      switch (event) {
        case kPacket:
          EXPECT_EQ(SendSyn(host), row.from == HostState::kRunning || row.from == HostState::kPaused
                                       ? Verdict::kForward
                                       : Verdict::kHeld);
          break;
        case kWake:
          EXPECT_TRUE(activator->Wake(host, MakeCause(Cause::Kind::kUser), now).ok());
          break;
        case kIdle:  // release_after, for who counts it
          if (row.from == HostState::kPaused) Advance(minutes(10));
          break;
        case kStatusRunning:
          Report(host, State::kRunning);
          break;
        case kStatusPaused:
          Report(host, State::kPaused);
          break;
        case kEnd:
          End(host, EndKind::kExited, "exited");
          break;
        case kFail:
          End(host, EndKind::kFailed, "failed");
          break;
        case kTime:
          Advance(seconds(30));
          break;
        case kRelease:
          EXPECT_TRUE(activator->Release(host, "im release", now).ok());
          break;
      }
      EXPECT_EQ(table[host].state, row.to[event])
          << HostStateName(row.from) << ", event " << event;
      // Out of the way of the next case.
      while (table[host].state != HostState::kImaginary) End(host, EndKind::kExited, "");
    }
  }
}

}  // namespace
}  // namespace im::orchestrator
