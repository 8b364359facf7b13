#include "base/event_loop.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/check.h"
#include "base/packet.h"

namespace im {
namespace {

// Descriptors reported by one wait; the rest come at the next turn.
constexpr int kEventsPerTurn = 64;

// Rounds of AtEndOfTurn functions that ask for more of them. One flush often
// causes another (tunnel, then stack, then tunnel); two that feed each other
// for ever must not keep descriptors and timers waiting.
constexpr int kEndOfTurnRounds = 4;

// A wait this long was a quiet spell: unused packet memory is given back.
constexpr Duration kQuietSpell = std::chrono::milliseconds(100);

// A turn this long had much to do: then there is no hurry to be back, and others
// want the processor.
constexpr Duration kLongTurn = std::chrono::microseconds(50);
// Somebody else had the processor for this long between two looks: it is wanted.
constexpr Duration kTakenAway = std::chrono::microseconds(50);

// epoll's data of the eventfd; watches count from 1.
constexpr uint64_t kWakeupId = 0;

// epoll_pwait2(2) (Linux 5.11) takes nanoseconds. Without it the wait is
// rounded up to whole milliseconds.
int WaitFor(int epoll, epoll_event* events, Duration wait) {
  static std::atomic<bool> have_pwait2 = true;
  if (have_pwait2.load(std::memory_order_relaxed)) {
    const int64_t nanos = wait.count();
    timespec timeout{static_cast<time_t>(nanos / 1'000'000'000), nanos % 1'000'000'000};
    const long n = syscall(SYS_epoll_pwait2, epoll, events, kEventsPerTurn,
                           wait == Duration::max() ? nullptr : &timeout, nullptr, 0);
    // Some container runtimes answer EPERM for calls that they do not know.
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(n);
    have_pwait2.store(false, std::memory_order_relaxed);
  }
  int timeout_ms = -1;
  if (wait != Duration::max()) {
    constexpr auto kLongest = std::chrono::hours(1);  // an int holds it
    timeout_ms = static_cast<int>(
        std::chrono::ceil<std::chrono::milliseconds>(std::min<Duration>(wait, kLongest)).count());
  }
  return epoll_wait(epoll, events, kEventsPerTurn, timeout_ms);
}

}  // namespace

// ---- Watch ----

EventLoop::Watch::Watch(Watch&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}

EventLoop::Watch& EventLoop::Watch::operator=(Watch&& other) noexcept {
  if (this != &other) {
    Reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

EventLoop::Watch::~Watch() { Reset(); }

void EventLoop::Watch::SetEvents(uint32_t events) {
  if (loop_ != nullptr) loop_->SetWatchEvents(id_, events);
}

void EventLoop::Watch::Reset() {
  if (EventLoop* loop = std::exchange(loop_, nullptr)) loop->RemoveWatch(id_);
}

// ---- Timer ----

EventLoop::Timer::Timer(Timer&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}

EventLoop::Timer& EventLoop::Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    Reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

EventLoop::Timer::~Timer() { Reset(); }

void EventLoop::Timer::Reset() {
  if (EventLoop* loop = std::exchange(loop_, nullptr)) loop->timers_.Cancel(id_);
}

// ---- EventLoop ----

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create(const Clock& clock) {
  FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return ErrnoStatus("epoll_create1");
  FileDescriptor wakeup(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wakeup.valid()) return ErrnoStatus("eventfd");
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeupId}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wakeup.get(), &event) < 0)
    return ErrnoStatus("epoll_ctl of an eventfd");
  return std::unique_ptr<EventLoop>(new EventLoop(clock, std::move(epoll), std::move(wakeup)));
}

EventLoop::EventLoop(const Clock& clock, FileDescriptor epoll, FileDescriptor wakeup)
    : clock_(clock), epoll_(std::move(epoll)), wakeup_(std::move(wakeup)), now_(clock.Now()) {}

EventLoop::~EventLoop() {
  // What the functions own may reset watches and timers, or ask for more work,
  // as it dies: so they die one by one, while the loop is whole.
  for (;;) {
    std::vector<std::function<void()>> dying;
    {
      const std::lock_guard lock(mutex_);
      dying.swap(posted_);
    }
    if (dying.empty()) dying.swap(end_of_turn_);
    if (!dying.empty()) continue;
    timers_.Clear();
    if (handlers_.empty()) break;
    const std::shared_ptr<Handler> handler = std::move(handlers_.begin()->second);
    handlers_.erase(handlers_.begin());
  }
}

EventLoop::Watch EventLoop::WatchFd(int fd, uint32_t events,
                                    std::function<void(uint32_t)> on_ready) {
  const uint64_t id = next_watch_id_++;
  handlers_.emplace(id, std::make_shared<Handler>(Handler{fd, 0, std::move(on_ready)}));
  SetWatchEvents(id, events);
  return Watch(this, id);
}

void EventLoop::SetWatchEvents(uint64_t id, uint32_t events) {
  const auto it = handlers_.find(id);
  if (it == handlers_.end()) return;
  Handler& handler = *it->second;
  if (handler.events == events) return;
  // A paused watch leaves epoll, which would report HUP and ERR unasked.
  const int operation = handler.events == 0 ? EPOLL_CTL_ADD
                        : events == 0       ? EPOLL_CTL_DEL
                                            : EPOLL_CTL_MOD;
  epoll_event event{.events = events, .data = {.u64 = id}};
  // Fails for a descriptor that is closed, watched already, or of a kind that
  // cannot be polled: all three are the caller's bugs.
  IM_CHECK(epoll_ctl(epoll_.get(), operation, handler.fd, &event) == 0);
  handler.events = events;
}

void EventLoop::RemoveWatch(uint64_t id) {
  const auto it = handlers_.find(id);
  if (it == handlers_.end()) return;
  // Kept until the end: what it owns may reset other watches as it dies.
  const std::shared_ptr<Handler> handler = std::move(it->second);
  handlers_.erase(it);
  if (handler->events != 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, handler->fd, nullptr);
}

EventLoop::Timer EventLoop::After(Duration delay, std::function<void()> callback) {
  // now_ + a very long delay must not wrap around.
  const Instant deadline = delay >= kNever - now_ ? kNever : now_ + delay;
  return At(deadline, std::move(callback));
}

EventLoop::Timer EventLoop::At(Instant deadline, std::function<void()> callback) {
  return Timer(this, timers_.Add(deadline, std::move(callback)));
}

void EventLoop::AtEndOfTurn(std::function<void()> callback) {
  end_of_turn_.push_back(std::move(callback));
}

void EventLoop::SetBusyPoll(Duration window) {
  busy_poll_ = window;
  if (window <= Duration::zero()) {
    run_queue_.reset();
  } else if (!run_queue_) {
    run_queue_.emplace();
  }
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // EAGAIN: the counter is full, so the loop is awake anyway.
  [[maybe_unused]] const ssize_t n = write(wakeup_.get(), &one, sizeof(one));
}

void EventLoop::Post(std::function<void()> callback) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    was_empty = posted_.empty();
    posted_.push_back(std::move(callback));
  }
  if (was_empty) Wake();
}

