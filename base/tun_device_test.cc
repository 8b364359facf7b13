// Against the kernel, each test in a network namespace of its own. Skipped
// where that is not permitted.

#include "base/tun_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/ip_header.h"
#include "base/netlink.h"
#include "base/test_namespace.h"
#include "base/segment_split.h"
#include "gtest/gtest.h"

namespace im {
namespace {

#ifndef UDP_SEGMENT
constexpr int UDP_SEGMENT = 103;
#endif

constexpr int kDeadlineMs = 5'000;
const IpAddress kOurs = IpAddress::V4(0x0a4d0002);   // 10.77.0.2
const IpAddress kTheirs = IpAddress::V4(0x0a4d0003);

std::vector<uint8_t> Counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

bool Readable(int fd) {
  pollfd poll_fd = {fd, POLLIN, 0};
  return poll(&poll_fd, 1, kDeadlineMs) == 1;
}

absl::StatusOr<TunDevice> MakeUp(bool offload) {
  IM_ASSIGN_OR_RETURN(TunDevice device, TunDevice::Create({.name = "im%d", .offload = offload}));
  IM_RETURN_IF_ERROR(SetLinkMtu(device.name(), 1420));
  IM_RETURN_IF_ERROR(AddAddress(device.name(), kOurs, 16));
  IM_RETURN_IF_ERROR(SetLinkUp(device.name()));
  return device;
}

FileDescriptor BoundUdpSocket(const Endpoint& local) {
  FileDescriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address;
  const socklen_t size = local.ToSockaddr(address);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  return fd;
}

class TunDeviceTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Offload, TunDeviceTest, testing::Bool(), [](const auto& param_info) {
  return param_info.param ? "On" : "Off";
});

int QueuePackets(const std::string& name) {
  const FileDescriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return ioctl(any.get(), SIOCGIFTXQLEN, &request) == 0 ? request.ifr_qlen : -1;
}

TEST_P(TunDeviceTest, HasAQueueForManyFlows) {
  InNamespace([] {
    const absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ(QueuePackets(device->name()), 1000);
  });
}

TEST_P(TunDeviceTest, AQueueThatSomebodyHasSetIsLeftAlone) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    const int on = 1;
    ASSERT_EQ(ioctl(device->fd(), TUNSETPERSIST, on), 0);
    const FileDescriptor any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request = {};
    device->name().copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_qlen = 64;
    ASSERT_EQ(ioctl(any.get(), SIOCSIFTXQLEN, &request), 0);
    const std::string name = device->name();
    device->ReleaseFd().Reset();
    const auto again = TunDevice::Create({.name = name, .offload = GetParam()});
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(QueuePackets(name), 64);
  });
}

TEST_P(TunDeviceTest, CarriesWhatTheKernelSends) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ(device->name(), "im0");
    EXPECT_EQ(device->offload(), GetParam());

    // A train of datagrams in one send: one super-packet, or several packets.
    FileDescriptor sender = BoundUdpSocket({kOurs, 5000});
    const int segment_size = 1000;
    ASSERT_EQ(setsockopt(sender.get(), IPPROTO_UDP, UDP_SEGMENT, &segment_size,
                         sizeof(segment_size)),
              0);
    const std::vector<uint8_t> payload = Counting(3500);
    sockaddr_storage to;
    const socklen_t to_size = Endpoint{kTheirs, 80}.ToSockaddr(to);
    ASSERT_EQ(sendto(sender.get(), payload.data(), payload.size(), 0,
                     reinterpret_cast<sockaddr*>(&to), to_size),
              static_cast<ssize_t>(payload.size()));

    std::vector<uint8_t> received;
    std::vector<size_t> sizes;
    while (received.size() < payload.size()) {
      ASSERT_TRUE(Readable(device->fd()));
      PacketBatch batch;
      ASSERT_TRUE(device->Read(batch, 64).ok());
      for (const Packet& packet : batch) {
        const SegmentSplitter splitter(packet);
        for (size_t i = 0; i < splitter.count(); ++i) {
          std::vector<uint8_t> segment(splitter.size(i));
          splitter.Write(i, segment);
          const std::optional<IpView> view = ParseIp(segment);
          ASSERT_TRUE(view);
          if (!view->is_udp()) continue;  // the kernel's own multicast
          EXPECT_TRUE(TransportChecksumIsRight(segment, *view));
          received.insert(received.end(), segment.begin() + view->payload_offset, segment.end());
          sizes.push_back(view->payload_size());
        }
      }
    }
    EXPECT_EQ(received, payload);
    EXPECT_EQ(sizes, (std::vector<size_t>{1000, 1000, 1000, 500}));
  });
}

