#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "orchestrator/agent/image_root.h"
#include "orchestrator/agent/inside.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/start_request.h"

// Numbers of linux/mount.h, which cannot be included beside sys/mount.h with
// every libc.
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif

namespace im::agent {
namespace {

constexpr char kCgroupPath[] = "/sys/fs/cgroup";

// Shows `text` as `path` in this namespace. What is not there stays so: the
// directory is the machine's, and nothing may be made in it.
absl::Status ShowFile(const proto::StartRequest& request, const std::string& path,
                      const std::string& text) {
  IM_ASSIGN_OR_RETURN(const std::string file,
                      WriteInstanceFile(request, path.substr(path.rfind('/') + 1), text));
  // mount(2) follows a symbolic link to the file that is really read.
  if (mount(file.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) == 0) return absl::OkStatus();
  if (errno != ENOENT) return ErrnoStatus(absl::StrCat("mount ", path));
  IM_LOG(kWarning, path, " does not exist on this machine: programs may not find names");
  return absl::OkStatus();
}

// Sources of names other than files and DNS ask daemons of the machine, which
// know nothing of the imaginary network.
absl::Status ShowOnlyOurNames(const proto::StartRequest& request) {
  constexpr char kPath[] = "/etc/nsswitch.conf";
  mount("/dev/null", "/run/nscd/socket", nullptr, MS_BIND, nullptr);  // where there is one
  const std::string machine = ReadSmallFile(kPath);
  std::string ours;
  bool differs = false;
  for (absl::string_view line : absl::StrSplit(machine, '\n')) {
    if (absl::StartsWith(line, "hosts:")) {
      differs |= absl::StrContains(line, "resolve") || absl::StrContains(line, "mymachines");
      absl::StrAppend(&ours, "hosts: files dns\n");
    } else {
      absl::StrAppend(&ours, line, "\n");
    }
  }
  return differs ? ShowFile(request, kPath, ours) : absl::OkStatus();
}

absl::Status ShowNames(const proto::StartRequest& request) {
  for (const auto& [path, text] : NameFiles(request))
    IM_RETURN_IF_ERROR(ShowFile(request, path, text));
  return ShowOnlyOurNames(request);
}

absl::Status Mount(const proto::Mount& wanted) {
  const std::string what = absl::StrCat(
      "mount ", wanted.source().empty() ? "tmpfs" : wanted.source(), " at ", wanted.target());
  if (wanted.source().empty()) {
    unsigned flags = MS_NOSUID | MS_NODEV;
    if (wanted.read_only()) flags |= MS_RDONLY;
    if (mount("tmpfs", wanted.target().c_str(), "tmpfs", flags, nullptr) != 0)
      return ErrnoStatus(what);
    return absl::OkStatus();
  }
  if (mount(wanted.source().c_str(), wanted.target().c_str(), nullptr, MS_BIND | MS_REC,
            nullptr) != 0)
    return ErrnoStatus(what);
  if (wanted.read_only() && mount(nullptr, wanted.target().c_str(), nullptr,
                                  MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0)
    return ErrnoStatus(what + " read-only");
  return absl::OkStatus();
}

// Terminals of the host's own: CRIU gives each its number back, which must be free.
absl::Status ShowOwnTerminals() {
  if (mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
            "newinstance,ptmxmode=0666,mode=0620,gid=5") != 0 ||
      mount("/dev/pts/ptmx", "/dev/ptmx", nullptr, MS_BIND, nullptr) != 0)
    return ErrnoStatus("mount /dev/pts");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> WriteInstanceFile(const proto::StartRequest& request,
                                              const std::string& name, const std::string& text) {
  const std::string file = absl::StrCat(request.instance_dir(), "/", name);
  const FileDescriptor fd(open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) < 0)
    return ErrnoStatus(absl::StrCat("write ", file));
  return file;
}

std::vector<std::pair<std::string, std::string>> NameFiles(const proto::StartRequest& request) {
  const std::string full_name =
      request.domain().empty() ? request.hostname()
                               : absl::StrCat(request.hostname(), ".", request.domain(), " ",
                                              request.hostname());
  std::string resolv =
      absl::StrCat("nameserver ", AddressOf(request.gateway_address()).ToString(), "\n");
  if (!request.domain().empty()) absl::StrAppend(&resolv, "search ", request.domain(), "\n");
  const IpAddress address = AddressOf(request.address());
  std::string hosts =
      absl::StrCat("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
                   address.ToString(), " ", full_name, "\n");
  if (const DualStack dual_stack = DualStackOf(request); dual_stack.on())
    absl::StrAppend(&hosts, dual_stack.ToV6(address).ToString(), " ", full_name, "\n");
  return {{"/etc/hosts", hosts},
          {"/etc/hostname", request.hostname() + "\n"},
          {"/etc/resolv.conf", resolv}};
}

FileDescriptor CloneCgroups() {
  return FileDescriptor(static_cast<int>(
      syscall(SYS_open_tree, AT_FDCWD, kCgroupPath, OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE)));
}

void ShowSys(const FileDescriptor& cgroups) {
  constexpr unsigned kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (!cgroups.valid() || mount("sysfs", "/sys", "sysfs", kFlags, nullptr) != 0) return;
  syscall(SYS_move_mount, cgroups.get(), "", AT_FDCWD, kCgroupPath, MOVE_MOUNT_F_EMPTY_PATH);
}

absl::Status MakeInsideFiles(const proto::StartRequest& request) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return ErrnoStatus("make mounts private");
  if (request.program().has_image()) return EnterImage(request);
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return ErrnoStatus("mount /proc");
  ShowSys(CloneCgroups());
  if (request.has_checkpointing()) IM_RETURN_IF_ERROR(ShowOwnTerminals());
  IM_RETURN_IF_ERROR(ShowNames(request));
  for (const proto::Mount& wanted : request.program().mounts()) IM_RETURN_IF_ERROR(Mount(wanted));
  return absl::OkStatus();
}

}  // namespace im::agent
