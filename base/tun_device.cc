#include "base/tun_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_header.h"
#include "base/segment_split.h"
#include "base/vnet_header.h"

namespace im {
namespace {

// Newer than the oldest kernel headers that we build with.
constexpr unsigned kTunUso4 = 0x20;
constexpr unsigned kTunUso6 = 0x40;

constexpr unsigned kTsoOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

// Where the packet's own TCP or UDP header begins, for the common shapes; 0
// for others.
size_t TransportOffset(std::span<const uint8_t> packet, uint16_t checksum_offset) {
  const uint8_t protocol = checksum_offset == kTcpChecksumOffset   ? kProtocolTcp
                           : checksum_offset == kUdpChecksumOffset ? kProtocolUdp
                                                                   : 0;
  if (protocol == 0 || packet.size() < 40) return 0;
  if (packet[0] >> 4 == 4 && packet[9] == protocol) return (packet[0] & 0x0f) * size_t{4};
  if (packet[0] >> 4 == 6 && packet[6] == protocol) return 40;
  const std::optional<IpView> view = ParseIp(packet);
  return view && view->protocol == protocol ? view->transport_offset : 0;
}

// Reads what the kernel says about `packet` into it. False if it makes no
// sense.
bool ApplyVnetHeader(const VnetHeader& header, Packet& packet) {
  const bool partial = (header.flags & VnetHeader::kNeedsChecksum) != 0;
  const bool super_packet = header.gso_type != VnetHeader::kGsoNone;
  packet.checksum_valid = (header.flags & VnetHeader::kDataValid) != 0 || partial;
  if (partial) {
    const size_t start = header.checksum_start;
    const size_t field = start + header.checksum_offset;
    if (field + 2 > packet.size) return false;
    if (TransportOffset(packet.bytes(), header.checksum_offset) == start) {
      packet.checksum_partial = true;
    } else if (super_packet) {
      return false;  // of a tunnel's inner packet: not asked for, cannot be cut
    } else {
      const uint16_t checksum =
          static_cast<uint16_t>(~FoldSum(SumBytes(packet.bytes().subspan(start))));
      StoreBig16(packet.data + field, checksum == 0 ? 0xffff : checksum);
    }
  }
  switch (header.gso_type & ~VnetHeader::kGsoEcn) {
    case VnetHeader::kGsoNone:
      return true;
    case VnetHeader::kGsoTcpV4:
    case VnetHeader::kGsoTcpV6:
    case VnetHeader::kGsoUdpL4:
      packet.segment_size = header.segment_size;
      return header.segment_size != 0;
    default:
      return false;
  }
}

DropReason ReasonOf(int error) {
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return DropReason::kQueueFull;
    case EINVAL:
      return DropReason::kMalformed;
    default:
      return DropReason::kSendFailed;  // the link is down or gone
  }
}

// Packets that wait in the device until we read them. The kernel gives a new
// device 500, and drops what comes beyond: 128 flows at full speed lost 250
// super-packets a second by it. With twice as many, as Ethernet has it, they
// lose next to none.
constexpr int kKernelQueuePackets = 500;
constexpr int kQueuePackets = 1000;

// Only of a device as the kernel makes it: somebody may have set another
// length. Not to be allowed to is no failure.
void LengthenQueue(const std::string& name) {
  const FileDescriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (!any.valid() || ioctl(any.get(), SIOCGIFTXQLEN, &request) != 0) return;
  if (request.ifr_qlen != kKernelQueuePackets) return;
  request.ifr_qlen = kQueuePackets;
  static_cast<void>(ioctl(any.get(), SIOCSIFTXQLEN, &request));
}

absl::StatusOr<FileDescriptor> OpenTun(const std::string& name, short flags,
                                       std::string& name_out) {
  FileDescriptor fd(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("open /dev/net/tun");
  ifreq request = {};
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = flags;
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    return ErrnoStatus(absl::StrCat("make TUN device ", name));
  }
  name_out = request.ifr_name;
  LengthenQueue(name_out);
  return fd;
}

}  // namespace

