#include "base/file_descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

namespace im {
namespace {

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

FileDescriptor OpenNull() { return FileDescriptor(open("/dev/null", O_RDWR | O_CLOEXEC)); }

TEST(FileDescriptorTest, ClosesWhenItDies) {
  int fd;
  {
    const FileDescriptor owner = OpenNull();
    fd = owner.get();
    ASSERT_TRUE(owner.valid());
    EXPECT_TRUE(IsOpen(fd));
  }
  EXPECT_FALSE(IsOpen(fd));
}

TEST(FileDescriptorTest, MoveLeavesTheSourceEmpty) {
  FileDescriptor a = OpenNull();
  const int fd = a.get();
  FileDescriptor b = std::move(a);
  EXPECT_FALSE(a.valid());
  EXPECT_EQ(b.get(), fd);
  FileDescriptor c = OpenNull();
  const int replaced = c.get();
  c = std::move(b);
  EXPECT_EQ(c.get(), fd);
  EXPECT_FALSE(IsOpen(replaced));
  EXPECT_TRUE(IsOpen(fd));
}

TEST(FileDescriptorTest, MoveToItselfKeepsIt) {
  FileDescriptor a = OpenNull();
  FileDescriptor& same = a;
  a = std::move(same);
  EXPECT_TRUE(IsOpen(a.get()));
}

TEST(FileDescriptorTest, ReleaseGivesItAway) {
  FileDescriptor a = OpenNull();
  const int fd = a.Release();
  EXPECT_FALSE(a.valid());
  a.Reset();
  EXPECT_TRUE(IsOpen(fd));
  close(fd);
}

TEST(FileDescriptorTest, ResetKeepsErrno) {
  FileDescriptor a = OpenNull();
  errno = ENOENT;
  a.Reset();
  EXPECT_EQ(errno, ENOENT);
}

TEST(FileDescriptorTest, DuplicatesAreClosedOnExec) {
  const FileDescriptor a = OpenNull();
  const auto b = a.Duplicate();
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_NE(a.get(), b->get());
  EXPECT_NE(fcntl(b->get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(FileDescriptorTest, DuplicateOfNothingIsAnError) {
  EXPECT_FALSE(FileDescriptor().Duplicate().ok());
  EXPECT_FALSE(FileDescriptor().SetNonBlocking().ok());
}

TEST(FileDescriptorTest, SetNonBlockingKeepsTheOtherFlags) {
  FileDescriptor a(open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC));
  ASSERT_TRUE(a.SetNonBlocking().ok());
  const int flags = fcntl(a.get(), F_GETFL);
  EXPECT_NE(flags & O_NONBLOCK, 0);
  EXPECT_NE(flags & O_APPEND, 0);
}

}  // namespace
}  // namespace im
