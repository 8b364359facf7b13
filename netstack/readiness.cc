#include "netstack/readiness.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace im::netstack {

uint32_t Readiness::Wait(uint32_t events, Instant deadline) {
  std::unique_lock lock(mutex_);
  const auto some = [&] { return (ready_ & (events | kOver)) != 0; };
  if (deadline == kNever) {
    condition_.wait(lock, some);
  } else {
    condition_.wait_until(lock, deadline, some);
  }
  return ready_ & (events | kOver);
}

uint32_t Readiness::ready() {
  const std::lock_guard lock(mutex_);
  return ready_;
}

int Readiness::poll_fd() {
  const std::lock_guard lock(mutex_);
  if (!event_fd_.valid()) {
    event_fd_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    UpdateFd();
  }
  return event_fd_.get();
}

void Readiness::SetInterest(uint32_t events) {
  const std::lock_guard lock(mutex_);
  interest_ = events;
  UpdateFd();
}

FileDescriptor Readiness::TakePollFd() {
  const std::lock_guard lock(mutex_);
  return std::move(event_fd_);
}

void Readiness::SetReady(uint32_t events) {
  if (events == ready_) return;
  const bool more = (events & ~ready_) != 0;
  ready_ = events;
  UpdateFd();
  if (more) condition_.notify_all();
}

void Readiness::UpdateFd() {
  const bool wanted = (ready_ & (interest_ | kOver)) != 0;
  if (!event_fd_.valid() || wanted == signalled_) return;
  uint64_t count = 1;
  // Neither can fail: the count is 0 or 1, unless the owner read it away.
  const ssize_t n = wanted ? write(event_fd_.get(), &count, sizeof(count))
                           : read(event_fd_.get(), &count, sizeof(count));
  (void)n;
  signalled_ = wanted;
}

}  // namespace im::netstack