absl::StatusOr<TunDevice> TunDevice::Create(const Options& options) {
  if (options.name.empty() || options.name.size() >= IFNAMSIZ) {
    return absl::InvalidArgumentError(absl::StrCat(
        "make TUN device: name \"", options.name, "\" is not 1 to ", IFNAMSIZ - 1, " bytes long"));
  }
  std::string name;
  if (options.offload) {
    absl::StatusOr<FileDescriptor> fd =
        OpenTun(options.name, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, name);
    if (!fd.ok() && !absl::IsInvalidArgument(fd.status())) return fd.status();
    if (fd.ok()) {
      absl::StatusOr<TunDevice> device = Adopt(*std::move(fd), options);
      if (device.ok() && device->offload()) return device;
      // Refused: the device goes with its descriptor, and is made anew below.
    }
  }
  IM_ASSIGN_OR_RETURN(FileDescriptor fd, OpenTun(options.name, IFF_TUN | IFF_NO_PI, name));
  Options plain = options;
  plain.offload = false;
  return Adopt(std::move(fd), plain);
}

absl::StatusOr<TunDevice> TunDevice::Adopt(FileDescriptor fd, const Options& options) {
  ifreq request = {};
  if (ioctl(fd.get(), TUNGETIFF, &request) != 0) return ErrnoStatus("adopt TUN device");
  const unsigned flags = static_cast<unsigned short>(request.ifr_flags);
  if ((flags & IFF_TUN) == 0 || (flags & IFF_NO_PI) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("adopt TUN device ", request.ifr_name, ": needs IFF_TUN and IFF_NO_PI"));
  }
  IM_RETURN_IF_ERROR(fd.SetNonBlocking());
  TunDevice device;
  device.name_ = request.ifr_name;
  device.offload_ = (flags & IFF_VNET_HDR) != 0;
  if (device.offload_) {
    int header_bytes = kVnetHeaderBytes;
    if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0) {
      return ErrnoStatus(absl::StrCat("set header size of TUN device ", device.name_));
    }
    const unsigned wanted = options.offload ? kTsoOffloads : 0;
    if (options.offload &&
        ioctl(fd.get(), TUNSETOFFLOAD, wanted | kTunUso4 | kTunUso6) == 0) {
      device.udp_offload_ = true;
    } else if (ioctl(fd.get(), TUNSETOFFLOAD, wanted) != 0) {
      return ErrnoStatus(absl::StrCat("set offloads of TUN device ", device.name_));
    }
  }
  device.fd_ = std::move(fd);
  return device;
}

absl::StatusOr<FileDescriptor> TunDevice::NetworkNamespace() const {
  FileDescriptor name_space(ioctl(fd_.get(), TUNGETDEVNETNS));
  if (!name_space.valid()) {
    return ErrnoStatus(absl::StrCat("find the network namespace of TUN device ", name_));
  }
  return name_space;
}

absl::StatusOr<std::string> TunDevice::CurrentName() const {
  ifreq request = {};
  if (ioctl(fd_.get(), TUNGETIFF, &request) != 0) {
    return ErrnoStatus(absl::StrCat("ask for the name of TUN device ", name_));
  }
  return std::string(request.ifr_name);
}

absl::Status TunDevice::Read(PacketBatch& batch, int packets_max) {
  for (int i = 0; i < packets_max; ++i) {
    Packet& packet = batch.Append(kPacketBytesMax);
    VnetHeader header = {};
    iovec parts[2] = {{&header, kVnetHeaderBytes}, {packet.data, packet.size}};
    const int skip = offload_ ? 0 : 1;
    ssize_t size;
    do {
      size = readv(fd_.get(), parts + skip, 2 - skip);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
      const int error = errno;
      batch.DropLast();
      if (error == EAGAIN || error == EWOULDBLOCK) return absl::OkStatus();
      return ErrnoStatus(absl::StrCat("read from TUN device ", name_), error);
    }
    const size_t header_bytes = offload_ ? kVnetHeaderBytes : 0;
    if (static_cast<size_t>(size) <= header_bytes) {
      batch.DropLast();
      continue;
    }
    batch.ShrinkLast(static_cast<size_t>(size) - header_bytes);
    if (offload_ && !ApplyVnetHeader(header, batch[batch.size() - 1])) batch.DropLast();
  }
  return absl::OkStatus();
}

