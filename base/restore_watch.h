// RestoreWatch: hears that this machine was asleep, or that its state was saved
// and taken up again, perhaps for the second time. Whoever holds keys whose
// nonces must not repeat then wants new ones (tunnel::Driver::OnRestored).
//
//   it hears of                              by
//   suspend and hibernation                  CLOCK_BOOTTIME gained on CLOCK_MONOTONIC
//   a snapshot of a virtual machine, once    the wall clock went forward against both
//     its clock is set right
//   the same at once, where the hypervisor   a uevent with NEW_VMGENID=1, of kernels that
//     changes the machine's generation ID      send it (Linux 6.8, and some since)
//
// The kernel tells of each (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET;
// netlink(7), NETLINK_KOBJECT_UEVENT): nothing is polled, and a watch that
// hears nothing costs nothing. Wall clocks that are set forward by hand look
// the same as a snapshot, and are taken for one.
//
// What it cannot hear of: a snapshot that is taken up again within kClockJump,
// or in a machine whose clock nobody sets right and whose hypervisor has no
// generation ID, or in a container that does not get uevents; a checkpoint of
// this process alone (CRIU). Whoever makes such has to tell the program, or has
// it drop its keys before.

#ifndef IM_BASE_RESTORE_WATCH_H_
#define IM_BASE_RESTORE_WATCH_H_

#include <functional>
#include <memory>
#include <span>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im {

// Smaller steps are what keeps a clock right: time daemons step by less, and
// seldom. A suspend or a snapshot of less than that goes unnoticed.
inline constexpr Duration kClockJump = std::chrono::seconds(1);

// The clocks of the machine at one moment.
struct ClockReadings {
  Instant monotonic;
  Instant boottime;
  int64_t unix_nanos = 0;

  static ClockReadings Take();
};

// What one reading after another says. No clock, no IO.
class ClockJumps {
 public:
  explicit ClockJumps(const ClockReadings& first) : last_(first) {}

  enum class Jump { kNone, kSlept, kSetForward };
  // Since the last call. kNone leaves the reading that is compared with in
  // place unless the wall clock went back: many small steps become a large one.
  Jump Look(const ClockReadings& now);

 private:
  ClockReadings last_;
};

// Whether a message of the kernel's says that the virtual machine's generation
// ID changed: "ACTION@PATH" and "KEY=VALUE", each ended by a NUL.
bool IsNewGeneration(std::span<const char> uevent);

// Whether this machine has such an ID.
bool HasGenerationId();

// Owned by the loop's thread.
class RestoreWatch {
 public:
  struct Options {
    // Each event of any of the machine's devices costs the kernel 0.15 us for
    // every process that listens: not for a thousand of them where no ID is.
    bool uevents = HasGenerationId();
  };

  // `loop` must outlive it. `on_restored` gets the reason, for the log; one
  // cause may have two. It may not destroy the watch. Never fails: what the
  // kernel refuses is logged, and not heard of.
  static std::unique_ptr<RestoreWatch> Create(EventLoop& loop, const Options& options,
                                              std::function<void(absl::string_view)> on_restored);

 private:
  explicit RestoreWatch(std::function<void(absl::string_view)> on_restored);
  absl::Status WatchClocks(EventLoop& loop);
  absl::Status WatchUevents(EventLoop& loop);
  void OnClockSet();
  void OnUevents();

  const std::function<void(absl::string_view)> on_restored_;
  ClockJumps jumps_;
  FileDescriptor timer_;
  FileDescriptor uevents_;
  EventLoop::Watch timer_watch_;
  EventLoop::Watch uevents_watch_;
};

}  // namespace im

#endif  // IM_BASE_RESTORE_WATCH_H_
