#include "orchestrator/agent/frozen_rests.h"

#include <sys/uio.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

constexpr int64_t kNanosPerSecond = 1'000'000'000;

void Shorten(const FrozenRest& rest, Duration paused) {
  const std::optional<TaskCall> call = ParseTaskCall(
      ReadSmallFile(absl::StrCat("/proc/", rest.process, "/task/", rest.task, "/syscall")));
  if (!call || *call != rest.call) return;
  int64_t time[2] = {};
  const iovec local{time, sizeof(time)};
  const iovec remote{reinterpret_cast<void*>(rest.address), sizeof(time)};
  const ssize_t size = sizeof(time);
  if (process_vm_readv(rest.process, &local, 1, &remote, 1, 0) != size) return;
  if (time[0] < 0 || time[0] > INT32_MAX || time[1] < 0) return;
  const Duration left = std::max(
      Duration(time[0] * kNanosPerSecond + time[1] * rest.unit_ns) - paused, Duration(0));
  time[0] = left.count() / kNanosPerSecond;
  time[1] = left.count() % kNanosPerSecond / rest.unit_ns;
  // It may be gone by now; then nobody needs it.
  (void)!process_vm_writev(rest.process, &local, 1, &remote, 1, 0);
}

}  // namespace

void ShortenRests(const std::vector<FrozenRest>& rests, Duration paused) {
  for (const FrozenRest& rest : rests) Shorten(rest, paused);
}

}  // namespace im::agent
