// PlainStatus: an absl::Status that one thread sets and others get.
//
// Copies of an absl::Status share their message by a count of references, of
// which ThreadSanitizer sees only half (the other half lies in the packaged
// library). So each thread that asks gets a message of its own.

#ifndef IM_NETSTACK_PLAIN_STATUS_H_
#define IM_NETSTACK_PLAIN_STATUS_H_

#include <string>
#include <utility>

#include "absl/status/status.h"

namespace im::netstack {

// Guarded by its owner's mutex.
class PlainStatus {
 public:
  PlainStatus() = default;
  PlainStatus& operator=(const absl::Status& status) {
    code_ = status.code();
    message_ = std::string(status.message());
    return *this;
  }
  bool ok() const { return code_ == absl::StatusCode::kOk; }
  absl::Status Get() const { return absl::Status(code_, message_); }
  // Gets it, and is OK from then on.
  absl::Status Take() {
    const absl::Status status = Get();
    code_ = absl::StatusCode::kOk;
    return status;
  }

 private:
  absl::StatusCode code_ = absl::StatusCode::kOk;
  std::string message_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_PLAIN_STATUS_H_
