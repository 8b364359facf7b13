#include "base/file_descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace im {

void FileDescriptor::Reset() {
  if (fd_ < 0) return;
  const int saved_errno = errno;
  // Not again on EINTR: Linux has closed the descriptor by then (close(2)).
  close(std::exchange(fd_, -1));
  errno = saved_errno;
}

absl::StatusOr<FileDescriptor> FileDescriptor::Duplicate() const {
  const int fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus("duplicate a descriptor");
  return FileDescriptor(fd);
}

absl::Status FileDescriptor::SetNonBlocking() {
  const int flags = fcntl(fd_, F_GETFL);
  if (flags < 0 || fcntl(fd_, F_SETFL, flags | O_NONBLOCK) < 0)
    return ErrnoStatus("set O_NONBLOCK");
  return absl::OkStatus();
}

}  // namespace im
