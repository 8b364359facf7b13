// A child process whose standard input and output we hold as lines.

#ifndef IM_BENCH_PROCESS_H_
#define IM_BENCH_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::bench {

// Ended (SIGKILL) and reaped by the destructor; dies with us (PDEATHSIG).
class Process {
 public:
  struct Options {
    std::vector<std::string> argv;
    std::vector<std::string> environment;  // "NAME=value", added to ours
    bool new_network = false;              // in a fresh network namespace …
    bool wait_for_go = false;              // … and not exec'ed before Go()
  };

  static absl::StatusOr<Process> Start(const Options& options);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }
  void Go();
  absl::Status WriteLine(const std::string& line);
  // Without the newline. OutOfRange at the end, DeadlineExceeded after a minute.
  absl::StatusOr<std::string> ReadLine();
  // WriteLine, then ReadLine.
  absl::StatusOr<std::string> Ask(const std::string& line);
  // Closes its input and waits for the end; the exit code, 128 + signal.
  int Finish();

 private:
  Process() = default;
  pid_t pid_ = -1;
  FileDescriptor go_;
  FileDescriptor input_;
  FileDescriptor output_;
  std::string unread_;
};

// Runs to the end; the standard output, or an error that quotes stderr's tail.
absl::StatusOr<std::string> RunCommand(const std::vector<std::string>& argv,
                                       const std::vector<std::string>& environment = {});

}  // namespace im::bench

#endif  // IM_BENCH_PROCESS_H_
