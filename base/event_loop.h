// One thread's loop over epoll: descriptors, timers, posted work.
//
// A turn: wait; read the clock once (`now()` is the same all through the
// turn); due timers; ready descriptors; posted functions; then the functions
// asked for with AtEndOfTurn, which is where batches are flushed.

#ifndef IM_BASE_EVENT_LOOP_H_
#define IM_BASE_EVENT_LOOP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/run_queue.h"
#include "base/timer_queue.h"

struct epoll_event;

namespace im {

// Owned by one thread; only Post() and Stop() may be called from others.
// Level-triggered.
class EventLoop {
 public:
  // Stops watching when destroyed. Must not outlive the loop.
  class Watch {
   public:
    Watch() = default;
    Watch(Watch&& other) noexcept;
    Watch& operator=(Watch&& other) noexcept;
    ~Watch();
    // EPOLLIN | EPOLLOUT …; 0 pauses the watch.
    void SetEvents(uint32_t events);
    bool active() const { return loop_ != nullptr; }
    void Reset();

   private:
    friend class EventLoop;
    Watch(EventLoop* loop, uint64_t id) : loop_(loop), id_(id) {}
    EventLoop* loop_ = nullptr;
    uint64_t id_ = 0;
  };

  // Cancels when destroyed. Must not outlive the loop.
  class Timer {
   public:
    Timer() = default;
    Timer(Timer&& other) noexcept;
    Timer& operator=(Timer&& other) noexcept;
    ~Timer();
    void Reset();

   private:
    friend class EventLoop;
    Timer(EventLoop* loop, TimerQueue::Id id) : loop_(loop), id_(id) {}
    EventLoop* loop_ = nullptr;
    TimerQueue::Id id_ = 0;
  };

  static absl::StatusOr<std::unique_ptr<EventLoop>> Create(const Clock& clock);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  const Clock& clock() const { return clock_; }
  // The time at which this turn began.
  Instant now() const { return now_; }

  // Preconditions: `fd` stays open while the Watch lives.
  [[nodiscard]] Watch WatchFd(int fd, uint32_t events, std::function<void(uint32_t)> on_ready);
  [[nodiscard]] Timer After(Duration delay, std::function<void()> callback);
  [[nodiscard]] Timer At(Instant deadline, std::function<void()> callback);

  // Runs `callback` once at the end of this turn. What is asked for meanwhile
  // runs at the same turn's end, too, but after a few rounds at the next one's.
  void AtEndOfTurn(std::function<void()> callback);

  // Runs `callback` on the loop's thread, in a later turn. Thread-safe.
  void Post(std::function<void()> callback);

  // Before it sleeps, the loop looks for work again and again for `window`,
  // while that pays: the wait before was shorter than that, the turn that ends
  // was short, and nobody else wants the processor, which is offered to others
  // after every look (within the same cgroup: sched_yield does no more), and of
  // which others are not short (RunQueue). To be put to sleep and woken costs a
  // round trip of small packets tens of microseconds at each end. Zero, as at the
  // start: never.
  void SetBusyPoll(Duration window);

  // Until Stop(), which may also come before.
  void Run();
  void Stop();  // thread-safe

  // One turn; waits at most `max_wait` for something to do. The epoll
  // descriptor itself can be polled (poll_fd) to embed the loop in another.
  void RunOnce(Duration max_wait);
  int poll_fd() const { return epoll_.get(); }
  // kNever, or when RunOnce must be called next if no descriptor is ready.
  Instant NextDeadline();

 private:
  struct Handler {
    int fd;
    uint32_t events;  // as epoll knows them; 0: not in epoll
    std::function<void(uint32_t)> on_ready;
  };

  EventLoop(const Clock& clock, FileDescriptor epoll, FileDescriptor wakeup);
  void SetWatchEvents(uint64_t id, uint32_t events);
  void RemoveWatch(uint64_t id);
  void Wake();
  Duration WaitTime(Duration max_wait);
  int Wait(epoll_event* events, Duration wait);
  int BusyPoll(epoll_event* events, Duration wait);
  void RunPosted();
  void RunEndOfTurn();

  const Clock& clock_;
  FileDescriptor epoll_;
  FileDescriptor wakeup_;  // eventfd
  Instant now_;
  Duration busy_poll_{0};
  std::optional<RunQueue> run_queue_;  // while busy_poll_ is set
  Duration waited_ = Duration::max();  // the last time; kept while busy_poll_ is set
  TimerQueue timers_;
  uint64_t next_watch_id_ = 1;
  absl::flat_hash_map<uint64_t, std::shared_ptr<Handler>> handlers_;
  std::vector<std::function<void()>> end_of_turn_;
  // Emptied vectors, kept for their capacity.
  std::vector<std::function<void()>> end_of_turn_running_;
  std::vector<std::function<void()>> posted_running_;
  std::mutex mutex_;  // not absl's, whose packaged build ThreadSanitizer cannot see into
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  std::atomic<bool> stopped_ = false;
};

}  // namespace im

#endif  // IM_BASE_EVENT_LOOP_H_
