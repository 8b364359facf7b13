#include "orchestrator/agent/image_root.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file_descriptor.h"
#include "orchestrator/agent/inside.h"
#include "orchestrator/agent/tree_copy.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif

namespace im::agent {
namespace {

constexpr const char* kDevices[] = {"null", "zero", "full", "random", "urandom", "tty"};
constexpr struct {
  const char* target;
  const char* path;
} kDeviceLinks[] = {{"/proc/self/fd", "/dev/fd"},
                    {"/proc/self/fd/0", "/dev/stdin"},
                    {"/proc/self/fd/1", "/dev/stdout"},
                    {"/proc/self/fd/2", "/dev/stderr"},
                    {"pts/ptmx", "/dev/ptmx"}};

// Something to be mounted, detached from where it was.
struct Detached {
  std::string target;
  FileDescriptor tree;     // invalid: a tmpfs
  FileDescriptor content;  // of a volume
  bool directory = true;
  bool read_only = false;
};

absl::StatusOr<Detached> Detach(const std::string& source, const std::string& target) {
  Detached one;
  one.target = target;
  one.tree = FileDescriptor(static_cast<int>(syscall(
      SYS_open_tree, AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE)));
  struct stat info;
  if (!one.tree.valid() || fstat(one.tree.get(), &info) != 0)
    return ErrnoStatus(absl::StrCat("mount ", source, " at ", target));
  one.directory = S_ISDIR(info.st_mode);
  return one;
}

// By their descriptors, so that no character of a path means something to the kernel.
std::string PathOf(const FileDescriptor& fd) { return absl::StrCat("/proc/self/fd/", fd.get()); }

absl::StatusOr<FileDescriptor> OpenDirectory(const std::string& path, bool make) {
  if (make && mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
    return ErrnoStatus(absl::StrCat("make directory ", path));
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open ", path));
  return fd;
}

// With all that is missing on the way there.
absl::Status MakeDirectories(const std::string& path) {
  std::string at;
  for (absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    absl::StrAppend(&at, "/", part);
    if (mkdir(at.c_str(), 0755) != 0 && errno != EEXIST)
      return ErrnoStatus(absl::StrCat("make directory ", at, " in the image"));
  }
  return absl::OkStatus();
}

absl::Status MakePlace(const Detached& one) {
  if (one.directory) return MakeDirectories(one.target);
  IM_RETURN_IF_ERROR(MakeDirectories(one.target.substr(0, one.target.rfind('/'))));
  int fd = open(one.target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0 && errno == ENOENT && unlink(one.target.c_str()) == 0)  // a link to nowhere
    fd = open(one.target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  const FileDescriptor file(fd);
  return file.valid() || errno == EISDIR
             ? absl::OkStatus()
             : ErrnoStatus(absl::StrCat("make ", one.target, " in the image"));
}

// What is being copied into a volume lies in this directory of it until it is whole.
constexpr char kUnfinished[] = ".im-unfinished";

// As a container's volume: what is new belongs to whom the image says, and has what the
// image has in its place.
absl::Status TakeOver(const Detached& one) {
  if (!one.content.valid()) return absl::OkStatus();
  const int volume = one.content.get();
  const FileDescriptor covered(open(one.target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info;
  if (!covered.valid() || fstat(covered.get(), &info) != 0) return absl::OkStatus();
  // Another host of the same image may begin just now.
  const FileDescriptor lock(openat(volume, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid() || flock(lock.get(), LOCK_EX) != 0) return ErrnoStatus("lock a volume");
  IM_ASSIGN_OR_RETURN(std::vector<std::string> there, NamesIn(volume));
  std::erase(there, kUnfinished);
  if (!there.empty()) return absl::OkStatus();
  const std::string unfinished = absl::StrCat(PathOf(one.content), "/", kUnfinished);
  std::error_code error;
  std::filesystem::remove_all(unfinished, error);
  IM_ASSIGN_OR_RETURN(const FileDescriptor copy, OpenDirectory(unfinished, /*make=*/true));
  IM_RETURN_IF_ERROR(CopyContent(covered.get(), copy.get()));
  IM_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(copy.get()));
  for (const std::string& name : names)
    if (renameat(copy.get(), name.c_str(), volume, name.c_str()) != 0)
      return ErrnoStatus(absl::StrCat("move ", name, " into a volume"));
  if (unlinkat(volume, kUnfinished, AT_REMOVEDIR) != 0 ||
      fchown(volume, info.st_uid, info.st_gid) != 0 ||
      fchmod(volume, info.st_mode & 07777) != 0)
    return ErrnoStatus("fill a volume");
  return absl::OkStatus();
}

absl::Status Attach(const Detached& one) {
  const std::string what = absl::StrCat("mount something at ", one.target);
  struct stat covered;
  const bool known = stat(one.target.c_str(), &covered) == 0;
  IM_RETURN_IF_ERROR(MakePlace(one));
  if (known) IM_RETURN_IF_ERROR(Annotate(TakeOver(one), what));
  if (!one.tree.valid()) {
    const unsigned flags = MS_NOSUID | MS_NODEV | (one.read_only ? MS_RDONLY : 0);
    return mount("tmpfs", one.target.c_str(), "tmpfs", flags, nullptr) == 0 ? absl::OkStatus()
                                                                            : ErrnoStatus(what);
  }
  if (syscall(SYS_move_mount, one.tree.get(), "", AT_FDCWD, one.target.c_str(),
              MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return ErrnoStatus(what);
  if (one.read_only && mount(nullptr, one.target.c_str(), nullptr,
                             MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0)
    return ErrnoStatus(what + ", read-only");
  return absl::OkStatus();
}

absl::Status MountOverlay(const proto::Image& image, const std::string& root) {
  IM_ASSIGN_OR_RETURN(FileDescriptor tree, OpenDirectory(image.tree(), /*make=*/false));
  if (flock(tree.get(), LOCK_SH | LOCK_NB) != 0)
    return absl::NotFoundError(absl::StrCat("the image in ", image.tree(), " is being removed"));
  IM_RETURN_IF_ERROR(OpenDirectory(image.layer(), /*make=*/true).status());
  IM_ASSIGN_OR_RETURN(const FileDescriptor upper, OpenDirectory(image.layer() + "/upper", true));
  IM_ASSIGN_OR_RETURN(const FileDescriptor work, OpenDirectory(image.layer() + "/work", true));
  IM_RETURN_IF_ERROR(OpenDirectory(root, /*make=*/true).status());
  const std::string options = absl::StrCat("lowerdir=", PathOf(tree), ",upperdir=", PathOf(upper),
                                           ",workdir=", PathOf(work));
  if (mount("overlay", root.c_str(), "overlay", MS_NODEV, options.c_str()) != 0) {
    return ErrnoStatus(absl::StrCat("mount the image over ", image.layer(),
                                    " (overlayfs; a file system that is none itself)"));
  }
  // The lock is the process's for as long as it lives.
  (void)tree.Release();
  return absl::OkStatus();
}

// The old root is gone afterwards.
absl::Status ChangeRoot(const std::string& root) {
  if (chdir(root.c_str()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0 ||
      umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
    return ErrnoStatus("change the root directory");
  return absl::OkStatus();
}

absl::Status MakeDevices(const std::vector<Detached>& devices) {
  constexpr unsigned kFlags = MS_NOSUID | MS_NOEXEC;
  if (mount("tmpfs", "/dev", "tmpfs", kFlags, "mode=755,size=64k") != 0)
    return ErrnoStatus("mount /dev");
  for (const Detached& device : devices) IM_RETURN_IF_ERROR(Attach(device));
  for (const auto& link : kDeviceLinks)
    if (symlink(link.target, link.path) != 0) return ErrnoStatus(absl::StrCat("make ", link.path));
  if (mkdir("/dev/pts", 0755) != 0 || mkdir("/dev/shm", 0755) != 0)
    return ErrnoStatus("make directories in /dev");
  if (mount("devpts", "/dev/pts", "devpts", kFlags, "newinstance,ptmxmode=0666,mode=620") != 0)
    return ErrnoStatus("mount /dev/pts");
  if (mount("shm", "/dev/shm", "tmpfs", kFlags | MS_NODEV, "mode=1777") != 0)
    return ErrnoStatus("mount /dev/shm");
  return absl::OkStatus();
}

}  // namespace

absl::Status EnterImage(const proto::StartRequest& request) {
  const proto::Program& program = request.program();
  const FileDescriptor cgroups = CloneCgroups();
  std::vector<Detached> devices;
  for (const char* name : kDevices) {
    const std::string path = absl::StrCat("/dev/", name);
    IM_ASSIGN_OR_RETURN(Detached device, Detach(path, path));
    devices.push_back(std::move(device));
  }
  std::vector<Detached> mounts;
  for (const auto& [path, text] : NameFiles(request)) {
    IM_ASSIGN_OR_RETURN(const std::string file,
                        WriteInstanceFile(request, path.substr(path.rfind('/') + 1), text));
    IM_ASSIGN_OR_RETURN(Detached one, Detach(file, path));
    mounts.push_back(std::move(one));
  }
  for (const proto::Mount& wanted : program.mounts()) {
    Detached one;
    one.target = wanted.target();
    if (!wanted.source().empty()) {
      IM_ASSIGN_OR_RETURN(one, Detach(wanted.source(), wanted.target()));
      if (wanted.volume()) {
        IM_ASSIGN_OR_RETURN(one.content, OpenDirectory(wanted.source(), /*make=*/false));
      }
    }
    one.read_only = wanted.read_only();
    mounts.push_back(std::move(one));
  }
  const std::string root = request.instance_dir() + "/root";
  IM_RETURN_IF_ERROR(MountOverlay(program.image(), root));
  IM_RETURN_IF_ERROR(ChangeRoot(root));
  for (const char* path : {"/proc", "/sys", "/dev", "/etc"})
    IM_RETURN_IF_ERROR(MakeDirectories(path));
  if (mkdir("/tmp", 0) == 0) chmod("/tmp", 01777);
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return ErrnoStatus("mount /proc");
  ShowSys(cgroups);
  IM_RETURN_IF_ERROR(MakeDevices(devices));
  for (const Detached& one : mounts) IM_RETURN_IF_ERROR(Attach(one));
  return MakeDirectories(program.working_dir());
}

}  // namespace im::agent
