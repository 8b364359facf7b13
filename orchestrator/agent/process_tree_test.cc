#include "orchestrator/agent/process_tree.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace im::agent {
namespace {

// In a process of its own, which has no other children. Its exit code.
template <typename F>
int InChild(const F& f) {
  const pid_t pid = fork();
  if (pid == 0) _exit(f());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST(ProcessTreeTest, OrphansStoppedOnesAndThoseOfOtherSessionsEnd) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const int result = InChild([&] {
    KeepDescendants();
    // A child, a grandchild of a session of its own, whose parent is gone, and a
    // stopped one. Each holds the pipe, as long as it lives.
    for (int i = 0; i < 3; ++i) {
      const pid_t child = fork();
      if (child != 0) continue;
      if (i == 1 && (fork() != 0 || setsid() < 0)) _exit(0);
      if (i == 2) raise(SIGSTOP);
      char started = 's';
      if (i < 2 && write(fds[1], &started, 1) != 1) _exit(1);
      while (true) pause();
    }
    char started[2];
    for (char& one : started)
      if (read(fds[0], &one, 1) != 1) return 2;
    KillDescendants();
    return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD ? 0 : 3;
  });
  EXPECT_EQ(result, 0);
  close(fds[1]);
  char byte;
  EXPECT_EQ(read(fds[0], &byte, 1), 0) << "nobody has the other end";
  close(fds[0]);
}

TEST(ProcessTreeTest, WithoutDescendantsThereIsNothingToWaitFor) {
  EXPECT_EQ(InChild([] {
    KeepDescendants();
    KillDescendants();
    return 0;
  }), 0);
}

}  // namespace
}  // namespace im::agent
