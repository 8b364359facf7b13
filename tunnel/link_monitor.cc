#include "tunnel/link_monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
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
  monitor->watch_ = loop.WatchFd(monitor->fd_.get(), EPOLLIN,
                                 [m = monitor.get()](uint32_t) { m->OnReadable(); });
  return monitor;
}

LinkMonitor::LinkMonitor(FileDescriptor fd, int index, Callbacks callbacks)
    : fd_(std::move(fd)), index_(index), callbacks_(std::move(callbacks)) {}

void LinkMonitor::OnReadable() {
  alignas(nlmsghdr) char buffer[kMessageBytesMax];
  const ssize_t size = recv(fd_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
  if (size <= 0) return;  // also ENOBUFS: the next message tells the state anew
  size_t left = static_cast<size_t>(size);
  bool removed = false;
  std::optional<int> mtu_bytes;
  for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(header, left);
       header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_len < NLMSG_LENGTH(sizeof(ifinfomsg))) continue;
    if (static_cast<const ifinfomsg*>(NLMSG_DATA(header))->ifi_index != index_) continue;
    if (header->nlmsg_type == RTM_DELLINK) removed = true;
    if (header->nlmsg_type == RTM_NEWLINK) {
      if (const std::optional<int> value = MtuOf(header)) mtu_bytes = value;
    }
  }
  if (mtu_bytes && callbacks_.on_mtu) callbacks_.on_mtu(*mtu_bytes);
  if (removed && callbacks_.on_removed) callbacks_.on_removed();
}

}  // namespace im::tunnel
