#include "tunnel/gso_batch_writer.h"

#include <errno.h>
#include <netinet/udp.h>

#include <deque>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace im::tunnel {
namespace {

struct Sent {
  Endpoint peer;
  int family = 0;
  std::string bytes;
  int segment_size = 0;  // of UDP_SEGMENT; 0: none
  std::optional<IpAddress> local;
  int traffic_class = 0;
};

Sent Decode(const msghdr& header) {
  Sent sent;
  sockaddr_storage address = {};
  std::memcpy(&address, header.msg_name, header.msg_namelen);
  sent.family = address.ss_family;
  if (sent.family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof(v6));
    sent.peer = {IpAddress::FromBytes({v6.sin6_addr.s6_addr, 16}), ntohs(v6.sin6_port)};
  } else {
    sent.peer = Endpoint::FromSockaddr(address);
  }
  sent.bytes.assign(static_cast<const char*>(header.msg_iov->iov_base), header.msg_iov->iov_len);
  msghdr copy = header;
  for (cmsghdr* c = CMSG_FIRSTHDR(&copy); c != nullptr; c = CMSG_NXTHDR(&copy, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT) {
      uint16_t size;
      std::memcpy(&size, CMSG_DATA(c), sizeof(size));
      sent.segment_size = size;
    } else if (c->cmsg_type == IPV6_PKTINFO && c->cmsg_level == IPPROTO_IPV6) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      sent.local = IpAddress::FromBytes({info.ipi6_addr.s6_addr, 16});
    } else if (c->cmsg_type == IP_PKTINFO && c->cmsg_level == IPPROTO_IP) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      sent.local = IpAddress::V4(ntohl(info.ipi_spec_dst.s_addr));
    } else {
      std::memcpy(&sent.traffic_class, CMSG_DATA(c), sizeof(int));
    }
  }
  return sent;
}

// Takes messages until `verdict` says an errno about one.
class FakeSender final : public GsoBatchWriter::Sender {
 public:
  int Send(mmsghdr* messages, unsigned count) override {
    ++calls;
    for (unsigned i = 0; i < count; ++i) {
      const Sent message = Decode(messages[i].msg_hdr);
      if (const int error = verdict(message); error != 0) {
        if (i > 0) return static_cast<int>(i);
        refused.push_back(message);
        errno = error;
        return -1;
      }
      sent.push_back(message);
    }
    return static_cast<int>(count);
  }

  bool CanSendTrains() override {
    ++asked;
    return trains;
  }

  int SendUnfragmented(mmsghdr* message) override {
    ++unfragmented;
    return Send(message, 1);
  }

  bool trains = true;
  int asked = 0;

  std::function<int(const Sent&)> verdict = [](const Sent&) { return 0; };
  std::vector<Sent> sent;
  std::vector<Sent> refused;
  int calls = 0;
  int unfragmented = 0;
};

Endpoint Peer(uint16_t port) { return {IpAddress::V4(0xc0000201), port}; }  // 192.0.2.1

class GsoBatchWriterTest : public testing::Test {
 protected:
  void AddRun(const Endpoint& peer, size_t size, uint32_t segment_size,
              const IpAddress& local = IpAddress()) {
    DatagramRun run;
    run.peer = peer;
    run.local = local;
    run.segment_size = segment_size;
    run.bytes = batch_.Allocate(size);
    std::iota(run.bytes.begin(), run.bytes.end(), uint8_t{0});
    batch_.Add(run);
  }

  size_t SentBytes() const {
    size_t bytes = 0;
    for (const Sent& message : sender_.sent) bytes += message.bytes.size();
    return bytes;
  }

  FakeSender sender_;
  DropCounters drops_;
  GsoBatchWriter writer_{sender_, /*v6_socket=*/true, drops_};
  DatagramBatch batch_;
};