void ExpectDelivered(TunDevice& device, bool checksum_complete) {
  FileDescriptor receiver = BoundUdpSocket({kOurs, 80});
  const std::vector<uint8_t> payload = Counting(3500);
  PacketBatch batch;
  Packet& packet = batch.AppendCopy(BuildUdp({kTheirs, 5000}, {kOurs, 80}, payload));
  packet.segment_size = 1000;
  if (!checksum_complete) {
    const std::optional<IpView> view = ParseIp(packet.bytes());
    const uint16_t sum = FoldSum(
        PseudoHeaderSum(view->source, view->destination, kProtocolUdp, packet.size - 20));
    packet.data[26] = static_cast<uint8_t>(sum >> 8);
    packet.data[27] = static_cast<uint8_t>(sum);
    packet.checksum_partial = true;
  }
  DropCounters drops;
  device.Write(batch, drops);
  EXPECT_EQ(drops.total(), 0u);
  size_t offset = 0;
  for (const size_t size : {1000, 1000, 1000, 500}) {
    ASSERT_TRUE(Readable(receiver.get()));
    std::vector<uint8_t> datagram(2000);
    const ssize_t got = recv(receiver.get(), datagram.data(), datagram.size(), 0);
    ASSERT_EQ(got, static_cast<ssize_t>(size));
    EXPECT_EQ(datagram[0], payload[offset]);
    offset += size;
  }
}

TEST_P(TunDeviceTest, TheKernelTakesSuperPackets) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    ExpectDelivered(*device, /*checksum_complete=*/true);
    ExpectDelivered(*device, /*checksum_complete=*/false);
  });
}

TEST_P(TunDeviceTest, TheKernelTakesAPlainPacket) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    FileDescriptor receiver = BoundUdpSocket({kOurs, 80});
    PacketBatch batch;
    batch.AppendCopy(BuildUdp({kTheirs, 5000}, {kOurs, 80}, Counting(10)));
    DropCounters drops;
    device->Write(batch, drops);
    EXPECT_EQ(drops.total(), 0u);
    EXPECT_TRUE(Readable(receiver.get()));
  });
}

TEST_P(TunDeviceTest, NonsenseIsCountedAndNothingElse) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    PacketBatch batch;
    batch.AppendCopy(Counting(1)).segment_size = 5;
    batch.AppendCopy(std::vector<uint8_t>(60, 0x11));  // IP version 1
    DropCounters drops;
    device->Write(batch, drops);
    EXPECT_EQ(drops[DropReason::kMalformed], 2u);
  });
}

TEST_P(TunDeviceTest, ReadOfAnIdleDeviceGivesNothing) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = TunDevice::Create({.name = "im0", .offload = GetParam()});
    ASSERT_TRUE(device.ok()) << device.status();
    PacketBatch batch;
    EXPECT_TRUE(device->Read(batch, 4).ok());
    EXPECT_TRUE(batch.empty());
    // Down: what is written is refused and counted.
    batch.AppendCopy(BuildUdp({kTheirs, 5000}, {kOurs, 80}, {}));
    DropCounters drops;
    device->Write(batch, drops);
    EXPECT_EQ(drops[DropReason::kSendFailed], 1u);
  });
}

TEST_P(TunDeviceTest, ADescriptorCanBeHandedOver) {
  InNamespace([] {
    absl::StatusOr<TunDevice> device = MakeUp(GetParam());
    ASSERT_TRUE(device.ok()) << device.status();
    absl::StatusOr<TunDevice> adopted = TunDevice::Adopt(device->ReleaseFd(), {});
    ASSERT_TRUE(adopted.ok()) << adopted.status();
    EXPECT_EQ(adopted->name(), "im0");
    EXPECT_EQ(adopted->offload(), GetParam());
    ExpectDelivered(*adopted, true);
  });
}

TEST(TunDeviceNameTest, IsChecked) {
  EXPECT_TRUE(absl::IsInvalidArgument(TunDevice::Create({.name = ""}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TunDevice::Create({.name = "sixteen-bytes-ab"}).status()));
}

TEST(TunDeviceAdoptTest, RefusesWhatIsNoTun) {
  FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(TunDevice::Adopt(std::move(null), {}).ok());
}

}  // namespace
}  // namespace im
