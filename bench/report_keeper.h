// Keeps the newest report of a run outside of the process that measures, which
// may be killed at any moment, also while it writes.

#ifndef IM_BENCH_REPORT_KEEPER_H_
#define IM_BENCH_REPORT_KEEPER_H_

#include <array>
#include <cstdint>
#include <optional>

#include "base/file_descriptor.h"
#include "base/status.h"
#include "bench/report.h"

namespace im::bench {

// Made before the processes part; then one of them calls Keep, and the other, when
// that has ended, Last.
class ReportKeeper {
 public:
  static absl::StatusOr<ReportKeeper> Create();

  absl::Status Keep(const Report& report);
  // The last that was kept as a whole; nothing: there is none.
  std::optional<Report> Last() const;

 private:
  // In memory. While one is written the other is whole.
  std::array<FileDescriptor, 2> places_;
  uint64_t kept_ = 0;
};

}  // namespace im::bench

#endif  // IM_BENCH_REPORT_KEEPER_H_