bool TunDevice::WriteOne(std::span<const uint8_t> header, std::span<const uint8_t> packet) {
  iovec parts[2] = {{const_cast<uint8_t*>(header.data()), header.size()},
                    {const_cast<uint8_t*>(packet.data()), packet.size()}};
  const int skip = header.empty() ? 1 : 0;
  ssize_t size;
  do {
    size = writev(fd_.get(), parts + skip, 2 - skip);
  } while (size < 0 && errno == EINTR);
  return size >= 0;
}

// What the kernel does not cut or complete for us.
void TunDevice::WriteCut(const Packet& packet, DropCounters& drops) {
  const SegmentSplitter splitter(packet);
  if (!splitter.valid()) return drops.Add(DropReason::kMalformed);
  const VnetHeader header = {};
  const std::span<const uint8_t> header_bytes(reinterpret_cast<const uint8_t*>(&header),
                                              offload_ ? kVnetHeaderBytes : 0);
  std::vector<uint8_t> segment(splitter.size_max());
  for (size_t i = 0; i < splitter.count(); ++i) {
    const std::span<uint8_t> bytes = std::span(segment).first(splitter.size(i));
    splitter.Write(i, bytes);
    if (!WriteOne(header_bytes, bytes)) drops.Add(ReasonOf(errno));
  }
}

void TunDevice::WriteOffloaded(Packet& packet, DropCounters& drops) {
  VnetHeader header = {};
  if (packet.segment_size != 0 || packet.checksum_partial) {
    const std::optional<IpView> view = ParseIp(packet.bytes());
    if (!view || view->fragment || !(view->is_tcp() || view->is_udp())) {
      return drops.Add(DropReason::kMalformed);
    }
    const bool super_packet =
        packet.segment_size != 0 && view->payload_size() > packet.segment_size;
    if (super_packet && view->is_udp() && !udp_offload_) return WriteCut(packet, drops);
    const uint16_t checksum_offset = view->is_tcp() ? kTcpChecksumOffset : kUdpChecksumOffset;
    if (super_packet && !packet.checksum_partial) {
      // The kernel cuts only what it also completes.
      const uint64_t sum = PseudoHeaderSum(view->source, view->destination, view->protocol,
                                           view->total_size - view->transport_offset);
      StoreBig16(packet.data + view->transport_offset + checksum_offset, FoldSum(sum));
      packet.checksum_partial = true;
    }
    if (packet.checksum_partial) {
      header.flags = VnetHeader::kNeedsChecksum;
      header.checksum_start = view->transport_offset;
      header.checksum_offset = checksum_offset;
    }
    if (super_packet) {
      header.gso_type = view->is_udp() ? VnetHeader::kGsoUdpL4
                        : view->v6     ? VnetHeader::kGsoTcpV6
                                       : VnetHeader::kGsoTcpV4;
      if (view->is_tcp() && (view->tcp_flags & kTcpCwr) != 0) {
        header.gso_type |= VnetHeader::kGsoEcn;
      }
      header.segment_size = packet.segment_size;
      header.header_size = view->payload_offset;
    }
  }
  const std::span<const uint8_t> header_bytes(reinterpret_cast<const uint8_t*>(&header),
                                              kVnetHeaderBytes);
  if (!WriteOne(header_bytes, packet.bytes())) drops.Add(ReasonOf(errno));
}

void TunDevice::Write(PacketBatch& batch, DropCounters& drops) {
  for (Packet& packet : batch) {
    if (offload_) {
      WriteOffloaded(packet, drops);
    } else if (packet.segment_size != 0 || packet.checksum_partial) {
      WriteCut(packet, drops);
    } else if (!WriteOne({}, packet.bytes())) {
      drops.Add(ReasonOf(errno));
    }
  }
}

}  // namespace im
