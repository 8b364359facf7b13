// How many tasks the machine has to run, and whether that is more than its
// processors can: then who burns a processor takes it from somebody.

#ifndef IM_BASE_RUN_QUEUE_H_
#define IM_BASE_RUN_QUEUE_H_

#include <string>

#include "base/clock.h"
#include "base/file_descriptor.h"

namespace im {

// Not thread-safe.
class RunQueue {
 public:
  // `loadavg`: a file as /proc/loadavg is (proc(5)). Where it cannot be read the
  // machine is never crowded. `processors`: 0 for those that are online.
  explicit RunQueue(const std::string& loadavg = "/proc/loadavg", int processors = 0);

  // Whether of late more than kCrowd tasks were running or ready for each
  // processor, the caller among them. Looks once in kInterval at most, which costs
  // some microseconds.
  bool IsCrowded(Instant now);

  static constexpr double kCrowd = 1.5;
  static constexpr Duration kInterval = std::chrono::milliseconds(1);

 private:
  void Look();

  FileDescriptor file_;
  const double crowd_;  // tasks
  double mean_ = 1;     // of the last looks, the newest counting most
  Instant looked_;
};

}  // namespace im

#endif  // IM_BASE_RUN_QUEUE_H_
