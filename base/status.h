// Failures of operations: absl::Status that names what was attempted.
//
// Three kinds of failure are kept apart: Status for operations (this file),
// DropReason and a counter for packets (counters.h), CHECK for our own bugs.

#ifndef IM_BASE_STATUS_H_
#define IM_BASE_STATUS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace im {

// "open /dev/net/tun: Permission denied", with the code that fits `error`.
absl::Status ErrnoStatus(absl::string_view attempt, int error);

// ErrnoStatus(attempt, errno).
absl::Status ErrnoStatus(absl::string_view attempt);

// Puts "context: " before the message; OK stays OK.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace im

#define IM_RETURN_IF_ERROR(expr)                        \
  do {                                                  \
    if (absl::Status im_status = (expr); !im_status.ok()) \
      return im_status;                                 \
  } while (false)

#define IM_CONCAT_INNER(a, b) a##b
#define IM_CONCAT(a, b) IM_CONCAT_INNER(a, b)
// IM_ASSIGN_OR_RETURN(auto file, Open(path));
#define IM_ASSIGN_OR_RETURN(lhs, expr) \
  IM_ASSIGN_OR_RETURN_IMPL(IM_CONCAT(im_statusor_, __LINE__), lhs, expr)
#define IM_ASSIGN_OR_RETURN_IMPL(statusor, lhs, expr) \
  auto statusor = (expr);                             \
  if (!statusor.ok()) return statusor.status();       \
  lhs = std::move(statusor).value()

#endif  // IM_BASE_STATUS_H_
