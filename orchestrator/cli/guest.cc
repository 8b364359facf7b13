#include "orchestrator/cli/guest.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/status.h"

extern char** environ;

namespace im::orchestrator::cli {
namespace {

constexpr int kStartFd = 3;
constexpr int kGroupsMax = 1024;

[[noreturn]] void ExecAgent(char* const* argv, int request, const SignalRelay& signals) {
  signals.RestoreInChild();
  if (request == kStartFd) {
    fcntl(request, F_SETFD, 0);
  } else {
    dup2(request, kStartFd);
  }
  execv(argv[0], argv);
  dprintf(STDERR_FILENO, "im: cannot run %s: %s\n", argv[0], strerrordesc_np(errno));
  _exit(127);
}

}  // namespace

absl::Status FillGuestProgram(const std::vector<std::string>& command, proto::Program& program) {
  program.Clear();
  for (const std::string& word : command) program.add_argv(word);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    (*program.mutable_environment())[text.substr(0, equals)] = text.substr(equals + 1);
  }
  std::error_code error;
  const auto directory = std::filesystem::current_path(error);
  program.set_working_dir(error ? "/" : directory.string());
  program.set_uid(geteuid());
  program.set_gid(getegid());
  gid_t groups[kGroupsMax];
  const int count = getgroups(kGroupsMax, groups);
  if (count < 0) return ErrnoStatus("getgroups");
  for (int i = 0; i < count; ++i) program.add_supplementary_gids(groups[i]);
  program.set_stop_signal("SIGTERM");
  program.set_stop_grace_ms(10'000);
  return absl::OkStatus();
}

OwnDirectory::~OwnDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

absl::StatusOr<std::string> OwnDirectory::Make() {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "im-run-XXXXXX").string();
  if (error || mkdtemp(path.data()) == nullptr)
    return ErrnoStatus(absl::StrCat("make ", path), error ? error.value() : errno);
  return path_ = path;
}

absl::StatusOr<pid_t> StartGuestAgent(const std::string& agent,
                                      const proto::StartRequest& request,
                                      const SignalRelay& signals) {
  if (access(agent.c_str(), X_OK) != 0) return ErrnoStatus(absl::StrCat("run ", agent));
  const FileDescriptor memory(memfd_create("im-start", MFD_CLOEXEC));
  if (!memory.valid()) return ErrnoStatus("memfd_create");
  const std::string bytes = request.SerializeAsString();
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t n = write(memory.get(), bytes.data() + written, bytes.size() - written);
    if (n < 0) return ErrnoStatus("write the start request");
    written += static_cast<size_t>(n);
  }
  if (lseek(memory.get(), 0, SEEK_SET) != 0) return ErrnoStatus("lseek");
  std::string words[] = {agent, "--start-fd", absl::StrCat(kStartFd)};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus("fork");
  if (pid == 0) ExecAgent(argv, memory.get(), signals);
  return pid;
}

int WaitForGuest(pid_t agent, SignalRelay& signals) {
  std::optional<int> status;
  while (!status) {
    pollfd entry{signals.fd(), POLLIN, 0};
    if (poll(&entry, 1, -1) < 0 && errno != EINTR) break;
    signals.Take([&](int signal, bool by_terminal) {
      int result = 0;
      if (signal != SIGCHLD) {
        // What the terminal sends reaches the agent, of our group, by itself.
        if (!by_terminal && !status) kill(agent, signal);
      } else if (waitpid(agent, &result, WNOHANG) == agent) {
        status = result;
      }
    });
  }
  if (!status) return 1;
  return WIFSIGNALED(*status) ? 128 + WTERMSIG(*status) : WEXITSTATUS(*status);
}

}  // namespace im::orchestrator::cli
