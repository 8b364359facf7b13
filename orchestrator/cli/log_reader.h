// LogReader: a host's output file, its last lines and what is added to it,
// across rotations (the file is renamed to NAME.1, NAME.2, … and begun anew).

#ifndef IM_ORCHESTRATOR_CLI_LOG_READER_H_
#define IM_ORCHESTRATOR_CLI_LOG_READER_H_

#include <cstdint>
#include <string>

#include "base/file_descriptor.h"

namespace im::orchestrator::cli {

// Rotated files that are looked for.
inline constexpr int kRotatedFilesMax = 1000;
// Read at most for `im logs -n`, so that a huge log does not fill memory.
inline constexpr size_t kLogTailBytesMax = 64 << 20;

class LogReader {
 public:
  explicit LogReader(std::string path) : path_(std::move(path)) {}

  // The newest `lines` lines that are there (0: all), older files first.
  // Afterwards ReadNew() goes on from there.
  std::string ReadTail(uint64_t lines);

  // What was written since; whole lines, except at the end of a file that was
  // rotated away. Empty if nothing.
  std::string ReadNew();

 private:
  void Open();
  std::string ReadOn();

  const std::string path_;
  FileDescriptor file_;
  uint64_t inode_ = 0;
  std::string partial_;  // the beginning of a line
};

// The last `lines` lines of `text`.
std::string LastLines(const std::string& text, uint64_t lines);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_LOG_READER_H_