TEST_F(GsoBatchWriterTest, ATrainIsOneMessageAndManyAreOneCall) {
  AddRun(Peer(1), 2500, 1000);
  AddRun(Peer(2), 700, 700);
  writer_.Write(batch_);
  EXPECT_TRUE(batch_.empty());
  EXPECT_EQ(sender_.calls, 1);
  ASSERT_EQ(sender_.sent.size(), 2u);
  EXPECT_EQ(sender_.sent[0].segment_size, 1000);
  EXPECT_EQ(sender_.sent[0].bytes.size(), 2500u);
  EXPECT_EQ(sender_.sent[0].peer, Peer(1));
  EXPECT_EQ(sender_.sent[0].family, AF_INET6);  // v4-mapped
  EXPECT_EQ(sender_.sent[1].segment_size, 0);   // a single datagram needs no cutting
  EXPECT_EQ(writer_.sent_bytes(), 3200u);
  EXPECT_EQ(drops_.total(), 0u);
}

TEST_F(GsoBatchWriterTest, WhereTrainsDoNotWorkDatagramsGoOneByOne) {
  sender_.trains = false;
  AddRun(Peer(1), 700, 700);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.asked, 0) << "a test that a quiet instance does not need";
  for (int i = 0; i < 2; ++i) {
    AddRun(Peer(1), 2500, 1000);
    writer_.Write(batch_);
  }
  EXPECT_EQ(sender_.asked, 1);
  EXPECT_FALSE(writer_.gso());
  ASSERT_EQ(sender_.sent.size(), 7u);
  for (const Sent& message : sender_.sent) EXPECT_EQ(message.segment_size, 0);
  EXPECT_EQ(SentBytes(), 5700u);
}

TEST_F(GsoBatchWriterTest, ALongRunIsCutToTheKernelsLimits) {
  AddRun(Peer(1), 100 * 100, 100);     // more than 64 segments
  AddRun(Peer(2), 3 * 30'000, 30'000); // more than 65,507 bytes
  writer_.Write(batch_);
  std::vector<size_t> sizes;
  for (const Sent& message : sender_.sent) sizes.push_back(message.bytes.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{6400, 3600, 60'000, 30'000}));
}

TEST_F(GsoBatchWriterTest, ManyRunsTakeSeveralCalls) {
  for (uint16_t i = 0; i < 2 * kMessagesPerSend + 1; ++i) AddRun(Peer(i), 10, 10);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.calls, 3);
  ASSERT_EQ(sender_.sent.size(), 2 * kMessagesPerSend + 1);
  for (size_t i = 0; i < sender_.sent.size(); ++i) EXPECT_EQ(sender_.sent[i].peer.port, i);
}

TEST_F(GsoBatchWriterTest, LocalAddressAndEcnAreCarried) {
  const IpAddress local = IpAddress::V4(0xc0000202);
  AddRun(Peer(1), 10, 10, local);
  batch_.runs()[0].ecn = 2;
  writer_.Write(batch_);
  EXPECT_EQ(sender_.sent[0].local, local);
  EXPECT_EQ(sender_.sent[0].traffic_class, 2);
}

TEST_F(GsoBatchWriterTest, AnIpv4SocketGetsIpv4Addresses) {
  GsoBatchWriter writer(sender_, /*v6_socket=*/false, drops_);
  AddRun(Peer(1), 10, 10, IpAddress::V4(0xc0000202));
  writer.Write(batch_);
  EXPECT_EQ(sender_.sent[0].family, AF_INET);
  EXPECT_EQ(sender_.sent[0].peer, Peer(1));
  EXPECT_EQ(sender_.sent[0].local, IpAddress::V4(0xc0000202));
}

