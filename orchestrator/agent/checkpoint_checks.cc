#include "orchestrator/agent/checkpoint_checks.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/task_wait.h"

namespace im::agent {
namespace {

// States of sockets as /proc/net/tcp has them (linux/net/tcp_states.h).
constexpr absl::string_view kSynSent = "02";
constexpr absl::string_view kSynReceived = "03";
constexpr absl::string_view kFinWait1 = "04";
constexpr absl::string_view kLastAck = "09";
constexpr absl::string_view kClosing = "0B";

// System calls of x86-64.
constexpr int64_t kNanosleep = 35;
constexpr int64_t kClockNanosleep = 230;
constexpr uint64_t kTimerAbsolute = 1;  // flag of the latter

// Above the restored numbers CRIU needs some for itself and its helpers.
constexpr uint32_t kNumbersForCriu = 1000;

// "NSpid:\t4711\t2" of /proc/PID/status: the number in the innermost namespace; the
// last one of others.
uint32_t InnermostNumber(absl::string_view status, absl::string_view field) {
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (!absl::ConsumePrefix(&line, field)) continue;
    const std::vector<absl::string_view> numbers =
        absl::StrSplit(line, absl::ByAnyChar("\t "), absl::SkipEmpty());
    uint32_t number = 0;
    if (!numbers.empty() && absl::SimpleAtoi(numbers.back(), &number)) return number;
  }
  return 0;
}

std::string NameOf(pid_t pid) {
  const std::optional<ProcStat> stat = ReadProcStat(pid);
  return stat ? PrintableName(stat->name) : absl::StrCat("process ", pid);
}

}  // namespace

uint32_t InnerNumberOf(pid_t pid) {
  return InnermostNumber(ReadSmallFile(absl::StrCat("/proc/", pid, "/status")), "NSpid:");
}

absl::StatusOr<TreeNumbers> LookAtTree(pid_t program, const std::vector<pid_t>& processes) {
  absl::flat_hash_map<pid_t, pid_t> parents;
  for (const pid_t pid : processes)
    if (const std::optional<ProcStat> stat = ReadProcStat(pid)) parents[pid] = stat->parent;
  for (const pid_t pid : processes) {
    pid_t ancestor = pid;
    while (ancestor != program) {
      const auto parent = parents.find(ancestor);
      if (parent == parents.end())
        return absl::FailedPreconditionError(absl::StrCat(
            NameOf(pid), " (process ", pid, ") is no descendant of the program any more"));
      ancestor = parent->second;
    }
  }
  TreeNumbers numbers;
  for (const pid_t pid : processes) {
    const std::string status = ReadSmallFile(absl::StrCat("/proc/", pid, "/status"));
    const uint32_t number = InnermostNumber(status, "NSpid:");
    if (pid == program) {
      numbers.root = number;
      numbers.uid = InnermostNumber(status, "Uid:");
      numbers.gid = InnermostNumber(status, "Gid:");
    }
    numbers.highest = std::max({numbers.highest, number, InnermostNumber(status, "NSpgid:"),
                                InnermostNumber(status, "NSsid:")});
    for (const pid_t task : NumbersIn(absl::StrCat("/proc/", pid, "/task")))
      if (task != pid)
        numbers.highest = std::max(
            numbers.highest,
            InnermostNumber(ReadSmallFile(absl::StrCat("/proc/", pid, "/task/", task, "/status")),
                            "NSpid:"));
  }
  if (numbers.root == 0) return absl::FailedPreconditionError("the program has ended");
  return numbers;
}

absl::Status CheckConnections(absl::string_view proc_net_tcp) {
  for (absl::string_view line : absl::StrSplit(proc_net_tcp, '\n')) {
    // "  0: 0300004D:1F90 0900004D:9C40 01 …": slot, local, remote, state.
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::MaxSplits(' ', 40), absl::SkipEmpty());
    if (fields.size() < 4) continue;
    const absl::string_view state = fields[3];
    if (state == kSynSent || state == kSynReceived)
      return absl::FailedPreconditionError("a connection is being opened");
    if (state == kFinWait1 || state == kLastAck || state == kClosing)
      return absl::FailedPreconditionError(
          "a connection is being closed, and its last bytes are not acknowledged yet");
  }
  return absl::OkStatus();
}

absl::Status CheckDatagrams(absl::string_view proc_net_udp,
                            const absl::flat_hash_set<uint16_t>& ports) {
  for (absl::string_view line : absl::StrSplit(proc_net_udp, '\n')) {
    // "  7: 0300004D:1B5A 00000000:0000 07 00000000:00000300 …": slot, local, remote,
    // state, bytes to be sent and unread.
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::MaxSplits(' ', 40), absl::SkipEmpty());
    if (fields.size() < 5) continue;
    const std::vector<absl::string_view> local = absl::StrSplit(fields[1], ':');
    const std::vector<absl::string_view> queues = absl::StrSplit(fields[4], ':');
    uint32_t port = 0;
    uint32_t unread = 0;
    if (local.size() != 2 || queues.size() != 2 || !absl::SimpleHexAtoi(local[1], &port) ||
        !absl::SimpleHexAtoi(queues[1], &unread) || unread == 0)
      continue;
    if (!ports.contains(static_cast<uint16_t>(port)))
      return absl::FailedPreconditionError(
          absl::StrCat("a datagram to port ", port, " is not read yet"));
  }
  return absl::OkStatus();
}

absl::Status CheckSleep(absl::string_view proc_syscall) {
  const std::optional<TaskCall> call = ParseTaskCall(proc_syscall);
  if (!call) return absl::OkStatus();
  // CRIU lets them return at once, as if a signal had come, which nobody expects
  // who has no handler. (Of poll and its like everybody does.)
  const bool sleeps =
      call->number == kNanosleep ||
      (call->number == kClockNanosleep && (call->arguments[1] & kTimerAbsolute) == 0);
  return sleeps ? absl::FailedPreconditionError("sleeps for a time that cannot be kept on disk")
                : absl::OkStatus();
}

absl::StatusOr<TreeNumbers> CheckForDump(pid_t init, pid_t program,
                                         const std::vector<pid_t>& processes) {
  IM_ASSIGN_OR_RETURN(const TreeNumbers numbers, LookAtTree(program, processes));
  uint32_t numbers_end = 0;
  if (absl::SimpleAtoi(absl::StripSuffix(ReadSmallFile("/proc/sys/kernel/pid_max"), "\n"),
                       &numbers_end) &&
      numbers.highest + kNumbersForCriu >= numbers_end)
    return absl::FailedPreconditionError("its process numbers are near their end");
  for (const char* table : {"tcp", "tcp6"})
    IM_RETURN_IF_ERROR(
        CheckConnections(ReadSmallFile(absl::StrCat("/proc/", init, "/net/", table))));
  for (const pid_t pid : processes)
    for (const pid_t task : NumbersIn(absl::StrCat("/proc/", pid, "/task")))
      IM_RETURN_IF_ERROR(Annotate(
          CheckSleep(ReadSmallFile(absl::StrCat("/proc/", pid, "/task/", task, "/syscall"))),
          NameOf(pid)));
  return numbers;
}

}  // namespace im::agent
