#include "base/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/cord.h"

namespace im {
namespace {

using testing::HasSubstr;

TEST(StatusTest, ErrnoStatusNamesTheAttemptAndTheReason) {
  const absl::Status status = ErrnoStatus("open /dev/net/tun", EACCES);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(status.message(), "open /dev/net/tun: Permission denied");
}

TEST(StatusTest, ErrnoStatusTakesErrno) {
  errno = ENOENT;
  EXPECT_TRUE(absl::IsNotFound(ErrnoStatus("stat x")));
}

TEST(StatusTest, AnnotatePutsTheContextInFront) {
  const absl::Status status = Annotate(absl::NotFoundError("no such host"), "line 3");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(status.message(), "line 3: no such host");
}

TEST(StatusTest, AnnotateKeepsPayloads) {
  absl::Status status = absl::InternalError("x");
  status.SetPayload("type", absl::Cord("payload"));
  EXPECT_EQ(*Annotate(status, "y").GetPayload("type"), "payload");
}

TEST(StatusTest, AnnotateLeavesOkAlone) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), "context").ok());
}

absl::StatusOr<std::unique_ptr<int>> Half(int n) {
  if (n % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(n / 2);
}

absl::StatusOr<int> Quarter(int n) {
  IM_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(n));
  IM_ASSIGN_OR_RETURN(auto quarter, Half(*half));  // two in one scope
  return *quarter;
}

TEST(StatusTest, AssignOrReturnMovesTheValueOrReturnsTheError) {
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_TRUE(absl::IsInvalidArgument(Quarter(7).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Quarter(6).status()));
}

}  // namespace
}  // namespace im
