#include "orchestrator/agent/checkpoint_checks.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"

namespace im::agent {
namespace {

constexpr char kHeader[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

std::string Line(absl::string_view state) {
  return absl::StrCat(kHeader, "   0: 0200004D0A:18EB 0900004D0A:9C40 ", state,
                      " 00000000:00000000 00:00000000 00000000     0        0 16044509 1\n");
}

// A child that waits until it is killed, with one of its own.
class Family {
 public:
  Family() {
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    const FileDescriptor in(fds[0]);
    child_ = fork();
    if (child_ == 0) {
      const pid_t grandchild = fork();
      if (grandchild == 0) {
        pause();
        _exit(0);
      }
      [[maybe_unused]] const ssize_t n = write(fds[1], &grandchild, sizeof(grandchild));
      pause();
      _exit(0);
    }
    const FileDescriptor out(fds[1]);
    EXPECT_EQ(read(in.get(), &grandchild_, sizeof(grandchild_)),
              static_cast<ssize_t>(sizeof(grandchild_)));
  }
  ~Family() {
    kill(grandchild_, SIGKILL);
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  pid_t child() const { return child_; }
  pid_t grandchild() const { return grandchild_; }

 private:
  pid_t child_ = 0;
  pid_t grandchild_ = 0;
};

TEST(CheckpointChecks, ATreeHasItsNumbers) {
  const Family family;
  const auto numbers = LookAtTree(family.child(), {family.child(), family.grandchild()});
  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_EQ(numbers->root, static_cast<uint32_t>(family.child()));
  EXPECT_GE(numbers->highest, static_cast<uint32_t>(family.grandchild()));
  EXPECT_EQ(numbers->uid, geteuid());
  EXPECT_EQ(numbers->gid, getegid());
}

TEST(CheckpointChecks, AProcessOutsideOfTheTreeIsRefusedByName) {
  const Family family, other;
  const auto numbers = LookAtTree(family.child(), {family.child(), other.grandchild()});
  EXPECT_EQ(numbers.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(numbers.status().message().find(absl::StrCat("process ", other.grandchild())),
            absl::string_view::npos)
      << numbers.status();
}

TEST(CheckpointChecks, ConnectionsThatNoProcessHasAreRefused) {
  for (const char* state : {"02", "03", "04", "09", "0B"})
    EXPECT_FALSE(CheckConnections(Line(state)).ok()) << state;
  // Established, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LISTEN.
  for (const char* state : {"01", "05", "06", "07", "08", "0A"})
    EXPECT_TRUE(CheckConnections(Line(state)).ok()) << state;
  EXPECT_TRUE(CheckConnections("").ok());
  EXPECT_TRUE(CheckConnections(kHeader).ok());
}

TEST(CheckpointChecks, SleepsOfALengthAreRefused) {
  const auto check = [](absl::string_view call) {
    return CheckSleep(absl::StrCat(call, " 0x7ffe81a20e38 0x7f1c0d3b5a5c\n")).ok();
  };
  EXPECT_FALSE(check("35 0x7ffd0 0x0 0x0 0x0 0x0 0x0"));      // nanosleep
  EXPECT_FALSE(check("230 0x1 0x0 0x7ffd0 0x0 0x0 0x0"));     // clock_nanosleep
  EXPECT_TRUE(check("230 0x1 0x1 0x7ffd0 0x0 0x0 0x0"));      // … until a moment
  EXPECT_TRUE(check("23 0x1 0x7ffd0 0x0 0x0 0x7ffe0 0x0"));   // select (kept_rests.h)
  EXPECT_TRUE(check("232 0x5 0x7ff 0x80 0x64 0x0 0x8"));  // epoll_wait
  EXPECT_TRUE(CheckSleep("running\n").ok());
}

TEST(CheckpointChecks, DatagramsThatNobodyHasReadAreRefused) {
  const auto table = [](absl::string_view unread) {
    return absl::StrCat(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
        "  123: 00000000:1B59 00000000:0000 07 00000000:00000000 00:00000000 00000000     0\n"
        "  124: 0300004D:1B5A 00000000:0000 07 00000000:", unread, " 00:00000000 00000000     0\n");
  };
  EXPECT_TRUE(CheckDatagrams(table("00000000"), {}).ok());
  const absl::Status refused = CheckDatagrams(table("00000300"), {0x1b59});
  EXPECT_EQ(refused.message(), "a datagram to port 7002 is not read yet");
  // We have what came to that port.
  EXPECT_TRUE(CheckDatagrams(table("00000300"), {0x1b5a}).ok());
  EXPECT_TRUE(CheckDatagrams("", {}).ok());
}

}  // namespace
}  // namespace im::agent
