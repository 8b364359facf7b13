#include "orchestrator/cli/preflight.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace im::orchestrator::cli {
namespace {

int TryNamespaces() {
  return unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID) == 0 ? 0 : errno;
}

// What a host sees under /etc and /proc is mounted for it alone.
int TryMounts() {
  return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
}

int TryTun() {
  const int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tun < 0) return errno;
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  return ioctl(tun, TUNSETIFF, &request) == 0 ? 0 : errno;
}

}  // namespace

Preflight TryMachine() {
  Preflight preflight;
  preflight.root = geteuid() == 0;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return preflight;
  const pid_t child = fork();
  if (child == 0) {
    int results[3] = {TryNamespaces(), 0, TryTun()};
    // In the machine's own namespace it would change the machine.
    if (results[0] == 0) results[1] = TryMounts();
    _exit(write(ends[1], results, sizeof(results)) == sizeof(results) ? 0 : 1);
  }
  close(ends[1]);
  int results[3] = {0, 0, 0};
  if (child > 0 && read(ends[0], results, sizeof(results)) == sizeof(results)) {
    preflight.namespaces_errno = results[0];
    preflight.mounts_errno = results[1];
    preflight.tun_errno = results[2];
  }
  close(ends[0]);
  if (child > 0) waitpid(child, nullptr, 0);
  return preflight;
}

std::optional<std::string> ExplainPreflight(const Preflight& preflight) {
  if (preflight.namespaces_errno == 0 && preflight.mounts_errno == 0 &&
      preflight.tun_errno == 0) {
    return std::nullopt;
  }
  if (!preflight.root) {
    return "a cluster's hosts need network namespaces and TUN devices, which only root may make "
           "here; run it with sudo, or without attach: tun and what only that can have";
  }
  std::string text = "this machine does not permit what a cluster's hosts need:";
  if (const int error = preflight.namespaces_errno; error != 0) {
    absl::StrAppend(&text, "\n  namespaces: ", std::strerror(error),
                    error == EPERM ? "; in a container, start it with CAP_SYS_ADMIN (docker run "
                                     "--privileged)"
                                   : "; the kernel must be built with CONFIG_NET_NS and "
                                     "CONFIG_PID_NS, and allow more of them "
                                     "(user.max_net_namespaces)");
  }
  if (const int error = preflight.mounts_errno; error != 0) {
    absl::StrAppend(&text, "\n  mounts of its own: ", std::strerror(error),
                    error == EINVAL ? "; this is a chroot whose / is no mount: before entering "
                                      "it, mount --bind its directory on itself"
                                    : "; in a container, start it with CAP_SYS_ADMIN and without "
                                      "an AppArmor profile (docker run --privileged)");
  }
  if (const int error = preflight.tun_errno; error != 0) {
    absl::StrAppend(&text, "\n  /dev/net/tun: ", std::strerror(error),
                    error == ENOENT || error == ENODEV || error == ENXIO
                        ? "; load it with modprobe tun, or in a container start it with --device "
                          "/dev/net/tun"
                        : "; in a container, start it with CAP_NET_ADMIN and --device "
                          "/dev/net/tun");
  }
  return text;
}

}  // namespace im::orchestrator::cli
