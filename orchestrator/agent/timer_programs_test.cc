#include "orchestrator/agent/timer_programs.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>

#include "base/clock.h"

namespace im::agent {
namespace {

int64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanosPerSecond + now.tv_nsec;
}
timespec TimeOf(int64_t nanos) { return {nanos / kNanosPerSecond, nanos % kNanosPerSecond}; }

volatile bool rang = false;

// Each waits for `nanos` once, and for the rest of it where the call does not
// itself go on after an interruption.
const std::map<std::string, std::function<void(int64_t nanos)>>& Sleeps() {
  static const auto* sleeps = new std::map<std::string, std::function<void(int64_t)>>{
      {"nanosleep",
       [](int64_t nanos) {
         const timespec time = TimeOf(nanos);
         syscall(SYS_nanosleep, &time, nullptr);
       }},
      {"absolute",  // as Python does
       [](int64_t nanos) {
         const timespec until = TimeOf(Now() + nanos);
         syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
       }},
      {"poll", [](int64_t nanos) { poll(nullptr, 0, static_cast<int>(nanos / 1'000'000)); }},
      {"select",
       [](int64_t nanos) {
         timeval time{nanos / kNanosPerSecond, nanos % kNanosPerSecond / 1000};
         select(0, nullptr, nullptr, nullptr, &time);
       }},
      {"ppoll",
       [](int64_t nanos) {
         const timespec time = TimeOf(nanos);
         ppoll(nullptr, 0, &time, nullptr);
       }},
      {"epoll",  // as event loops do
       [](int64_t nanos) {
         static const int epoll = epoll_create1(EPOLL_CLOEXEC);
         const int64_t until = Now() + nanos;
         epoll_event event;
         while (epoll_wait(epoll, &event, 1,
                           std::max<int>(0, (until - Now() + 999'999) / 1'000'000)) < 0) {
         }
       }},
      {"futex",  // as Go does
       [](int64_t nanos) {
         static uint32_t word = 0;
         const timespec time = TimeOf(nanos);
         syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &time, nullptr, 0);
       }},
      {"condition",  // as pthread_cond_timedwait does
       [](int64_t nanos) {
         static uint32_t word = 0;
         timespec until{};
         clock_gettime(CLOCK_REALTIME, &until);
         until = TimeOf(until.tv_sec * kNanosPerSecond + until.tv_nsec + nanos);
         syscall(SYS_futex, &word,
                 FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME, 0, &until,
                 nullptr, FUTEX_BITSET_MATCH_ANY);
       }},
      {"setitimer",
       [](int64_t nanos) {
         sigset_t none, alarms;
         sigemptyset(&none);
         sigemptyset(&alarms);
         sigaddset(&alarms, SIGALRM);
         sigprocmask(SIG_BLOCK, &alarms, nullptr);
         signal(SIGALRM, [](int) { rang = true; });
         rang = false;
         const itimerval time{{}, {nanos / kNanosPerSecond, nanos % kNanosPerSecond / 1000}};
         setitimer(ITIMER_REAL, &time, nullptr);
         while (!rang) sigsuspend(&none);
       }},
      {"timerfd",
       [](int64_t nanos) {
         static const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
         const itimerspec time{{}, TimeOf(nanos)};
         timerfd_settime(fd, 0, &time, nullptr);
         pollfd readable{fd, POLLIN, 0};
         while (poll(&readable, 1, -1) < 0) {
         }
         uint64_t expirations = 0;
         if (read(fd, &expirations, sizeof(expirations)) < 0) _exit(95);
       }}};
  return *sleeps;
}

}  // namespace

void RunTimerProgram(const std::string& kind, int ms, bool deeds) {
  const auto sleep = Sleeps().find(kind);
  if (sleep == Sleeps().end()) _exit(94);
  std::printf("ready\n");
  while (true) {
    const int64_t nanos = ms * 1'000'000LL, before = Now();
    sleep->second(nanos);
    const int64_t late = Now() - before - nanos;
    if (deeds) std::printf("%s late %lld\n", kind.c_str(), static_cast<long long>(late / 1000));
  }
}

}  // namespace im::agent
