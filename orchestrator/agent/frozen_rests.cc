#include "orchestrator/agent/frozen_rests.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

std::optional<Duration> ReadRest(const FrozenRest& rest) {
  TaskTime time;
  const iovec local{&time, sizeof(time)};
  const iovec remote{reinterpret_cast<void*>(rest.address), sizeof(time)};
  const ssize_t size = sizeof(time);
  if (process_vm_readv(rest.process, &local, 1, &remote, 1, 0) != size) return std::nullopt;
  return time.Length(rest.unit_ns);
}

void Shorten(const FrozenRest& rest, Duration paused) {
  const std::optional<TaskCall> call = ParseTaskCall(
      ReadSmallFile(absl::StrCat("/proc/", rest.process, "/task/", rest.task, "/syscall")));
  if (!call || *call != rest.call) return;
  const std::optional<Duration> before = ReadRest(rest);
  if (!before) return;
  const Duration left = std::max(*before - paused, Duration(0));
  TaskTime time = TaskTime::Of(left, rest.unit_ns);
  const iovec local{&time, sizeof(time)};
  const iovec remote{reinterpret_cast<void*>(rest.address), sizeof(time)};
  // It may be gone by now; then nobody needs it.
  (void)!process_vm_writev(rest.process, &local, 1, &remote, 1, 0);
}

}  // namespace

void AwaitInterruption(std::vector<FrozenRest>& rests, const Clock& clock) {
  constexpr useconds_t kStepMicros = 50;
  const Instant until = clock.Now() + kInterruptedMax;
  std::erase_if(rests, [&](const FrozenRest& rest) {
    while (ReadRest(rest) == rest.whole) {
      if (clock.Now() >= until) return true;
      usleep(kStepMicros);
    }
    return false;
  });
}

void ShortenRests(const std::vector<FrozenRest>& rests, Duration paused) {
  for (const FrozenRest& rest : rests) Shorten(rest, paused);
}

}  // namespace im::agent
