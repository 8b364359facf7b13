#include "tunnel/link_monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/netlink.h"

namespace im::tunnel {
namespace {

// More than a kernel's link message.
constexpr size_t kMessageBytesMax = 32 << 10;

std::optional<int> MtuOf(const nlmsghdr* header) {
  const auto* body = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
  size_t left = IFLA_PAYLOAD(header);
  for (const rtattr* a = IFLA_RTA(body); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type != IFLA_MTU || RTA_PAYLOAD(a) < sizeof(uint32_t)) continue;
    uint32_t mtu_bytes;
    std::memcpy(&mtu_bytes, RTA_DATA(a), sizeof(mtu_bytes));
    return static_cast<int>(mtu_bytes);
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<LinkState> ReadLink(const std::string& name) {
  const std::string attempt = absl::StrCat("read the state of network interface ", name);
  const FileDescriptor fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (!fd.valid() || ioctl(fd.get(), SIOCGIFMTU, &request) != 0) {
    if (errno == ENODEV) return absl::NotFoundError(absl::StrCat(attempt, ": there is none"));
    return ErrnoStatus(attempt);
  }
  LinkState state;
  state.mtu_bytes = request.ifr_mtu;
  if (ioctl(fd.get(), SIOCGIFFLAGS, &request) != 0) return ErrnoStatus(attempt);
  state.up = (request.ifr_flags & IFF_UP) != 0;
  return state;
}

absl::StatusOr<LinkState> ReadLinkIn(const FileDescriptor& name_space, const std::string& name) {
  const FileDescriptor home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home.valid()) return ErrnoStatus("open the own network namespace");
  if (setns(name_space.get(), CLONE_NEWNET) != 0) {
    return ErrnoStatus(absl::StrCat("enter the network namespace of ", name));
  }
  const absl::StatusOr<LinkState> state = ReadLink(name);
  // Where we come from, with what let us in.
  IM_CHECK(setns(home.get(), CLONE_NEWNET) == 0);
  return state;
}

absl::StatusOr<std::unique_ptr<LinkMonitor>> LinkMonitor::Create(const std::string& name,
                                                                 EventLoop& loop,
                                                                 Callbacks callbacks) {
  const std::string attempt = absl::StrCat("watch network interface ", name);
  FileDescriptor fd(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd.valid()) return ErrnoStatus(attempt);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(attempt);
  }
  // Only now, so that no change in between is missed.
  IM_ASSIGN_OR_RETURN(const int index, LinkIndex(name));
  std::unique_ptr<LinkMonitor> monitor(
      new LinkMonitor(std::move(fd), index, std::move(callbacks)));
  IM_RETURN_IF_ERROR(monitor->Ask());
  monitor->watch_ = loop.WatchFd(monitor->fd_.get(), EPOLLIN,
                                 [m = monitor.get()](uint32_t) { m->OnReadable(); });
  return monitor;
}

LinkMonitor::LinkMonitor(FileDescriptor fd, int index, Callbacks callbacks)
    : fd_(std::move(fd)), index_(index), callbacks_(std::move(callbacks)) {}

// The answer comes as a message like all others.
absl::Status LinkMonitor::Ask() {
  struct {
    nlmsghdr header;
    ifinfomsg body;
  } request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(request.body));
  request.header.nlmsg_type = RTM_GETLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.body.ifi_index = index_;
  const sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (sendto(fd_.get(), &request, request.header.nlmsg_len, 0,
             reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel)) < 0) {
    return ErrnoStatus("ask for the state of a network interface");
  }
  return absl::OkStatus();
}

void LinkMonitor::OnReadable() {
  alignas(nlmsghdr) char buffer[kMessageBytesMax];
  while (true) {
    const ssize_t size = recv(fd_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == ENOBUFS) {  // messages were lost
      if (const absl::Status status = Ask(); !status.ok()) {
        IM_LOG(kWarning, status.message());
      }
      continue;
    }
    if (size <= 0 || !TakeMessages(buffer, static_cast<size_t>(size))) return;
  }
}

bool LinkMonitor::TakeMessages(const char* buffer, size_t size) {
  bool removed = false;
  std::optional<LinkState> state;
  for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(header, size);
       header = NLMSG_NEXT(header, size)) {
    if (header->nlmsg_type == NLMSG_ERROR &&
        header->nlmsg_len >= NLMSG_LENGTH(sizeof(nlmsgerr))) {
      // The answer to a question about an interface that went before it.
      if (static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error == -ENODEV) removed = true;
      continue;
    }
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(ifinfomsg))) continue;
    const auto* body = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
    if (body->ifi_index != index_) continue;
    if (header->nlmsg_type == RTM_DELLINK) removed = true;
    if (header->nlmsg_type == RTM_NEWLINK) {
      if (const std::optional<int> mtu_bytes = MtuOf(header)) {
        state = {.mtu_bytes = *mtu_bytes, .up = (body->ifi_flags & IFF_UP) != 0};
      }
    }
  }
  if (state && callbacks_.on_state) callbacks_.on_state(*state);
  if (!removed) return true;
  watch_.Reset();
  // Not a member any more: it may destroy this.
  const std::function<void()> on_removed = std::move(callbacks_.on_removed);
  if (on_removed) on_removed();
  return false;
}

}  // namespace im::tunnel
