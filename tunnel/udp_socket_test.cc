// On loopback.

#include "tunnel/udp_socket.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace im::tunnel {
namespace {

constexpr int kDeadlineMs = 5'000;
// That of data; whatever else is sorted elsewhere.
constexpr uint8_t kFirstByte = 4;

std::unique_ptr<UdpSocket> Open(const Endpoint& listen, DropCounters& drops) {
  UdpSocket::Options options;
  options.listen = listen;
  absl::StatusOr<std::unique_ptr<UdpSocket>> socket = UdpSocket::Open(options, drops);
  EXPECT_TRUE(socket.ok()) << socket.status();
  return socket.ok() ? *std::move(socket) : nullptr;
}

Endpoint Loopback(uint16_t port = 0) { return {IpAddress::V4(0x7f000001), port}; }
Endpoint Loopback6(uint16_t port = 0) { return {*IpAddress::Parse("::1"), port}; }

struct Datagram {
  Endpoint peer;
  IpAddress local;
  uint8_t ecn;
  std::vector<uint8_t> bytes;
  bool operator==(const Datagram&) const = default;
};

// The datagrams of all runs until there are `count`.
std::vector<Datagram> ReceiveDatagrams(UdpSocket& socket, size_t count) {
  std::vector<Datagram> out;
  DatagramBatch batch;
  while (out.size() < count) {
    pollfd poll_fds[] = {{socket.fd(), POLLIN, 0}, {socket.handshakes()->fd(), POLLIN, 0}};
    if (poll(poll_fds, 2, kDeadlineMs) < 1) break;
    if (poll_fds[0].revents != 0) {
      socket.Receive(batch);
    } else {
      socket.handshakes()->Receive(batch);
    }
    for (const DatagramRun& run : batch.runs()) {
      for (size_t offset = 0; offset < run.bytes.size(); offset += run.segment_size) {
        const auto part =
            run.bytes.subspan(offset, std::min<size_t>(run.segment_size, run.bytes.size() - offset));
        out.push_back({run.peer, run.local, run.ecn, {part.begin(), part.end()}});
      }
    }
    batch.Clear();
  }
  return out;
}

DatagramBatch OneRun(const Endpoint& peer, size_t size, uint32_t segment_size, uint8_t ecn = 0) {
  DatagramBatch batch;
  DatagramRun run;
  run.peer = peer;
  run.segment_size = segment_size;
  run.ecn = ecn;
  run.bytes = batch.Allocate(size);
  std::iota(run.bytes.begin(), run.bytes.end(), kFirstByte);
  batch.Add(run);
  return batch;
}

void ExpectExchange(const Endpoint& listen, const Endpoint& from) {
  DropCounters drops;
  std::unique_ptr<UdpSocket> receiver = Open(listen, drops);
  std::unique_ptr<UdpSocket> sender = Open(from, drops);
  ASSERT_TRUE(receiver && sender);
  const Endpoint to = {from.address, receiver->local_endpoint().port};
  const Endpoint sender_seen = {from.address, sender->local_endpoint().port};
  DatagramBatch batch = OneRun(to, 3500, 1000, /*ecn=*/1);
  sender->Send(batch);
  const std::vector<Datagram> got = ReceiveDatagrams(*receiver, 4);
  ASSERT_EQ(got.size(), 4u);
  uint8_t next = kFirstByte;
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].bytes.size(), i < 3 ? 1000u : 500u);
    EXPECT_EQ(got[i].peer, sender_seen) << got[i].peer.ToString();
    EXPECT_EQ(got[i].local, to.address) << got[i].local.ToString();
    EXPECT_EQ(got[i].ecn, 1);
    for (const uint8_t byte : got[i].bytes) ASSERT_EQ(byte, next++);
  }
  EXPECT_EQ(receiver->received_bytes(), 3500u);
  EXPECT_EQ(sender->sent_bytes(), 3500u);
  EXPECT_EQ(drops.total(), 0u);

  // The answer leaves from the address that was asked.
  DatagramBatch answer = OneRun(got[0].peer, 10, 10);
  answer.runs()[0].local = got[0].local;
  receiver->Send(answer);
  const std::vector<Datagram> answers = ReceiveDatagrams(*sender, 1);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].peer, to);
}

