// Time and its sources.
//
// Code that decides anything takes `now` as an argument; only RealClock and
// BootClock read one. Tests and simulators use ManualClock.

#ifndef IM_BASE_CLOCK_H_
#define IM_BASE_CLOCK_H_

#include <chrono>
#include <cstdint>

namespace im {

using Duration = std::chrono::nanoseconds;

// A point on a clock's monotonic time line. Instants of different clocks or
// machines cannot be compared.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// Far enough never to come, near enough to be added to.
inline constexpr Instant kNever = Instant::max();

inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

inline double Seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

class Clock {
 public:
  virtual ~Clock() = default;

  // Monotonic; does not go backwards.
  virtual Instant Now() const = 0;

  // Wall clock: nanoseconds since the Unix epoch. May jump. Used for TAI64N
  // stamps of handshakes and for what people read.
  virtual int64_t UnixNanos() const = 0;
};

// While the machine is suspended it stands still (CLOCK_MONOTONIC), and so do
// the timers of all that lives on this machine.
class RealClock final : public Clock {
 public:
  Instant Now() const override;
  int64_t UnixNanos() const override;
};

// Goes on while the machine is suspended (CLOCK_BOOTTIME): for what is agreed
// with other machines, such as the ages of a tunnel's sessions.
class BootClock final : public Clock {
 public:
  Instant Now() const override;
  int64_t UnixNanos() const override;
};

// A clock that moves only when told to.
class ManualClock final : public Clock {
 public:
  Instant Now() const override { return now_; }
  int64_t UnixNanos() const override { return unix_nanos_; }

  void Advance(Duration by) {
    now_ += by;
    unix_nanos_ += by.count();
  }
  // The wall clock alone jumps, as it does after a suspend or by NTP.
  void JumpWall(Duration by) { unix_nanos_ += by.count(); }

 private:
  Instant now_ = Instant(std::chrono::seconds(1'000));
  int64_t unix_nanos_ = 1'700'000'000'000'000'000;
};

}  // namespace im

#endif  // IM_BASE_CLOCK_H_
