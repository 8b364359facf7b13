#include "orchestrator/agent/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "absl/strings/str_cat.h"

namespace im::agent {

absl::StatusOr<FileDescriptor> LogFile::OpenNewest(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open log ", path));
  return fd;
}

absl::StatusOr<std::unique_ptr<LogFile>> LogFile::Open(const Options& options) {
  IM_ASSIGN_OR_RETURN(FileDescriptor fd, OpenNewest(options.path));
  struct stat info = {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(absl::StrCat("stat log ", options.path));
  return std::unique_ptr<LogFile>(
      new LogFile(options, std::move(fd), static_cast<uint64_t>(info.st_size)));
}

void LogFile::Append(absl::string_view text) {
  while (!text.empty() && options_.bytes_max > 0 && size_ + text.size() > options_.bytes_max) {
    const size_t room = size_ < options_.bytes_max ? options_.bytes_max - size_ : 0;
    // Behind the last line that fits; a file's only line may be longer.
    const size_t line_end = text.substr(0, room).rfind('\n');
    size_t fits = line_end == absl::string_view::npos ? 0 : line_end + 1;
    if (fits == 0 && (size_ == 0 || room > kLineBytesMax)) fits = room;
    WriteAll(text.substr(0, fits));
    text.remove_prefix(fits);
    if (!TurnOver()) break;  // better too long than lost
  }
  WriteAll(text);
}

void LogFile::WriteAll(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd_.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      dropped_bytes_ += text.size();
      return;
    }
    size_ += static_cast<uint64_t>(n);
    text.remove_prefix(static_cast<size_t>(n));
  }
}

bool LogFile::TurnOver() {
  const auto name = [this](uint32_t i) {
    return i == 0 ? options_.path : absl::StrCat(options_.path, ".", i);
  };
  if (options_.files_max == 0) {
    if (ftruncate(fd_.get(), 0) != 0) return false;
    size_ = 0;
    return true;
  }
  for (uint32_t i = options_.files_max; i > 0; --i) rename(name(i - 1).c_str(), name(i).c_str());
  absl::StatusOr<FileDescriptor> fd = OpenNewest(options_.path);
  if (!fd.ok()) return false;
  fd_ = *std::move(fd);
  size_ = 0;
  return true;
}

bool LogFile::ReadFrom(int pipe) {
  std::vector<char> buffer(kReadBytes);
  const ssize_t n = read(pipe, buffer.data(), buffer.size());
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  Append({buffer.data(), static_cast<size_t>(n)});
  return n > 0;
}

}  // namespace im::agent
