#include "base/netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cstring>
#include <span>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file_descriptor.h"

namespace im {
namespace {

// One request with its attributes, built in place.
class Request {
 public:
  template <typename Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    nlmsghdr* header = Header();
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header->nlmsg_seq = 1;
    header->nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    static_assert(NLMSG_LENGTH(sizeof(Body)) < sizeof(buffer_));
    std::memcpy(NLMSG_DATA(header), &body, sizeof(Body));
  }

  void Add(uint16_t type, const void* data, size_t size) {
    nlmsghdr* header = Header();
    const size_t begin = NLMSG_ALIGN(header->nlmsg_len);
    IM_CHECK(begin + RTA_SPACE(size) <= sizeof(buffer_));
    rtattr attribute = {static_cast<uint16_t>(RTA_LENGTH(size)), type};
    std::memcpy(buffer_ + begin, &attribute, sizeof(attribute));
    std::memcpy(buffer_ + begin + RTA_LENGTH(0), data, size);
    header->nlmsg_len = static_cast<uint32_t>(begin + RTA_LENGTH(size));
  }
  void Add(uint16_t type, uint32_t value) { Add(type, &value, sizeof(value)); }
  void Add(uint16_t type, const IpAddress& address) {
    Add(type, address.bytes().data(), address.bytes().size());
  }

  // Sends it and waits for the kernel's answer.
  absl::Status Run(const std::string& attempt) {
    FileDescriptor socket_fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket_fd.valid()) return ErrnoStatus(absl::StrCat(attempt, ": open netlink socket"));
    const sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t size = sendto(socket_fd.get(), buffer_, Header()->nlmsg_len, 0,
                          reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
    if (size < 0) return ErrnoStatus(attempt);
    alignas(nlmsghdr) char answer[4096];
    do {
      size = recv(socket_fd.get(), answer, sizeof(answer), 0);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return ErrnoStatus(attempt);
    const nlmsghdr* header = reinterpret_cast<const nlmsghdr*>(answer);
    if (!NLMSG_OK(header, static_cast<size_t>(size)) || header->nlmsg_type != NLMSG_ERROR ||
        header->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) {
      return absl::InternalError(absl::StrCat(attempt, ": the kernel's answer is not understood"));
    }
    const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
    return error == 0 ? absl::OkStatus() : ErrnoStatus(attempt, error);
  }

 private:
  nlmsghdr* Header() { return reinterpret_cast<nlmsghdr*>(buffer_); }

  // Fixed part and a handful of small attributes, in bytes.
  alignas(nlmsghdr) char buffer_[256] = {};
};

uint8_t Family(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }

}  // namespace

absl::StatusOr<int> LinkIndex(const std::string& name) {
  const unsigned index = if_nametoindex(name.c_str());
  if (index != 0) return static_cast<int>(index);
  if (errno == ENODEV) return absl::NotFoundError(absl::StrCat("no network interface ", name));
  return ErrnoStatus(absl::StrCat("look up network interface ", name));
}

absl::Status SetLinkUp(const std::string& name) {
  IM_ASSIGN_OR_RETURN(const int index, LinkIndex(name));
  ifinfomsg body = {};
  body.ifi_index = index;
  body.ifi_flags = IFF_UP;
  body.ifi_change = IFF_UP;
  return Request(RTM_NEWLINK, 0, body).Run(absl::StrCat("set ", name, " up"));
}

absl::Status SetLinkMtu(const std::string& name, int mtu_bytes) {
  IM_ASSIGN_OR_RETURN(const int index, LinkIndex(name));
  ifinfomsg body = {};
  body.ifi_index = index;
  Request request(RTM_NEWLINK, 0, body);
  request.Add(IFLA_MTU, static_cast<uint32_t>(mtu_bytes));
  return request.Run(absl::StrCat("set MTU of ", name, " to ", mtu_bytes));
}

absl::Status AddAddress(const std::string& name, const IpAddress& address, int prefix_length) {
  IM_ASSIGN_OR_RETURN(const int index, LinkIndex(name));
  ifaddrmsg body = {};
  body.ifa_family = Family(address);
  body.ifa_prefixlen = static_cast<uint8_t>(prefix_length);
  // The orchestrator gives each address out once: nobody else may have it, and
  // the wait of duplicate address detection would delay every start.
  body.ifa_flags = IFA_F_NODAD;
  body.ifa_index = static_cast<uint32_t>(index);
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body);
  request.Add(IFA_LOCAL, address);
  request.Add(IFA_ADDRESS, address);
  return request.Run(
      absl::StrCat("add address ", address.ToString(), "/", prefix_length, " to ", name));
}

absl::Status AddRoute(const std::string& name, const IpPrefix& destination) {
  IM_ASSIGN_OR_RETURN(const int index, LinkIndex(name));
  rtmsg body = {};
  body.rtm_family = Family(destination.address());
  body.rtm_dst_len = static_cast<uint8_t>(destination.length());
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = destination.is_v4() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  body.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body);
  if (destination.length() > 0) request.Add(RTA_DST, destination.address());
  request.Add(RTA_OIF, static_cast<uint32_t>(index));
  return request.Run(absl::StrCat("add route ", destination.ToString(), " by ", name));
}

}  // namespace im
