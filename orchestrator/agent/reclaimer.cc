#include "orchestrator/agent/reclaimer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

// A step ends with so many, however small.
constexpr size_t kRangesPerStep = 256;

}  // namespace

std::vector<MappedRange> ParseMaps(absl::string_view text) {
  std::vector<MappedRange> ranges;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // "7f00-7f10 rw-p 00000000 00:00 0      [heap]"
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::MaxSplits(' ', 2));
    if (words.size() < 3 || words[1].empty() || words[1][0] != 'r') continue;
    if (absl::EndsWith(line, "[vdso]") || absl::StrContains(line, "[vvar") ||
        absl::EndsWith(line, "[vsyscall]"))
      continue;
    const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(words[0], '-');
    MappedRange range;
    if (absl::SimpleHexAtoi(ends.first, &range.begin) &&
        absl::SimpleHexAtoi(ends.second, &range.end) && range.begin < range.end)
      ranges.push_back(range);
  }
  return ranges;
}

void Reclaimer::OnPaused(Instant now) {
  reclaimed_bytes_ = 0;
  if (!enabled_) return;
  begun_ = false;
  next_ = now + kDelay;
}

void Reclaimer::OnThawed(bool used) {
  next_ = kNever;
  reclaimed_bytes_ = 0;
  if (used) bytes_before_ = 0;
  reclaim_file_.Reset();
  processes_.clear();
}

void Reclaimer::Begin() {
  begun_ = true;
  step_bytes_ = kStepBytes;
  to_reclaim_ = cgroup_.MemoryBytes();
  bytes_before_ = std::max(bytes_before_, to_reclaim_);
  const std::string file = cgroup_.ReclaimFile();
  if (!file.empty()) reclaim_file_ = FileDescriptor(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (reclaim_file_.valid()) return;
  for (const pid_t pid : cgroup_.Processes()) {
    Process process{pid, ParseMaps(ReadSmallFile(absl::StrCat("/proc/", pid, "/maps")))};
    std::reverse(process.ranges.begin(), process.ranges.end());
    processes_.push_back(std::move(process));
  }
}

bool Reclaimer::OnTimer(Instant now) {
  if (now < next_) return false;
  if (!begun_) Begin();
  if (Step()) return false;
  next_ = kNever;
  reclaim_file_.Reset();
  processes_.clear();
  const uint64_t left = cgroup_.MemoryBytes();
  reclaimed_bytes_ = bytes_before_ > left ? bytes_before_ - left : 0;
  return true;
}

bool Reclaimer::Step() {
  if (reclaim_file_.valid()) return StepOfCgroup();
  const RealClock clock;
  const Instant before = clock.Now();
  const bool more = StepOfProcesses();
  step_bytes_ = clock.Now() - before < kQuickStep ? std::min(2 * step_bytes_, kSparseStepBytesMax)
                                                  : kStepBytes;
  return more;
}

bool Reclaimer::StepOfCgroup() {
  const uint64_t bytes = std::min(to_reclaim_, kStepBytes);
  if (bytes == 0) return false;
  const std::string text = absl::StrCat(bytes);
  // EAGAIN: there was not so much that could go.
  if (pwrite(reclaim_file_.get(), text.data(), text.size(), 0) < 0) return false;
  to_reclaim_ -= bytes;
  return true;
}

bool Reclaimer::StepOfProcesses() {
  while (!processes_.empty() && processes_.back().ranges.empty()) processes_.pop_back();
  if (processes_.empty()) return false;
  Process& process = processes_.back();
  std::vector<iovec> pieces;
  uint64_t bytes = 0;
  while (!process.ranges.empty() && bytes < step_bytes_ && pieces.size() < kRangesPerStep) {
    MappedRange& range = process.ranges.back();
    const uint64_t size = std::min(range.end - range.begin, step_bytes_ - bytes);
    pieces.push_back({reinterpret_cast<void*>(range.begin), size});
    bytes += size;
    range.begin += size;
    if (range.begin < range.end) continue;
    process.ranges.pop_back();
    if (step_bytes_ == kStepBytes) continue;
    step_bytes_ = kStepBytes;  // the next one may be all there
    break;
  }
  const FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  if (!pidfd.valid()) {
    process.ranges.clear();  // it is gone
    return true;
  }
  // One by one: the call ends at the first that cannot go (locked, of a device).
  for (const iovec& piece : pieces) {
    if (syscall(SYS_process_madvise, pidfd.get(), &piece, 1, MADV_PAGEOUT, 0) >= 0) continue;
    if (errno != EPERM && errno != ENOSYS) continue;
    IM_LOG(kWarning, "idle.reclaim: process_madvise is not permitted");
    processes_.clear();
    return false;
  }
  return true;
}

}  // namespace im::agent
