// LogFile: a program's output, kept in a file that is turned over by size.
//
// PATH is the newest; at bytes_max it becomes PATH.1, the one before PATH.2,
// and so on to files_max older ones; the oldest goes. The turn is made between
// lines where one ends in the last kLineBytesMax bytes, so that a line is not
// torn. A program that writes faster than the disk waits in its pipe: no more
// than one read of ours (kReadBytes) is ever in memory.

#ifndef IM_ORCHESTRATOR_AGENT_LOG_FILE_H_
#define IM_ORCHESTRATOR_AGENT_LOG_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::agent {

class LogFile {
 public:
  static constexpr size_t kReadBytes = 64 << 10;
  static constexpr size_t kLineBytesMax = 4096;

  struct Options {
    std::string path;
    uint64_t bytes_max = 0;  // 0: never turned over
    uint32_t files_max = 0;  // older ones kept
  };

  static absl::StatusOr<std::unique_ptr<LogFile>> Open(const Options& options);

  // What cannot be written (a full disk) is dropped and counted.
  void Append(absl::string_view text);
  // Takes what is in `pipe` now, at most kReadBytes. False at its end.
  bool ReadFrom(int pipe);

  uint64_t dropped_bytes() const { return dropped_bytes_; }
  int fd() const { return fd_.get(); }

 private:
  LogFile(const Options& options, FileDescriptor fd, uint64_t size)
      : options_(options), fd_(std::move(fd)), size_(size) {}
  static absl::StatusOr<FileDescriptor> OpenNewest(const std::string& path);
  bool TurnOver();
  void WriteAll(absl::string_view text);

  const Options options_;
  FileDescriptor fd_;
  uint64_t size_;
  uint64_t dropped_bytes_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_LOG_FILE_H_
