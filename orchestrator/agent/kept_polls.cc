#include "orchestrator/agent/kept_polls.h"

#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/criu_images.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/task_wait.h"
#include "proto/agent.pb.h"

namespace im::agent {
namespace {

// x86-64.
constexpr uint64_t kPoll = 7;
constexpr uint64_t kSyscallBytes = 2;  // of the instruction
constexpr uint64_t kInterrupted = static_cast<uint64_t>(-EINTR);
constexpr uint64_t kNoCall = static_cast<uint64_t>(-1);

// Of a poll with this argument. Negative: for ever.
uint64_t TimeoutLeft(uint64_t argument, Duration away) {
  const auto timeout_ms = static_cast<int32_t>(argument);
  if (timeout_ms <= 0) return argument;
  const int64_t away_ms = std::chrono::duration_cast<std::chrono::milliseconds>(away).count();
  return static_cast<uint64_t>(std::max<int64_t>(timeout_ms - away_ms, 0));
}

void ContinuePollOf(pid_t task, Duration away) {
  if (ptrace(PTRACE_SEIZE, task, nullptr, nullptr) != 0) return;
  int status = 0;
  pid_t stopped = -1;
  if (ptrace(PTRACE_INTERRUPT, task, nullptr, nullptr) == 0) {
    do stopped = waitpid(task, &status, __WALL);
    while (stopped < 0 && errno == EINTR);
  }
  user_regs_struct registers;
  if (stopped == task && WIFSTOPPED(status) &&
      ptrace(PTRACE_GETREGS, task, nullptr, &registers) == 0 && registers.orig_rax == kPoll &&
      registers.rax == kInterrupted) {
    registers.rax = kPoll;
    registers.orig_rax = kNoCall;
    registers.rip -= kSyscallBytes;
    registers.rdx = TimeoutLeft(registers.rdx, away);
    ptrace(PTRACE_SETREGS, task, nullptr, &registers);
  }
  ptrace(PTRACE_DETACH, task, nullptr, nullptr);
}

}  // namespace

std::string ContinuePoll(absl::string_view image, Duration away) {
  const std::vector<absl::string_view> messages = ImageMessages(image);
  proto::CriuCore core;
  if (messages.empty() ||
      !core.ParseFromArray(messages[0].data(), static_cast<int>(messages[0].size())) ||
      !core.thread_info().has_gpregs())
    return "";
  proto::CriuRegisters& registers = *core.mutable_thread_info()->mutable_gpregs();
  if (registers.orig_ax() != kPoll || registers.ax() != kInterrupted || !registers.has_dx() ||
      registers.ip() < kSyscallBytes)
    return "";
  registers.set_ax(kPoll);
  registers.set_ip(registers.ip() - kSyscallBytes);
  registers.set_dx(TimeoutLeft(registers.dx(), away));
  const std::string changed = core.SerializeAsString();
  const auto size = static_cast<uint32_t>(changed.size());
  return absl::StrCat(image.substr(0, messages[0].data() - image.data() - sizeof(size)),
                      absl::string_view(reinterpret_cast<const char*>(&size), sizeof(size)), changed,
                      image.substr(messages[0].data() + messages[0].size() - image.data()));
}

void ContinuePolls(const std::string& directory, Duration away) {
  std::error_code error;
  std::vector<std::string> paths;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::StartsWith(name, "core-") && absl::EndsWith(name, ".img"))
      paths.push_back(it->path().string());
  }
  for (const std::string& path : paths) {
    const std::string changed = ContinuePoll(ReadSmallFile(path), away);
    if (changed.empty()) continue;
    // The checkpoint is used up: there is nothing to be kept whole.
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << changed;
    if (!file.flush()) IM_LOG(kError, "write ", path, ": the restore will fail");
  }
}

void ContinuePollsOf(const std::vector<pid_t>& processes, Duration away) {
  for (const pid_t process : processes) {
    const std::string tasks = absl::StrCat("/proc/", process, "/task");
    for (const pid_t task : NumbersIn(tasks)) {
      const std::optional<TaskCall> call =
          ParseTaskCall(ReadSmallFile(absl::StrCat(tasks, "/", task, "/syscall")));
      if (call && call->number == kPoll) ContinuePollOf(task, away);
    }
  }
}

}  // namespace im::agent
