#include "orchestrator/agent/timer_probe.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

constexpr char kTimerFd[] = "anon_inode:[timerfd]";

// "(12, 345678)": seconds and nanoseconds.
std::optional<Duration> ParsePair(absl::string_view text) {
  int64_t seconds = 0, nanos = 0;
  if (std::sscanf(std::string(text).c_str(), " (%" SCNd64 ", %" SCNd64 ")", &seconds, &nanos) != 2)
    return std::nullopt;
  if (seconds < 0 || seconds > INT32_MAX || nanos < 0 || nanos >= 1'000'000'000)
    return std::nullopt;
  return std::chrono::seconds(seconds) + Duration(nanos);
}

struct TaskStatus {
  std::string name;
  int32_t parent = 0;
  uint64_t switches = 0;
};

std::optional<TaskStatus> ReadTaskStatus(const std::string& task) {
  TaskStatus status;
  bool complete = false;
  for (absl::string_view line : absl::StrSplit(ReadSmallFile(task + "/status"), '\n')) {
    if (absl::ConsumePrefix(&line, "Name:\t")) {
      status.name = PrintableName(line);
    } else if (absl::ConsumePrefix(&line, "PPid:\t")) {
      if (!absl::SimpleAtoi(line, &status.parent)) return std::nullopt;
    } else if (absl::ConsumePrefix(&line, "voluntary_ctxt_switches:\t")) {
      complete = absl::SimpleAtoi(line, &status.switches);
    }
  }
  return complete ? std::optional(status) : std::nullopt;
}

void LookAtTask(pid_t process, pid_t task, TimerLook& look) {
  const std::string path = absl::StrCat("/proc/", process, "/task/", task);
  const std::optional<TaskStatus> status = ReadTaskStatus(path);
  if (!status) return;
  TimerSeen seen{.task = task,
                 .parent = status->parent,
                 .name = status->name,
                 .switches = status->switches};
  const std::string text = ReadSmallFile(path + "/syscall");
  if (const std::optional<TaskCall> call = ParseTaskCall(text)) {
    const auto read = [process](uint64_t address, void* out, size_t size) {
      const iovec local{out, size}, remote{reinterpret_cast<void*>(address), size};
      return process_vm_readv(process, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
    };
    const TaskWait wait = WaitOf(*call, ClockTimes::Read(), read);
    seen.kind = wait.kind;
    seen.length = wait.length;
    if (wait.rest != 0 && look.rests.size() < kRestsMax)
      look.rests.push_back({process, task, *call, wait.rest, wait.rest_unit_ns, wait.length});
  } else if (absl::StartsWith(text, "running") && look.running.empty()) {
    look.running = status->name;
  }
  look.seen.push_back(std::move(seen));
}

void LookAtDescriptors(pid_t process, TimerLook& look) {
  const std::string directory = absl::StrCat("/proc/", process);
  std::string name;
  size_t count = 0;
  for (const pid_t fd : NumbersIn(directory + "/fd")) {
    if (++count > kDescriptorsMax) return;
    char target[sizeof(kTimerFd)];
    const ssize_t n =
        readlink(absl::StrCat(directory, "/fd/", fd).c_str(), target, sizeof(target));
    if (n != sizeof(kTimerFd) - 1 || absl::string_view(target, n) != kTimerFd) continue;
    std::optional<TimerSeen> seen =
        ParseTimerFd(ReadSmallFile(absl::StrCat(directory, "/fdinfo/", fd)));
    if (!seen) continue;
    if (name.empty()) {
      const std::optional<ProcStat> stat = ReadProcStat(process);
      name = stat ? PrintableName(stat->name) : "?";
    }
    seen->task = process;
    seen->fd = fd;
    seen->name = name;
    look.seen.push_back(*std::move(seen));
  }
}

}  // namespace

std::optional<TimerSeen> ParseTimerFd(absl::string_view text) {
  TimerSeen seen;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::ConsumePrefix(&line, "it_value:")) {
      const std::optional<Duration> value = ParsePair(line);
      if (!value || *value == Duration(0)) return std::nullopt;
      seen.kind = TaskWait::Kind::kAbsolute;
      seen.length = *value;
    } else if (absl::ConsumePrefix(&line, "it_interval:")) {
      seen.period = ParsePair(line).value_or(Duration(0));
    }
  }
  return seen.kind == TaskWait::Kind::kAbsolute ? std::optional(seen) : std::nullopt;
}

TimerLook LookAtTimers(const std::vector<pid_t>& processes, bool with_fds) {
  TimerLook look;
  for (const pid_t process : processes) {
    for (const pid_t task : NumbersIn(absl::StrCat("/proc/", process, "/task"))) {
      if (look.seen.size() >= kTasksMax) return look;
      LookAtTask(process, task, look);
    }
    if (with_fds) LookAtDescriptors(process, look);
  }
  return look;
}

uint64_t CountDeeds(const std::vector<pid_t>& processes) {
  uint64_t deeds = 0;
  for (const pid_t process : processes) {
    const std::string directory = absl::StrCat("/proc/", process);
    for (absl::string_view line : absl::StrSplit(ReadSmallFile(directory + "/io"), '\n')) {
      uint64_t writes = 0;
      if (absl::ConsumePrefix(&line, "syscw: ") && absl::SimpleAtoi(line, &writes))
        deeds += writes;
    }
    if (const std::optional<ProcStat> stat = ReadProcStat(process))
      deeds += stat->children_faults;
  }
  return deeds;
}

}  // namespace im::agent