TEST(UdpSocketTest, Ipv4) { ExpectExchange(Loopback(), Loopback()); }
TEST(UdpSocketTest, Ipv6) { ExpectExchange(Loopback6(), Loopback6()); }
TEST(UdpSocketTest, AnUnspecifiedAddressTakesIpv4) { ExpectExchange(Endpoint{}, Loopback()); }
TEST(UdpSocketTest, AnUnspecifiedAddressTakesIpv6) { ExpectExchange(Endpoint{}, Loopback6()); }

TEST(UdpSocketTest, ASecondAddressAnswersAsItself) {
  DropCounters drops;
  std::unique_ptr<UdpSocket> receiver = Open(Endpoint{}, drops);
  std::unique_ptr<UdpSocket> sender = Open(Loopback(), drops);
  const Endpoint second = {IpAddress::V4(0x7f000002), receiver->local_endpoint().port};
  DatagramBatch batch = OneRun(second, 10, 10);
  sender->Send(batch);
  const std::vector<Datagram> got = ReceiveDatagrams(*receiver, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].local, second.address);
  DatagramBatch answer = OneRun(got[0].peer, 10, 10);
  answer.runs()[0].local = got[0].local;
  receiver->Send(answer);
  const std::vector<Datagram> answers = ReceiveDatagrams(*sender, 1);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].peer, second);
}

TEST(UdpSocketTest, ALargestProbePassesAndLeavesTheSocketAsItWas) {
  DropCounters drops;
  const auto mode = [](const UdpSocket& socket) {
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(socket.fd(), IPPROTO_IP, IP_MTU_DISCOVER, &value, &size), 0);
    return value;
  };
  std::unique_ptr<UdpSocket> receiver = Open(Loopback(), drops);
  for (const Endpoint& listen : {Endpoint{}, Loopback()}) {
    std::unique_ptr<UdpSocket> sender = Open(listen, drops);
    const int before = mode(*sender);
    EXPECT_EQ(before, IP_PMTUDISC_OMIT) << "routers may make fragments of data";
    DatagramBatch batch = OneRun(receiver->local_endpoint(), kGsoBytesMax, kGsoBytesMax);
    batch.runs()[0].probe = 1;
    sender->Send(batch);
    EXPECT_EQ(ReceiveDatagrams(*receiver, 1).size(), 1u);
    EXPECT_TRUE(sender->TakeRefusedProbes().empty());
    EXPECT_EQ(mode(*sender), before);
  }
}

TEST(UdpSocketTest, TheFwmarkIsSetAtOpeningAndLater) {
  DropCounters drops;
  UdpSocket::Options options;
  options.listen = Loopback();
  options.fwmark = 0x51820;
  const auto socket = UdpSocket::Open(options, drops);
  if (absl::IsPermissionDenied(socket.status())) GTEST_SKIP() << "needs CAP_NET_ADMIN";
  ASSERT_TRUE(socket.ok()) << socket.status();
  const auto mark = [&] {
    uint32_t value = 0;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt((*socket)->fd(), SOL_SOCKET, SO_MARK, &value, &size), 0);
    return value;
  };
  EXPECT_EQ(mark(), 0x51820u);
  ASSERT_TRUE((*socket)->SetFwmark(7).ok());
  EXPECT_EQ(mark(), 7u);
}

