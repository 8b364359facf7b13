#include "base/restore_watch.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

#include "base/log.h"

namespace im {
namespace {

constexpr absl::string_view kNewGeneration = "NEW_VMGENID=1";
// The kernel's own limit (UEVENT_BUFFER_SIZE is 2 KB, and the head).
constexpr size_t kUeventBytesMax = 4096;
// Multicast group of the kernel; udev's is 2.
constexpr uint32_t kKernelGroup = 1;

// Lets pass what begins with "chan", as "change@…" does. Without it, every
// device that comes or goes would wake us.
constexpr sock_filter kChangesOnly[] = {
    {BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0x6368616e},
    {BPF_RET | BPF_K, 0, 0, UINT_MAX},
    {BPF_RET | BPF_K, 0, 0, 0},
};

}  // namespace

ClockReadings ClockReadings::Take() {
  const RealClock clock;
  return {clock.Now(), BootClock().Now(), clock.UnixNanos()};
}

ClockJumps::Jump ClockJumps::Look(const ClockReadings& now) {
  const Duration monotonic = now.monotonic - last_.monotonic;
  const Duration boottime = now.boottime - last_.boottime;
  const Duration wall(now.unix_nanos - last_.unix_nanos);
  if (boottime - monotonic >= kClockJump) {
    last_ = now;
    return Jump::kSlept;
  }
  if (wall - boottime >= kClockJump) {
    last_ = now;
    return Jump::kSetForward;
  }
  if (wall < boottime) last_ = now;
  return Jump::kNone;
}

bool IsNewGeneration(std::span<const char> uevent) {
  absl::string_view rest(uevent.data(), uevent.size());
  while (!rest.empty()) {
    const absl::string_view line = rest.substr(0, rest.find('\0'));
    if (line == kNewGeneration) return true;
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  }
  return false;
}

bool HasGenerationId() {
  // The driver's devices are links in its folder, such as VMGENCTR:00.
  for (const char* driver :
       {"/sys/bus/acpi/drivers/vmgenid", "/sys/bus/platform/drivers/vmgenid"}) {
    DIR* folder = opendir(driver);
    if (folder == nullptr) continue;
    bool found = false;
    while (const dirent* entry = readdir(folder)) {
      if (entry->d_type == DT_LNK && std::strcmp(entry->d_name, "module") != 0) found = true;
    }
    closedir(folder);
    if (found) return true;
  }
  return false;
}

RestoreWatch::RestoreWatch(std::function<void(absl::string_view)> on_restored)
    : on_restored_(std::move(on_restored)), jumps_(ClockReadings::Take()) {}

std::unique_ptr<RestoreWatch> RestoreWatch::Create(
    EventLoop& loop, const Options& options, std::function<void(absl::string_view)> on_restored) {
  std::unique_ptr<RestoreWatch> watch(new RestoreWatch(std::move(on_restored)));
  if (const absl::Status status = watch->WatchClocks(loop); !status.ok())
    IM_LOG(kWarning, status.message(), "; suspend is not noticed");
  if (options.uevents) {
    if (const absl::Status status = watch->WatchUevents(loop); !status.ok())
      IM_LOG(kInfo, status.message(), "; a change of the generation ID is not noticed");
  }
  return watch;
}

absl::Status RestoreWatch::WatchClocks(EventLoop& loop) {
  timer_ = FileDescriptor(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.valid()) return ErrnoStatus("watch the wall clock");
  // Due in the year 2242; it is there to be canceled.
  const itimerspec far = {.it_interval = {},
                          .it_value = {.tv_sec = int64_t{1} << 33, .tv_nsec = 0}};
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, nullptr) !=
      0) {
    return ErrnoStatus("watch the wall clock");
  }
  timer_watch_ = loop.WatchFd(timer_.get(), EPOLLIN, [this](uint32_t) { OnClockSet(); });
  return absl::OkStatus();
}

void RestoreWatch::OnClockSet() {
  uint64_t times;
  // ECANCELED: the clock was set. It stays armed.
  [[maybe_unused]] const ssize_t n = read(timer_.get(), &times, sizeof(times));
  switch (jumps_.Look(ClockReadings::Take())) {
    case ClockJumps::Jump::kNone:
      break;
    case ClockJumps::Jump::kSlept:
      on_restored_("the machine was asleep");
      break;
    case ClockJumps::Jump::kSetForward:
      on_restored_("the wall clock was set forward");
      break;
  }
}

absl::Status RestoreWatch::WatchUevents(EventLoop& loop) {
  FileDescriptor fd(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!fd.valid()) return ErrnoStatus("listen to uevents");
  const sock_fprog filter = {.len = std::size(kChangesOnly),
                             .filter = const_cast<sock_filter*>(kChangesOnly)};
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0 ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus("listen to uevents");
  }
  uevents_ = std::move(fd);
  uevents_watch_ = loop.WatchFd(uevents_.get(), EPOLLIN, [this](uint32_t) { OnUevents(); });
  return absl::OkStatus();
}

void RestoreWatch::OnUevents() {
  char buffer[kUeventBytesMax];
  bool changed = false;
  while (true) {
    sockaddr_nl from = {};
    socklen_t length = sizeof(from);
    const ssize_t size = recvfrom(uevents_.get(), buffer, sizeof(buffer), 0,
                                  reinterpret_cast<sockaddr*>(&from), &length);
    if (size < 0 && errno == EINTR) continue;
    // Messages were lost: it may have been among them, and new keys cost little.
    if (size < 0 && errno == ENOBUFS) {
      changed = true;
      continue;
    }
    if (size <= 0) break;
    // The kernel's own port is 0: others may send to this group, too.
    if (from.nl_pid == 0 && IsNewGeneration({buffer, static_cast<size_t>(size)})) changed = true;
  }
  if (changed) on_restored_("the machine was taken up from a snapshot");
}

}  // namespace im
