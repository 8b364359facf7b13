#include "orchestrator/cli/log_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"

namespace im::orchestrator::cli {
namespace {

// Reads to the end, at most `bytes_max`.
std::string ReadAll(int fd, size_t bytes_max) {
  std::string text;
  char buffer[64 << 10];
  while (text.size() < bytes_max) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

std::string LastLines(const std::string& text, uint64_t lines) {
  size_t at = text.size();
  // A last line without its end counts.
  if (at > 0 && text.back() == '\n') --at;
  for (uint64_t found = 0; at > 0; --at) {
    if (text[at - 1] == '\n' && ++found == lines) break;
  }
  return text.substr(at);
}

void LogReader::Open() {
  file_ = FileDescriptor(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  inode_ = file_.valid() && fstat(file_.get(), &status) == 0 ? status.st_ino : 0;
}

std::string LogReader::ReadTail(uint64_t lines) {
  Open();
  std::string text;
  if (file_.valid()) {
    struct stat status{};
    if (fstat(file_.get(), &status) == 0 &&
        status.st_size > static_cast<off_t>(kLogTailBytesMax)) {
      lseek(file_.get(), status.st_size - static_cast<off_t>(kLogTailBytesMax), SEEK_SET);
    }
    text = ReadAll(file_.get(), kLogTailBytesMax);
  }
  for (int i = 1; i <= kRotatedFilesMax && text.size() < kLogTailBytesMax; ++i) {
    const auto enough = static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n')) > lines;
    if (lines != 0 && enough) break;
    const FileDescriptor older(open(absl::StrCat(path_, ".", i).c_str(), O_RDONLY | O_CLOEXEC));
    if (!older.valid()) break;
    text.insert(0, ReadAll(older.get(), kLogTailBytesMax));
  }
  return lines == 0 ? text : LastLines(text, lines);
}

std::string LogReader::ReadOn() {
  return file_.valid() ? ReadAll(file_.get(), kLogTailBytesMax) : std::string();
}

std::string LogReader::ReadNew() {
  std::string text = absl::StrCat(partial_, ReadOn());
  partial_.clear();
  struct stat status{};
  const bool rotated = stat(path_.c_str(), &status) == 0 && status.st_ino != inode_;
  if (rotated) {
    // What was written between the last read and the renaming comes first.
    absl::StrAppend(&text, ReadOn());
    Open();
    absl::StrAppend(&text, ReadOn());
  }
  const size_t end = text.rfind('\n');
  const size_t whole = end == std::string::npos ? 0 : end + 1;
  partial_ = text.substr(whole);
  text.resize(whole);
  return text;
}

}  // namespace im::orchestrator::cli
