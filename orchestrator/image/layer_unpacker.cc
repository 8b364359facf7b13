#include "orchestrator/image/layer_unpacker.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace im::orchestrator {
namespace {

constexpr size_t kLayerReadBytes = 256 << 10;
constexpr uint64_t kSpaceCheckBytes = uint64_t{64} << 20;
constexpr absl::string_view kWhiteout = ".wh.";
constexpr absl::string_view kOpaque = ".wh..wh..opq";
constexpr mode_t kModeBits = 07777;

using Reader = std::unique_ptr<archive, int (*)(archive*)>;

absl::Status ReadError(archive* reader) {
  const char* text = archive_error_string(reader);
  return absl::InvalidArgumentError(
      absl::StrCat("the archive cannot be read: ", text == nullptr ? "damaged" : text));
}

absl::StatusOr<Reader> OpenArchive(int fd) {
  Reader reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_all(reader.get());
  archive_read_support_format_tar(reader.get());
  archive_read_support_format_empty(reader.get());
  if (archive_read_open_fd(reader.get(), fd, kLayerReadBytes) != ARCHIVE_OK)
    return ReadError(reader.get());
  return reader;
}

std::string Text(const char* bytes, const char* utf8) {
  return bytes != nullptr ? bytes : utf8 != nullptr ? utf8 : "";
}

absl::Status SetXattrs(archive_entry* entry, int file) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    // trusted.overlay.* would change what the overlay shows.
    if (!absl::StartsWith(name, "user.") && absl::string_view(name) != "security.capability")
      continue;
    if (absl::StartsWith(name, "user.overlay.")) continue;
    if (fsetxattr(file, name, value, size, 0) != 0 && errno != ENOTSUP)
      return ErrnoStatus(absl::StrCat("set ", name));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> Owner(int64_t id) {
  // The last one means "as it is" to chown(2).
  if (id < 0 || id >= UINT32_MAX)
    return absl::InvalidArgumentError(absl::StrCat("its owner has the number ", id));
  return static_cast<uint32_t>(id);
}

timespec Time(archive_entry* entry) {
  if (archive_entry_mtime_is_set(entry) == 0) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
  return {.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
}

// Of what is neither followed nor opened.
absl::Status SetNodeOwner(archive_entry* entry, int parent, const std::string& name) {
  IM_ASSIGN_OR_RETURN(const uint32_t uid, Owner(archive_entry_uid(entry)));
  IM_ASSIGN_OR_RETURN(const uint32_t gid, Owner(archive_entry_gid(entry)));
  if (fchownat(parent, name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrnoStatus("set its owner");
  return absl::OkStatus();
}

// Of an open file or directory; the owner first, which clears bits of the mode.
absl::Status SetAttributes(archive_entry* entry, int file) {
  IM_ASSIGN_OR_RETURN(const uint32_t uid, Owner(archive_entry_uid(entry)));
  IM_ASSIGN_OR_RETURN(const uint32_t gid, Owner(archive_entry_gid(entry)));
  if (fchown(file, uid, gid) != 0) return ErrnoStatus("set its owner");
  if (fchmod(file, archive_entry_perm(entry) & kModeBits) != 0)
    return ErrnoStatus("set its mode");
  return SetXattrs(entry, file);
}

}  // namespace

absl::Status LayerUnpacker::Unpack(int archive_fd, Kind kind) {
  kind_ = kind;
  put_.clear();
  IM_ASSIGN_OR_RETURN(const Reader reader, OpenArchive(archive_fd));
  archive_entry* entry = nullptr;
  while (true) {
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) return absl::OkStatus();
    if (result < ARCHIVE_WARN) return ReadError(reader.get());
    if (++entries_ > limits_.entries_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the image has more than ", limits_.entries_max, " files"));
    }
    if (absl::Status status = Put(reader.get(), entry); !status.ok()) {
      return Annotate(status, Text(archive_entry_pathname(entry),
                                   archive_entry_pathname_utf8(entry)));
    }
  }
}

absl::Status LayerUnpacker::Put(archive* reader, archive_entry* entry) {
  IM_ASSIGN_OR_RETURN(const std::string path,
                      SafeTree::Normal(Text(archive_entry_pathname(entry),
                                            archive_entry_pathname_utf8(entry))));
  const auto type = archive_entry_filetype(entry);
  if (path.empty()) {
    return type == AE_IFDIR ? SetAttributes(entry, tree_.fd())
                            : absl::InvalidArgumentError("a file without a name");
  }
  const std::string name = SafeTree::Name(path);
  IM_ASSIGN_OR_RETURN(const int remembered, tree_.Parent(path));
  // A duplicate: the tree may forget its own.
  const FileDescriptor place(fcntl(remembered, F_DUPFD_CLOEXEC, 0));
  if (!place.valid()) return ErrnoStatus("dup");
  const int parent = place.get();
  if (kind_ == Kind::kLayer && absl::StartsWith(name, kWhiteout))
    return TakeAway(parent, path, name);
  const std::string hard_link =
      Text(archive_entry_hardlink(entry), archive_entry_hardlink_utf8(entry));
  if (hard_link.empty() && type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK &&
      type != AE_IFIFO) {
    ++left_out_;
    return absl::OkStatus();
  }
  put_.insert(path);
  if (!hard_link.empty()) return PutHardLink(hard_link, parent, name);
  if (type == AE_IFDIR) {
    IM_RETURN_IF_ERROR(PutDirectory(parent, name));
    const FileDescriptor directory(
        openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory.valid()) return ErrnoStatus("open");
    return SetAttributes(entry, directory.get());
  }
  if (type == AE_IFREG) return PutFile(reader, entry, parent, name);
  IM_RETURN_IF_ERROR(tree_.Remove(parent, name));
  if (type == AE_IFIFO) {
    if (mkfifoat(parent, name.c_str(), archive_entry_perm(entry) & kModeBits) != 0)
      return ErrnoStatus("make a FIFO");
    return SetNodeOwner(entry, parent, name);
  }
  const std::string target =
      Text(archive_entry_symlink(entry), archive_entry_symlink_utf8(entry));
  if (symlinkat(target.c_str(), parent, name.c_str()) != 0)
    return ErrnoStatus("make a symbolic link");
  IM_RETURN_IF_ERROR(SetNodeOwner(entry, parent, name));
  tree_.Forget();
  return absl::OkStatus();
}

absl::Status LayerUnpacker::TakeAway(int parent, const std::string& path,
                                     const std::string& marker) {
  const std::string directory = path.substr(0, path.size() - marker.size());
  if (marker == kOpaque) return ClearLower(directory);
  const std::string name = marker.substr(kWhiteout.size());
  if (name.empty() || name == "." || name == "..")
    return absl::InvalidArgumentError("a whiteout of nothing");
  if (put_.contains(directory + name)) return absl::OkStatus();
  return tree_.Remove(parent, name);
}

absl::Status LayerUnpacker::ClearLower(const std::string& directory) {
  IM_ASSIGN_OR_RETURN(FileDescriptor fd, tree_.OpenFile(directory, O_RDONLY | O_DIRECTORY));
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(fdopendir(dup(fd.get())), closedir);
  if (listing == nullptr) return ErrnoStatus("list");
  std::vector<std::string> names;
  while (const dirent* entry = readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    // What this layer put there, or below it, stays.
    const std::string path = directory + name;
    const auto at = put_.lower_bound(path + "/");
    const bool ours = put_.contains(path) ||
                      (at != put_.end() && absl::StartsWith(*at, path + "/"));
    if (!ours) names.push_back(name);
  }
  for (const std::string& name : names) IM_RETURN_IF_ERROR(tree_.Remove(fd.get(), name));
  return absl::OkStatus();
}

absl::Status LayerUnpacker::PutDirectory(int parent, const std::string& name) {
  struct stat info;
  if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISDIR(info.st_mode)) return absl::OkStatus();
    if (unlinkat(parent, name.c_str(), 0) != 0) return ErrnoStatus("replace");
    tree_.Forget();
  }
  if (mkdirat(parent, name.c_str(), 0755) != 0) return ErrnoStatus("make directory");
  return absl::OkStatus();
}