void EventLoop::Stop() {
  stopped_.store(true, std::memory_order_release);
  Wake();
}

void EventLoop::Run() {
  while (!stopped_.load(std::memory_order_acquire)) RunOnce(Duration::max());
  stopped_.store(false, std::memory_order_relaxed);  // Run may be called again
}

Instant EventLoop::NextDeadline() {
  return end_of_turn_.empty() ? timers_.NextDeadline() : now_;
}

Duration EventLoop::WaitTime(Duration max_wait) {
  const Instant deadline = NextDeadline();
  if (max_wait <= Duration::zero() || deadline <= now_) return Duration::zero();
  if (deadline == kNever) return max_wait;
  // The turn before took time, too.
  const Duration left = std::max(deadline - clock_.Now(), Duration::zero());
  return std::min(left, max_wait);
}

int EventLoop::Wait(epoll_event* events, Duration wait) {
  int ready = 0;
  if (busy_poll_ > Duration::zero()) {
    const Instant begin = clock_.Now();
    const bool pays = waited_ < busy_poll_ && begin - now_ < kLongTurn;
    if (pays && !run_queue_->IsCrowded(begin)) ready = BusyPoll(events, wait);
    if (ready == 0) ready = WaitFor(epoll_.get(), events, wait);
    waited_ = clock_.Now() - begin;
  } else {
    ready = WaitFor(epoll_.get(), events, wait);
  }
  if (ready >= 0) return ready;
  IM_CHECK(errno == EINTR);
  return 0;
}

// What epoll says; 0 if there was nothing to be had.
int EventLoop::BusyPoll(epoll_event* events, Duration wait) {
  const Instant end = clock_.Now() + std::min(busy_poll_, wait);
  for (Instant before = clock_.Now(); before < end;) {
    const int ready = WaitFor(epoll_.get(), events, Duration::zero());
    if (ready != 0) return ready;
    sched_yield();
    const Instant after = clock_.Now();
    if (after - before >= kTakenAway) return 0;
    before = after;
  }
  return 0;
}

void EventLoop::RunOnce(Duration max_wait) {
  std::array<epoll_event, kEventsPerTurn> events;
  const Duration wait = WaitTime(max_wait);
  const int ready = Wait(events.data(), wait);
  const Instant before = now_;
  now_ = clock_.Now();
  if (wait >= kQuietSpell && now_ - before >= kQuietSpell) TrimPacketPool();

  timers_.RunDue(now_);
  bool woken = false;
  for (int i = 0; i < ready; ++i) {
    const uint64_t id = events[i].data.u64;
    if (id == kWakeupId) {
      woken = true;
      continue;
    }
    const auto it = handlers_.find(id);
    // Reset or paused by a callback of this turn.
    if (it == handlers_.end() || it->second->events == 0) continue;
    const std::shared_ptr<Handler> handler = it->second;
    handler->on_ready(events[i].events);
  }
  if (woken) RunPosted();
  RunEndOfTurn();
}

void EventLoop::RunPosted() {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(wakeup_.get(), &count, sizeof(count));
  std::vector<std::function<void()>> posted = std::move(posted_running_);
  posted.clear();
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (auto& callback : posted) callback();
  posted.clear();
  posted_running_ = std::move(posted);
}

void EventLoop::RunEndOfTurn() {
  for (int round = 0; round < kEndOfTurnRounds && !end_of_turn_.empty(); ++round) {
    std::vector<std::function<void()>> flushing = std::move(end_of_turn_running_);
    flushing.clear();
    flushing.swap(end_of_turn_);
    for (auto& callback : flushing) callback();
    flushing.clear();
    end_of_turn_running_ = std::move(flushing);
  }
}

}  // namespace im
