#include "orchestrator/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"

namespace im::orchestrator {
namespace {

constexpr absl::string_view kMagic = "IMS1";
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

absl::StatusOr<std::optional<proto::SavedState>> Store::Load() const {
  FileDescriptor file(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) return std::optional<proto::SavedState>();
    return ErrnoStatus(absl::StrCat("open ", path_));
  }
  struct stat info;
  if (fstat(file.get(), &info) < 0) return ErrnoStatus(absl::StrCat("stat ", path_));
  const auto damaged = [this](absl::string_view how) {
    return absl::DataLossError(
        absl::StrCat(path_, " is damaged (", how,
                     "): its running instances cannot be taken back; stop their im-agent "
                     "processes, remove the file and start again"));
  };
  if (static_cast<size_t>(info.st_size) > kStateBytesMax) return damaged("too large");
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  const ssize_t n = read(file.get(), bytes.data(), bytes.size());
  if (n < 0) return ErrnoStatus(absl::StrCat("read ", path_));
  bytes.resize(static_cast<size_t>(n));
  absl::string_view rest = bytes;
  if (rest.size() < kMagic.size() + kChecksumBytes) return damaged("too short");
  if (rest.substr(0, kMagic.size()) != kMagic) return damaged("not a state file");
  rest.remove_prefix(kMagic.size());
  const absl::string_view checksum = rest.substr(0, kChecksumBytes);
  rest.remove_prefix(kChecksumBytes);
  if (Checksum(rest) != checksum) return damaged("wrong checksum");
  proto::SavedState state;
  if (!state.ParseFromArray(rest.data(), static_cast<int>(rest.size()))) {
    return damaged("not decodable");
  }
  if (state.format() != kStateFormat) {
    return absl::FailedPreconditionError(absl::StrCat(
        path_, " has format ", state.format(), ", this imd knows format ", kStateFormat));
  }
  return std::optional<proto::SavedState>(std::move(state));
}

absl::Status Store::Save(const proto::SavedState& state) const {
  const std::string message = state.SerializeAsString();
  const std::string bytes = absl::StrCat(kMagic, Checksum(message), message);
  const std::string next = path_ + ".new";
  {
    FileDescriptor file(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file.valid()) return ErrnoStatus(absl::StrCat("create ", next));
    IM_RETURN_IF_ERROR(WriteAll(file.get(), bytes, next));
  }
  if (rename(next.c_str(), path_.c_str()) < 0) {
    return ErrnoStatus(absl::StrCat("rename ", next, " to ", path_));
  }
  return absl::OkStatus();
}

absl::Status Store::Remove() const {
  if (unlink(path_.c_str()) < 0 && errno != ENOENT) {
    return ErrnoStatus(absl::StrCat("remove ", path_));
  }
  return absl::OkStatus();
}

}  // namespace im::orchestrator