TEST_F(GsoBatchWriterTest, AFullSocketKeepsTheRestInOrder) {
  int room = 2;
  sender_.verdict = [&](const Sent&) { return room-- > 0 ? 0 : EAGAIN; };
  for (uint16_t i = 0; i < 5; ++i) AddRun(Peer(i), 10, 10);
  writer_.Write(batch_);
  EXPECT_TRUE(writer_.blocked());
  EXPECT_TRUE(batch_.empty());
  const int calls = sender_.calls;
  AddRun(Peer(5), 10, 10);
  writer_.Write(batch_);  // nothing overtakes, nothing is tried
  EXPECT_EQ(sender_.calls, calls);

  room = 1;
  writer_.OnWritable();
  EXPECT_TRUE(writer_.blocked());
  room = 100;
  writer_.OnWritable();
  EXPECT_FALSE(writer_.blocked());
  ASSERT_EQ(sender_.sent.size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(sender_.sent[i].peer.port, i);
}

TEST_F(GsoBatchWriterTest, WhatWaitsIsBounded) {
  bool full = true;
  sender_.verdict = [&](const Sent&) { return full ? EAGAIN : 0; };
  const size_t fits = kUnsentBytesMax / 64'000;
  for (size_t i = 0; i < fits + 3; ++i) {
    AddRun(Peer(1), 64'000, 1000);
    writer_.Write(batch_);
  }
  EXPECT_EQ(drops_[DropReason::kQueueFull], 3 * 64u);
  full = false;
  writer_.OnWritable();
  EXPECT_EQ(SentBytes(), fits * 64'000);
  // And it takes anew.
  AddRun(Peer(1), 64'000, 1000);
  writer_.Write(batch_);
  EXPECT_EQ(SentBytes(), (fits + 1) * 64'000);
}

TEST_F(GsoBatchWriterTest, AfterEioTrainsAreNeverTriedAgain) {
  sender_.verdict = [](const Sent& message) { return message.segment_size != 0 ? EIO : 0; };
  AddRun(Peer(1), 2500, 1000);
  AddRun(Peer(2), 2000, 1000);
  writer_.Write(batch_);
  EXPECT_FALSE(writer_.gso());
  EXPECT_EQ(sender_.refused.size(), 1u);
  std::vector<size_t> sizes;
  for (const Sent& message : sender_.sent) sizes.push_back(message.bytes.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{1000, 1000, 500, 1000, 1000}));
  EXPECT_EQ(drops_.total(), 0u);
}

TEST_F(GsoBatchWriterTest, AfterEinvalOnlyThisPeersTrainsAreNotTriedForAWhile) {
  sender_.verdict = [](const Sent& message) {
    return message.segment_size != 0 && message.peer == Peer(1) ? EINVAL : 0;
  };
  for (uint32_t i = 0; i < kSinglyRuns + 10; ++i) {
    AddRun(Peer(1), 2500, 1000);
    AddRun(Peer(2), 2000, 1000);
    writer_.Write(batch_);
  }
  EXPECT_TRUE(writer_.gso());
  EXPECT_EQ(sender_.refused.size(), 2u);  // once more after kSinglyRuns
  EXPECT_EQ(SentBytes(), (kSinglyRuns + 10) * 4500u);
  EXPECT_EQ(drops_.total(), 0u);
}

TEST_F(GsoBatchWriterTest, ALocalAddressThatIsGoneIsLeftOut) {
  for (const int error : {EINVAL, ENETUNREACH}) {
    sender_.sent.clear();
    sender_.verdict = [error](const Sent& message) { return message.local ? error : 0; };
    AddRun(Peer(1), 2000, 1000, IpAddress::V4(0xc0000202));
    AddRun(Peer(2), 10, 10);
    writer_.Write(batch_);
    ASSERT_EQ(sender_.sent.size(), 2u);
    EXPECT_EQ(sender_.sent[0].segment_size, 1000);  // still a train
    EXPECT_FALSE(sender_.sent[0].local);
    EXPECT_EQ(drops_.total(), 0u);
  }
}

TEST_F(GsoBatchWriterTest, WhatIsInvalidInEveryFormIsDropped) {
  sender_.verdict = [](const Sent& message) { return message.peer == Peer(1) ? EINVAL : 0; };
  AddRun(Peer(1), 2000, 1000, IpAddress::V4(0xc0000202));
  AddRun(Peer(2), 10, 10);
  writer_.Write(batch_);
  ASSERT_EQ(sender_.sent.size(), 1u);
  EXPECT_EQ(sender_.sent[0].peer, Peer(2));
  EXPECT_EQ(drops_[DropReason::kSendFailed], 2u);
  EXPECT_FALSE(writer_.blocked());
}

TEST_F(GsoBatchWriterTest, UnreachablePeersDoNotStopTheOthers) {
  for (const int error : {ENETUNREACH, EHOSTUNREACH, EPERM, ENOBUFS, EAFNOSUPPORT}) {
    sender_.verdict = [error](const Sent& message) { return message.peer == Peer(1) ? error : 0; };
    const uint64_t drops_before = drops_[DropReason::kSendFailed];
    sender_.sent.clear();
    AddRun(Peer(1), 2500, 1000);
    AddRun(Peer(2), 10, 10);
    writer_.Write(batch_);
    EXPECT_EQ(sender_.sent.size(), 1u) << error;
    EXPECT_EQ(drops_[DropReason::kSendFailed] - drops_before, 3u) << error;
  }
}

TEST_F(GsoBatchWriterTest, ATooLargeDatagramIsCountedAsSuch) {
  sender_.verdict = [](const Sent& message) { return message.bytes.size() > 100 ? EMSGSIZE : 0; };
  AddRun(Peer(1), 300, 300);
  AddRun(Peer(1), 10, 10);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.sent.size(), 1u);
  EXPECT_EQ(drops_[DropReason::kTooBig], 1u);
}

TEST_F(GsoBatchWriterTest, APendingRefusalIsSteppedOver) {
  int refusals = 1;
  sender_.verdict = [&](const Sent&) { return refusals-- > 0 ? ECONNREFUSED : 0; };
  AddRun(Peer(1), 10, 10);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.sent.size(), 1u);
  refusals = 1000;  // for ever: it is dropped
  AddRun(Peer(1), 10, 10);
  writer_.Write(batch_);
  EXPECT_EQ(drops_[DropReason::kSendFailed], 1u);
}

TEST_F(GsoBatchWriterTest, InterruptedCallsAreRepeated) {
  int interrupts = 3;
  sender_.verdict = [&](const Sent&) { return interrupts-- > 0 ? EINTR : 0; };
  AddRun(Peer(1), 10, 10);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.sent.size(), 1u);
}

TEST_F(GsoBatchWriterTest, AProbeGoesAloneUnfragmentedInItsPlace) {
  AddRun(Peer(1), 100, 100);
  AddRun(Peer(1), 9000, 9000);
  batch_.runs().back().probe = 77;
  AddRun(Peer(1), 200, 100);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.calls, 3);
  EXPECT_EQ(sender_.unfragmented, 1);
  ASSERT_EQ(sender_.sent.size(), 3u);
  EXPECT_EQ(sender_.sent[1].bytes.size(), 9000u);
  EXPECT_TRUE(writer_.TakeRefusedProbes().empty());
}

TEST_F(GsoBatchWriterTest, AProbeThatIsLargerThanTheLinkIsToldAndNoLoss) {
  sender_.verdict = [](const Sent& message) { return message.bytes.size() > 1500 ? EMSGSIZE : 0; };
  AddRun(Peer(1), 9000, 9000);
  batch_.runs().back().probe = 77;
  AddRun(Peer(1), 100, 100);
  writer_.Write(batch_);
  EXPECT_EQ(writer_.TakeRefusedProbes(), std::vector<uint64_t>{77});
  EXPECT_TRUE(writer_.TakeRefusedProbes().empty());
  EXPECT_EQ(drops_.total(), 0u);
  EXPECT_EQ(SentBytes(), 100u);
}

TEST_F(GsoBatchWriterTest, EmptyRunsAndBatchesAreNothing) {
  writer_.Write(batch_);
  AddRun(Peer(1), 0, 0);
  writer_.Write(batch_);
  EXPECT_EQ(sender_.calls, 0);
}

}  // namespace
}  // namespace im::tunnel
