#include "orchestrator/host.h"

#include <gtest/gtest.h>

namespace im::orchestrator {
namespace {

TEST(HostState, TheTableOfEdgesCellByCell) {
  // Rows: from; columns: to. I S R P L(releasing) C E(restoring).
  const char* const table[kHostStates] = {
      /* imaginary    */ ".S...C.",
      /* starting     */ "I.R.L..",
      /* running      */ "I..PL..",
      /* paused       */ "I.R.L..",
      /* releasing    */ "I.R..C.",
      /* checkpointed */ "I.....E",
      /* restoring    */ "I.R.LC.",
  };
  for (int from = 0; from < kHostStates; ++from)
    for (int to = 0; to < kHostStates; ++to)
      EXPECT_EQ(TransitionAllowed(static_cast<HostState>(from), static_cast<HostState>(to)),
                table[from][to] != '.')
          << HostStateName(static_cast<HostState>(from)) << " to "
          << HostStateName(static_cast<HostState>(to));
}

TEST(HostState, OnlyImaginaryAndCheckpointedHaveNoInstance) {
  for (int i = 0; i < kHostStates; ++i) {
    const auto state = static_cast<HostState>(i);
    EXPECT_EQ(HasInstance(state),
              state != HostState::kImaginary && state != HostState::kCheckpointed);
    EXPECT_NE(HostStateName(state), "unknown");
  }
}

}  // namespace
}  // namespace im::orchestrator
