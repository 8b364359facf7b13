// Files that are replaced as a whole, and whose bytes are checked when they are read.
//
// Written beside the old one and renamed over it, so that a reader sees the old or the
// new one, also when the writer is killed in between. A file torn by a power cut is
// found by its checksum.
//
// Layout: a word of 4 bytes that says what it is, a checksum of the rest (FNV-1a, 8
// bytes, little-endian), then the content.

#ifndef IM_ORCHESTRATOR_CHECKED_FILE_H_
#define IM_ORCHESTRATOR_CHECKED_FILE_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace im::orchestrator {

// nullopt: there is none. DataLoss says how it is damaged, without its path.
// `bytes_max`: of the whole file.
absl::StatusOr<std::optional<std::string>> ReadCheckedFile(const std::string& path,
                                                           absl::string_view word,
                                                           size_t bytes_max);

enum class Durability {
  kProcess,  // the file outlives this process
  kMachine,  // and a power cut: waits for the disk
};

// The file is mode 0600. Preconditions: word.size() == 4.
absl::Status WriteCheckedFile(const std::string& path, absl::string_view word,
                              absl::string_view content, Durability durability);

// No error if there is none.
absl::Status RemoveFile(const std::string& path);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CHECKED_FILE_H_
