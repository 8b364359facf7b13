#include "orchestrator/checked_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file_descriptor.h"

namespace im::orchestrator {
namespace {

constexpr size_t kWordBytes = 4;
constexpr size_t kChecksumBytes = 8;

std::string Checksum(absl::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) {
    hash ^= static_cast<uint8_t>(c);
    hash *= 0x100000001b3;
  }
  std::string out;
  for (size_t i = 0; i < kChecksumBytes; ++i) out.push_back(static_cast<char>(hash >> (8 * i)));
  return out;
}

absl::Status WriteAll(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(absl::StrCat("write ", path));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<std::string>> ReadCheckedFile(const std::string& path,
                                                           absl::string_view word,
                                                           size_t bytes_max) {
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) return std::optional<std::string>();
    return ErrnoStatus(absl::StrCat("open ", path));
  }
  struct stat info;
  if (fstat(file.get(), &info) < 0) return ErrnoStatus(absl::StrCat("stat ", path));
  if (static_cast<size_t>(info.st_size) > bytes_max) return absl::DataLossError("too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  const ssize_t n = read(file.get(), bytes.data(), bytes.size());
  if (n < 0) return ErrnoStatus(absl::StrCat("read ", path));
  bytes.resize(static_cast<size_t>(n));
  absl::string_view rest = bytes;
  if (rest.size() < kWordBytes + kChecksumBytes) return absl::DataLossError("too short");
  if (rest.substr(0, kWordBytes) != word) return absl::DataLossError("another kind of file");
  rest.remove_prefix(kWordBytes);
  const absl::string_view checksum = rest.substr(0, kChecksumBytes);
  rest.remove_prefix(kChecksumBytes);
  if (Checksum(rest) != checksum) return absl::DataLossError("wrong checksum");
  return std::optional<std::string>(rest);
}

absl::Status WriteCheckedFile(const std::string& path, absl::string_view word,
                              absl::string_view content, Durability durability) {
  IM_CHECK(word.size() == kWordBytes);
  const std::string bytes = absl::StrCat(word, Checksum(content), content);
  const std::string next = path + ".new";
  {
    FileDescriptor file(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) return ErrnoStatus(absl::StrCat("create ", next));
    IM_RETURN_IF_ERROR(WriteAll(file.get(), bytes, next));
    if (durability == Durability::kMachine && fsync(file.get()) < 0)
      return ErrnoStatus(absl::StrCat("fsync ", next));
  }
  if (rename(next.c_str(), path.c_str()) < 0) {
    return ErrnoStatus(absl::StrCat("rename ", next, " to ", path));
  }
  return absl::OkStatus();
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) < 0 && errno != ENOENT) {
    return ErrnoStatus(absl::StrCat("remove ", path));
  }
  return absl::OkStatus();
}

}  // namespace im::orchestrator
