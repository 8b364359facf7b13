#include "orchestrator/agent/spawn.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/file_descriptor.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

// The disposition of a signal for as long as it lives.
class Disposition {
 public:
  Disposition(int number, sighandler_t handler)
      : number_(number), before_(signal(number, handler)) {}
  ~Disposition() { signal(number_, before_); }

 private:
  const int number_;
  const sighandler_t before_;
};

SpawnOptions Shell(const std::string& script) {
  SpawnOptions options;
  options.argv = {"sh", "-c", script};
  options.set_user = false;
  return options;
}

int ExitCode(pid_t pid) {
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The mask of a line such as "SigIgn:\t0000000000001000" of the program.
uint64_t MaskOf(const std::string& line) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const FileDescriptor in(ends[0]);
  FileDescriptor out(ends[1]);
  SpawnOptions options = Shell("exec grep ^" + line + ": /proc/self/status");
  options.stdio = {-1, out.get(), -1};
  const auto pid = Spawn(options);
  EXPECT_TRUE(pid.ok()) << pid.status();
  out.Reset();
  EXPECT_EQ(ExitCode(*pid), 0);
  char text[128] = {};
  EXPECT_GT(read(in.get(), text, sizeof(text) - 1), 0);
  return std::stoull(std::string(text).substr(line.size() + 1), nullptr, 16);
}

uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }

TEST(SpawnTest, WhatNohupIgnoresStaysIgnoredAndABrokenPipeIsFelt) {
  const Disposition hangup(SIGHUP, SIG_IGN);
  const Disposition pipe(SIGPIPE, SIG_IGN);
  const uint64_t ignored = MaskOf("SigIgn");
  EXPECT_TRUE(ignored & Bit(SIGHUP));
  EXPECT_FALSE(ignored & Bit(SIGPIPE));
}

TEST(SpawnTest, NothingIsBlocked) {
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, &before);
  EXPECT_EQ(MaskOf("SigBlk"), 0u);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(SpawnTest, WhatIsWrongIsSaidInWords) {
  SpawnOptions options = Shell("");
  options.argv = {"nosuch"};
  EXPECT_EQ(Spawn(options).status().message(), "exec nosuch: No such file or directory");
  options = Shell("");
  options.working_dir = "/nowhere";
  EXPECT_EQ(Spawn(options).status().message(),
            "change to directory /nowhere: No such file or directory");
  options = Shell("");
  options.ulimits["nofiles"] = 1;
  EXPECT_EQ(Spawn(options).status().message(), "set ulimit nofiles: Invalid argument");
}

TEST(SpawnTest, TheCallerHelpsTheChildBeforeItIsTheProgram) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const FileDescriptor in(fds[0]), out(fds[1]);
  pid_t told = 0;
  SpawnOptions options = Shell("exit $HELPED");
  options.in_child = [&] {
    char byte;
    if (read(in.get(), &byte, 1) != 1) return absl::UnknownError("no help");
    return absl::OkStatus();
  };
  options.in_caller = [&](pid_t pid) {
    told = pid;
    return write(out.get(), "h", 1) == 1 ? absl::OkStatus() : absl::UnknownError("write");
  };
  options.environment["HELPED"] = "7";
  options.environment["PATH"] = "/usr/bin:/bin";
  const auto pid = Spawn(options);
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(told, *pid);
  EXPECT_EQ(ExitCode(*pid), 7);
  options.in_child = [] { return absl::UnknownError("the child cannot"); };
  EXPECT_EQ(Spawn(options).status().message(), "the child cannot");
  options.in_child = nullptr;
  options.in_caller = [](pid_t) { return absl::UnknownError("the caller cannot"); };
  EXPECT_EQ(Spawn(options).status().message(), "the caller cannot");
}

TEST(SpawnTest, SignalsHaveNames) {
  EXPECT_EQ(SignalOf("SIGTERM"), SIGTERM);
  EXPECT_EQ(SignalOf("hup"), SIGHUP);
  EXPECT_EQ(SignalOf("9"), SIGKILL);
  EXPECT_EQ(SignalOf("nonsense"), 0);
  EXPECT_EQ(SignalOf("0"), 0);
  EXPECT_EQ(SignalOf("1000"), 0);
}

}  // namespace
}  // namespace im::agent
