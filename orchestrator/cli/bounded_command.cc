#include "orchestrator/cli/bounded_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/file_descriptor.h"

namespace im::orchestrator::cli {
namespace {

[[noreturn]] void Exec(char* const* argv, int out) {
  setsid();  // whom it starts ends with it, too
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  execvp(argv[0], argv);
  _exit(127);
}

}  // namespace

CommandResult RunBounded(const std::vector<std::string>& argv, Duration bound) {
  CommandResult result;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return result;
  const FileDescriptor read_end(ends[0]);
  FileDescriptor write_end(ends[1]);
  std::vector<std::string> words = argv;
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) return result;
  if (child == 0) Exec(pointers.data(), write_end.get());
  write_end.Reset();
  const RealClock clock;
  const Instant end = clock.Now() + bound;
  bool late = false;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - clock.Now()).count();
    pollfd entry{read_end.get(), POLLIN, 0};
    const int n = left <= 0 ? 0 : poll(&entry, 1, static_cast<int>(left));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      late = true;
      break;
    }
    char buffer[4096];
    const ssize_t got = read(read_end.get(), buffer, sizeof(buffer));
    if (got <= 0) break;
    result.output.append(buffer, std::min(static_cast<size_t>(got),
                                          kCommandOutputBytesMax - result.output.size()));
  }
  if (late) kill(-child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (late) return result;
  result.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}

}  // namespace im::orchestrator::cli
