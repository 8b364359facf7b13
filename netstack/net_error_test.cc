#include "netstack/net_error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace im::netstack {
namespace {

TEST(NetError, EachCodeOfTheTableHasItsOwnErrno) {
  EXPECT_EQ(NetErrno(absl::OkStatus()), 0);
  std::set<int> seen;
  for (const absl::Status& status :
       {absl::FailedPreconditionError(""), absl::AbortedError(""), absl::DeadlineExceededError(""),
        absl::UnavailableError(""), absl::AlreadyExistsError(""), absl::NotFoundError(""),
        absl::ResourceExhaustedError(""), absl::InvalidArgumentError(""),
        absl::CancelledError("")}) {
    EXPECT_TRUE(seen.insert(NetErrno(status)).second) << status;
    EXPECT_NE(NetErrno(status), EIO) << status;
  }
  EXPECT_EQ(NetErrno(absl::InternalError("")), EIO);
}

}  // namespace
}  // namespace im::netstack
