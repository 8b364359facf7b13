#include "base/clock.h"

#include <ctime>

namespace im {
namespace {

int64_t ReadNanos(clockid_t id) {
  timespec t;
  clock_gettime(id, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

Instant RealClock::Now() const { return Instant(Duration(ReadNanos(CLOCK_MONOTONIC))); }

int64_t RealClock::UnixNanos() const { return ReadNanos(CLOCK_REALTIME); }

Instant BootClock::Now() const { return Instant(Duration(ReadNanos(CLOCK_BOOTTIME))); }

int64_t BootClock::UnixNanos() const { return ReadNanos(CLOCK_REALTIME); }

}  // namespace im
