#include "orchestrator/agent/checkpointer.h"

#include <gtest/gtest.h>

namespace im::agent {
namespace {

TEST(Checkpointer, TheFirstErrorOfALogIsSaidWithoutItsPlace) {
  EXPECT_EQ(FirstErrorOf("(00.020389) 2 fdinfo 0: pos: 0 flags: 100000/0\n"
                         "(00.020401) Error (criu/files-reg.c:1790): Can't lookup mount=24 for "
                         "fd=0 path=/dev/null\n"
                         "(00.020410) Error (criu/cr-dump.c:1545): Dump files (pid: 2) failed\n"),
            "Can't lookup mount=24 for fd=0 path=/dev/null");
  EXPECT_EQ(FirstErrorOf("(00.058148)      2: Error (criu/pipes.c:238): Unable to reopen\n"),
            "Unable to reopen");
}

TEST(Checkpointer, ErrorsThatDoNotMatterAreLeftOut) {
  EXPECT_EQ(FirstErrorOf("(00.042535) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE "
                         "for self: Operation not permitted\n"
                         "(00.058223) Error (criu/cr-restore.c:2331): Restoring FAILED.\n"),
            "Restoring FAILED.");
  EXPECT_EQ(FirstErrorOf(""), "");
  EXPECT_EQ(FirstErrorOf("Warn  (criu/config.c:1063): ignored\n"), "");
}

}  // namespace
}  // namespace im::agent
