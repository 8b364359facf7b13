#include "tunnel/datagram_receiver.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include <cstring>

namespace im::tunnel {
namespace {

constexpr size_t kReceiveControlBytes = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(in6_pktinfo)) +
                                 CMSG_SPACE(sizeof(int));
// Errors about earlier sends that one Receive steps over.
constexpr int kPendingErrorsMax = 8;

template <typename Value>
Value LoadAs(const unsigned char* data) {
  Value value;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

IpAddress FromIn6(const in6_addr& address) {
  return IpAddress::FromBytes({address.s6_addr, sizeof(address.s6_addr)});
}

// What the control messages say about the run.
void ReadControl(msghdr& header, DatagramRun& run) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    const unsigned char* data = CMSG_DATA(c);
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      const int size = LoadAs<int>(data);
      if (size > 0 && static_cast<size_t>(size) < run.bytes.size()) {
        run.segment_size = static_cast<uint32_t>(size);
      }
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      run.local = FromIn6(LoadAs<in6_pktinfo>(data).ipi6_addr);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      run.local = IpAddress::V4(ntohl(LoadAs<in_pktinfo>(data).ipi_addr.s_addr));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      run.ecn = static_cast<uint8_t>(LoadAs<int>(data) & 3);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      run.ecn = static_cast<uint8_t>(data[0] & 3);
    }
  }
}

}  // namespace

Endpoint EndpointFromKernel(const sockaddr_storage& address) {
  if (address.ss_family != AF_INET6) return Endpoint::FromSockaddr(address);
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  // The kernel says it for link-local ones alone.
  return {FromIn6(v6.sin6_addr), ntohs(v6.sin6_port), v6.sin6_scope_id};
}

struct DatagramReceiver::Slot {
  sockaddr_storage address;
  iovec part;
  alignas(cmsghdr) char control[kReceiveControlBytes];
};

DatagramReceiver::DatagramReceiver(size_t messages_max, size_t message_bytes_max)
    : messages_max_(messages_max),
      message_bytes_max_(message_bytes_max),
      headers_(new mmsghdr[messages_max]),
      slots_(new Slot[messages_max]),
      // Not value-initialized: pages that are never used take no memory.
      buffer_(new uint8_t[messages_max * message_bytes_max]) {}

DatagramReceiver::~DatagramReceiver() = default;

bool DatagramReceiver::Receive(int fd, DatagramBatch& batch) {
  for (size_t i = 0; i < messages_max_; ++i) {
    Slot& slot = slots_[i];
    slot.part = {&buffer_[i * message_bytes_max_], message_bytes_max_};
    msghdr& header = headers_[i].msg_hdr;
    header.msg_name = &slot.address;
    header.msg_namelen = sizeof(slot.address);
    header.msg_iov = &slot.part;
    header.msg_iovlen = 1;
    header.msg_control = slot.control;
    header.msg_controllen = kReceiveControlBytes;
    header.msg_flags = 0;
  }
  int count = -1;
  for (int tries = 0; count < 0 && tries <= kPendingErrorsMax; ++tries) {
    count = recvmmsg(fd, headers_.get(), static_cast<unsigned>(messages_max_), MSG_DONTWAIT,
                     nullptr);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  }
  for (int i = 0; i < count; ++i) {
    const size_t size = headers_[i].msg_len;
    if (size == 0) continue;
    bytes_ += size;
    DatagramRun run;
    run.peer = EndpointFromKernel(slots_[i].address);
    run.bytes = {&buffer_[static_cast<size_t>(i) * message_bytes_max_], size};
    run.segment_size = static_cast<uint32_t>(size);
    ReadControl(headers_[i].msg_hdr, run);
    saw_train_ = saw_train_ || run.segment_size < size;
    batch.Add(run);
  }
  return count > 0;
}

}  // namespace im::tunnel