TEST(UdpSocketTest, ABufferThatTheKernelKeepsSmallIsSaidSo) {
  constexpr int kMoreThanAnyLimit = 1 << 30;
  const auto open = [](bool privileged) {
    DropCounters drops;
    UdpSocket::Options options;
    options.listen = Loopback();
    options.buffer_bytes = privileged ? 1 << 20 : kMoreThanAnyLimit;
    testing::internal::CaptureStderr();
    EXPECT_TRUE(UdpSocket::Open(options, drops).ok());
    return testing::internal::GetCapturedStderr();
  };
  std::string said;
  // Capabilities are the thread's.
  std::thread([&] {
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    ASSERT_EQ(syscall(SYS_capset, &header, none), 0);
    said = open(false);
  }).join();
  EXPECT_NE(said.find("receive buffer"), said.npos) << said;
  EXPECT_NE(said.find("net.core.rmem_max"), said.npos) << said;
  EXPECT_NE(said.find("net.core.wmem_max"), said.npos) << said;
  if (geteuid() == 0) {
    EXPECT_EQ(open(true).find("rmem_max"), std::string::npos);
  }
}

TEST(UdpSocketTest, APortInUseIsSaidSo) {
  DropCounters drops;
  std::unique_ptr<UdpSocket> first = Open(Loopback(), drops);
  UdpSocket::Options options;
  options.listen = first->local_endpoint();
  EXPECT_TRUE(absl::IsAlreadyExists(UdpSocket::Open(options, drops).status()));
  options.listen.address = IpAddress();  // any address, the same port
  EXPECT_TRUE(absl::IsAlreadyExists(UdpSocket::Open(options, drops).status()));
}

TEST(UdpSocketTest, AnAddressThatIsNotOursIsRefused) {
  DropCounters drops;
  UdpSocket::Options options;
  options.listen = {IpAddress::V4(0xc0000201), 0};
  EXPECT_FALSE(UdpSocket::Open(options, drops).ok());
}

TEST(UdpSocketTest, APeerThatIsGoneDoesNotEndReceiving) {
  DropCounters drops;
  std::unique_ptr<UdpSocket> socket = Open(Loopback(), drops);
  Endpoint gone;
  {
    std::unique_ptr<UdpSocket> other = Open(Loopback(), drops);
    gone = other->local_endpoint();
  }
  for (int i = 0; i < 20; ++i) {
    DatagramBatch batch = OneRun(gone, 10, 10);
    socket->Send(batch);
  }
  std::unique_ptr<UdpSocket> other = Open(Loopback(), drops);
  DatagramBatch batch = OneRun(socket->local_endpoint(), 10, 10);
  other->Send(batch);
  EXPECT_EQ(ReceiveDatagrams(*socket, 1).size(), 1u);
}

TEST(UdpSocketTest, TheLargestDatagramArrivesWhole) {
  DropCounters drops;
  std::unique_ptr<UdpSocket> receiver = Open(Loopback(), drops);
  std::unique_ptr<UdpSocket> sender = Open(Loopback(), drops);
  DatagramBatch batch = OneRun(receiver->local_endpoint(), kGsoBytesMax, kGsoBytesMax);
  sender->Send(batch);
  const std::vector<Datagram> got = ReceiveDatagrams(*receiver, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].bytes.size(), kGsoBytesMax);
}

TEST(UdpSocketTest, AnEmptyDatagramIsNoRun) {
  DropCounters drops;
  std::unique_ptr<UdpSocket> receiver = Open(Loopback(), drops);
  std::unique_ptr<UdpSocket> sender = Open(Loopback(), drops);
  sockaddr_storage address;
  const socklen_t size = receiver->local_endpoint().ToSockaddr(address);
  ASSERT_EQ(sendto(sender->fd(), nullptr, 0, 0, reinterpret_cast<sockaddr*>(&address), size), 0);
  DatagramBatch batch = OneRun(receiver->local_endpoint(), 10, 10);
  sender->Send(batch);
  const std::vector<Datagram> got = ReceiveDatagrams(*receiver, 1);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].bytes.size(), 10u);
}

TEST(UdpSocketTest, APortIsTakenForOthersLikeUs) {
  DropCounters drops;
  const auto socket = Open(Loopback(), drops);
  ASSERT_TRUE(socket);
  UdpSocket::Options options;
  options.listen = socket->local_endpoint();
  EXPECT_TRUE(absl::IsAlreadyExists(UdpSocket::Open(options, drops).status()));
}

}  // namespace
}  // namespace im::tunnel