absl::Status LayerUnpacker::PutHardLink(const std::string& target, int parent,
                                        const std::string& name) {
  IM_ASSIGN_OR_RETURN(const std::string path, SafeTree::Normal(target));
  IM_ASSIGN_OR_RETURN(const FileDescriptor file, tree_.OpenNode(path));
  struct stat info;
  if (fstat(file.get(), &info) != 0 || S_ISDIR(info.st_mode))
    return absl::InvalidArgumentError("a hard link to a directory");
  struct stat old;
  if (fstatat(parent, name.c_str(), &old, AT_SYMLINK_NOFOLLOW) == 0) {
    if (old.st_dev == info.st_dev && old.st_ino == info.st_ino) return absl::OkStatus();
    if (S_ISDIR(old.st_mode)) return absl::InvalidArgumentError("a hard link over a directory");
    if (unlinkat(parent, name.c_str(), 0) != 0) return ErrnoStatus("replace");
  }
  if (linkat(file.get(), "", parent, name.c_str(), AT_EMPTY_PATH) != 0)
    return ErrnoStatus(absl::StrCat("link to ", target));
  return absl::OkStatus();
}

absl::Status LayerUnpacker::PutFile(archive* reader, archive_entry* entry, int parent,
                                    const std::string& name) {
  IM_RETURN_IF_ERROR(tree_.Remove(parent, name));
  const FileDescriptor file(openat(parent, name.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus("create");
  IM_RETURN_IF_ERROR(CopyData(reader, file.get()));
  if (ftruncate(file.get(), archive_entry_size(entry)) != 0) return ErrnoStatus("set its size");
  IM_RETURN_IF_ERROR(SetAttributes(entry, file.get()));
  const timespec times[] = {Time(entry), Time(entry)};
  futimens(file.get(), times);  // of no consequence if it fails
  return absl::OkStatus();
}

absl::Status LayerUnpacker::CopyData(archive* reader, int file) {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  while (true) {
    const int result = archive_read_data_block(reader, &data, &size, &offset);
    if (result == ARCHIVE_EOF) return absl::OkStatus();
    if (result < ARCHIVE_WARN) return ReadError(reader);
    IM_RETURN_IF_ERROR(Charge(size));
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = pwrite(file, from, size, offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("write");
      from += n;
      size -= static_cast<size_t>(n);
      offset += n;
    }
  }
}

absl::Status LayerUnpacker::Charge(uint64_t bytes) {
  bytes_ += bytes;
  if (bytes_ > limits_.bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the image has more than ", limits_.bytes_max, " bytes"));
  }
  if (bytes_ < next_space_check_) return absl::OkStatus();
  next_space_check_ = bytes_ + kSpaceCheckBytes;
  struct statvfs space;
  if (fstatvfs(tree_.fd(), &space) == 0 &&
      uint64_t{space.f_bavail} * space.f_frsize < limits_.free_bytes_min + kSpaceCheckBytes) {
    return absl::ResourceExhaustedError("there is too little space on the disk");
  }
  return absl::OkStatus();
}

}  // namespace im::orchestrator
