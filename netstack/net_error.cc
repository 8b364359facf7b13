#include "netstack/net_error.h"

#include <cerrno>

namespace im::netstack {

int NetErrno(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kFailedPrecondition:
      return ECONNREFUSED;
    case absl::StatusCode::kAborted:
      return ECONNRESET;
    case absl::StatusCode::kDeadlineExceeded:
      return ETIMEDOUT;
    case absl::StatusCode::kUnavailable:
      return EHOSTUNREACH;
    case absl::StatusCode::kAlreadyExists:
      return EADDRINUSE;
    case absl::StatusCode::kNotFound:
      return EADDRNOTAVAIL;
    case absl::StatusCode::kResourceExhausted:
      return ENOBUFS;
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kCancelled:
      return ECANCELED;
    default:
      return EIO;
  }
}

}  // namespace im::netstack
