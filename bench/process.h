// A child process whose standard input and output we hold as lines. Whatever
// it does, nothing here waits for it beyond a deadline.

#ifndef IM_BENCH_PROCESS_H_
#define IM_BENCH_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::bench {

// What an answer may take, and the end of a child that was asked to end.
inline constexpr std::chrono::seconds kAnswerTimeout{60};

// Ended (SIGKILL) and reaped by the destructor; dies with us (PDEATHSIG).
class Process {
 public:
  struct Options {
    std::vector<std::string> argv;
    std::vector<std::string> environment;  // "NAME=value", added to ours
    bool new_network = false;              // in a fresh network namespace …
    bool wait_for_go = false;              // … and not exec'ed before Go()
    // For one that is never listened to: a server that writes a report for
    // each client would stop for ever once the pipe is full.
    bool discard_output = false;
  };

  static absl::StatusOr<Process> Start(const Options& options);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  void Go();
  // DeadlineExceeded if the child does not read.
  absl::Status WriteLine(const std::string& line);
  // Without the newline. OutOfRange at the end.
  absl::StatusOr<std::string> ReadLine(Duration timeout = kAnswerTimeout);
  // WriteLine, then ReadLine.
  absl::StatusOr<std::string> Ask(const std::string& line);
  // Closes its input and waits for the end, or kills it after `timeout`; the
  // exit code, 128 + signal.
  int Finish(Duration timeout = kAnswerTimeout);

 private:
  Process() = default;
  pid_t pid_ = -1;
  FileDescriptor go_;
  FileDescriptor input_;
  FileDescriptor output_;
  std::string unread_;
  size_t begin_ = 0;  // what is before was read
};

// Runs to the end; the standard output. DeadlineExceeded, and it is killed, if
// that takes longer than `timeout`.
absl::StatusOr<std::string> RunCommand(const std::vector<std::string>& argv,
                                       const std::vector<std::string>& environment = {},
                                       Duration timeout = kAnswerTimeout);

}  // namespace im::bench

#endif  // IM_BENCH_PROCESS_H_
