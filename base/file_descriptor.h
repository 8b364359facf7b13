// The only place where a file descriptor is owned.

#ifndef IM_BASE_FILE_DESCRIPTOR_H_
#define IM_BASE_FILE_DESCRIPTOR_H_

#include <utility>

#include "base/status.h"

namespace im {

// Owns one descriptor; closed by the destructor. Movable, not copyable.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { Reset(); }

  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  // Gives the descriptor away; the caller closes it.
  int Release() { return std::exchange(fd_, -1); }
  void Reset();

  absl::StatusOr<FileDescriptor> Duplicate() const;
  absl::Status SetNonBlocking();

 private:
  int fd_ = -1;
};

}  // namespace im

#endif  // IM_BASE_FILE_DESCRIPTOR_H_
