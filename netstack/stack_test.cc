#include "netstack/net.h"

#include <gmock/gmock.h>

#include "lwip/priv/tcp_priv.h"
#include "netstack/scripted_peer.h"
#include "netstack/tcp_listener.h"

namespace im::netstack {
namespace {

using std::chrono::seconds;

using StackTest = ScriptedTest;

TEST_F(StackTest, IdleStackHasNoDeadline) {
  Turn();
  EXPECT_EQ(loop_->NextDeadline(), kNever);
}

TEST_F(StackTest, OneAfterAnotherInOneProcess) {
  stack_.reset();
  for (int i = 0; i < 3; ++i) {
    Stack stack(*loop_);
    EXPECT_TRUE(stack.AddInterface({.address = kOurs}, wire_).ok());
  }
}

TEST_F(StackTest, SecondAtTheSameTimeDies) {
  EXPECT_DEATH(Stack second(*loop_), "current_core == nullptr");
}

TEST_F(StackTest, AnswersPing) {
  Deliver(BuildEchoRequest(kTheirs, kOurs, 7, 9, Bytes("abc")));
  const SentPacket reply = Next();
  EXPECT_EQ(reply.view.icmp_type, 0);
  EXPECT_EQ(reply.view.destination, kTheirs);
  EXPECT_EQ(reply.payload.substr(reply.payload.size() - 3), "abc");
}

TEST_F(StackTest, AnswersPingOverIpv6) {
  const IpAddress ours = *IpAddress::Parse("fd00::1");
  const IpAddress theirs = *IpAddress::Parse("fd00::2");
  Interface* nic = stack_->AddInterface({.address = ours, .prefix_length = 64}, wire6_).value();
  nic->Write(SinglePacket(BuildEchoRequest(theirs, ours, 7, 9, Bytes("abc"))));
  Turn();
  ASSERT_EQ(wire6_.sent.size(), 1u);
  EXPECT_EQ(ParseIp(wire6_.sent[0].bytes)->icmp_type, 129);
  EXPECT_TRUE(wire_.sent.empty());
}

TEST_F(StackTest, RefusesWhereNobodyListens) {
  Peer peer({kTheirs, 5000}, {kOurs, 81});
  Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
  EXPECT_TRUE(Next().Is(kTcpRst | kTcpAck));
}

TEST_F(StackTest, ListenerAcceptsAndEchoes) {
  RecordingHandler handler;
  auto listener = stack_->Listen({kOurs, 80}, [&](auto connection) {
    handler.connection = std::move(connection);
    handler.connection->SetHandler(&handler);
  });
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ((*listener)->local(), (Endpoint{kOurs, 80}));
  Peer peer({kTheirs, 5000}, {kOurs, 80});
  Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
  const SentPacket answer = Next();
  EXPECT_TRUE(answer.Is(kTcpSyn | kTcpAck));
  EXPECT_EQ(handler.connection, nullptr);
  peer.Got(answer);
  Deliver(peer.Packet(kTcpAck, "with the handshake"));
  ASSERT_NE(handler.connection, nullptr);
  EXPECT_EQ(handler.data, "with the handshake");
  EXPECT_EQ(handler.connection->remote(), (Endpoint{kTheirs, 5000}));
  EXPECT_EQ(handler.connection->local(), (Endpoint{kOurs, 80}));
}

// Another program of the caller may soon use a port again that one had: its
// kernel keeps no TIME_WAIT if we closed first, or is another host's by now.
class TimeWaitTest : public StackTest {
 protected:
  void SetUp() override {
    StackTest::SetUp();
    listener_ = stack_->Listen({kOurs, 80}, [&](auto connection) {
      handler_ = std::make_unique<RecordingHandler>();
      handler_->connection = std::move(connection);
      handler_->connection->SetHandler(handler_.get());
    }).value();
    Deliver(peer_.Packet(kTcpSyn, "", kSynOptions));
    peer_.Got(Next());
    Deliver(peer_.Packet(kTcpAck));
    handler_->connection->CloseWrite();
    peer_.Got(Next());
    Deliver(peer_.Packet(kTcpFin | kTcpAck));
    peer_.Got(Next());
    ASSERT_TRUE(handler_->closed);
    handler_.reset();
    ASSERT_NE(tcp_tw_pcbs, nullptr);
  }

  // Of the same endpoints. `from_end`: its first sequence number, from the end of
  // what the last connection carried.
  Peer NextPeer(int from_end) {
    Peer next({kTheirs, 5000}, {kOurs, 80});
    next.sequence = peer_.sequence + static_cast<uint32_t>(from_end);
    return next;
  }
  void ExpectConnects(Peer& peer) {
    Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
    const SentPacket answer = Next();
    ASSERT_TRUE(answer.Is(kTcpSyn | kTcpAck));
    peer.Got(answer);
    Deliver(peer.Packet(kTcpAck, "again"));
    ASSERT_NE(handler_, nullptr);
    EXPECT_EQ(handler_->data, "again");
  }

  Peer peer_{{kTheirs, 5000}, {kOurs, 80}};
  std::unique_ptr<TcpListener> listener_;
  std::unique_ptr<RecordingHandler> handler_;
};

TEST_F(TimeWaitTest, ALaterConnectionMayUseTheSamePorts) {
  Peer next = NextPeer(/*from_end=*/1000);
  ExpectConnects(next);
}

TEST_F(TimeWaitTest, AnEarlierSequenceNumberTakesTheLongWay) {
  Peer next = NextPeer(/*from_end=*/-1'000'000);
  Deliver(next.Packet(kTcpSyn, "", kSynOptions));
  const SentPacket answer = Next();
  ASSERT_TRUE(answer.Is(kTcpAck));
  // As a peer does that knows of no connection (RFC 9293 3.10.7.3).
  Peer reset = NextPeer(0);
  reset.sequence = answer.view.tcp_acknowledgment;
  Deliver(reset.Packet(kTcpRst));
  EXPECT_EQ(tcp_tw_pcbs, nullptr);
  ExpectConnects(next);
}

TEST_F(TimeWaitTest, OtherResetsAreIgnored) {
  for (const int off : {-1, 1, 1000}) {
    Peer reset = NextPeer(off);
    Deliver(reset.Packet(kTcpRst));
    EXPECT_NE(tcp_tw_pcbs, nullptr) << off;
  }
}

TEST_F(StackTest, ListenOnAnyAddressOfBothFamilies) {
  const IpAddress ours6 = *IpAddress::Parse("fd00::1");
  const IpAddress theirs6 = *IpAddress::Parse("fd00::2");
  Interface* nic6 = stack_->AddInterface({.address = ours6, .prefix_length = 64}, wire6_).value();
  std::vector<Endpoint> accepted;
  std::vector<std::unique_ptr<TcpConnection>> open;
  auto listener = stack_->Listen({IpAddress(), 80}, [&](auto connection) {
    accepted.push_back(connection->local());
    open.push_back(std::move(connection));
  });
  ASSERT_TRUE(listener.ok());
  Peer peer({kTheirs, 5000}, {kOurs, 80});
  Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
  peer.Got(Next());
  Deliver(peer.Packet(kTcpAck));

  Peer peer6({theirs6, 5000}, {ours6, 80});
  nic6->Write(SinglePacket(peer6.Packet(kTcpSyn, "", kSynOptions)));
  Turn();
  ASSERT_EQ(wire6_.sent.size(), 1u);
  peer6.acknowledgment = ParseIp(wire6_.sent[0].bytes)->tcp_sequence + 1;
  nic6->Write(SinglePacket(peer6.Packet(kTcpAck)));
  Turn();
  EXPECT_EQ(accepted, (std::vector<Endpoint>{{kOurs, 80}, {ours6, 80}}));
}

TEST_F(StackTest, DialOverIpv6) {
  const IpAddress ours6 = *IpAddress::Parse("fd00::1");
  (void)stack_->AddInterface({.address = ours6, .prefix_length = 64}, wire6_).value();
  RecordingHandler handler;
  handler.connection =
      stack_->Dial({.remote = {*IpAddress::Parse("fd00::2"), 80}}, &handler).value();
  Turn();
  ASSERT_EQ(wire6_.sent.size(), 1u);
  EXPECT_TRUE(ParseIp(wire6_.sent[0].bytes)->is_syn());
  EXPECT_EQ(handler.connection->local().address, ours6);
}

TEST_F(StackTest, PortInUseIsAlreadyExists) {
  auto first = stack_->Listen({kOurs, 80}, [](auto) {});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(stack_->Listen({kOurs, 80}, [](auto) {}).status().code(),
            absl::StatusCode::kAlreadyExists);
  first->reset();
  EXPECT_TRUE(stack_->Listen({kOurs, 80}, [](auto) {}).ok());
}

TEST_F(StackTest, ListenerCanBeMadeAnewWhileConnectionsLinger) {
  std::vector<std::unique_ptr<TcpConnection>> open;
  const auto keep = [&](auto connection) { open.push_back(std::move(connection)); };
  auto listener = stack_->Listen({kOurs, 80}, keep);
  Peer peer({kTheirs, 5000}, {kOurs, 80});
  Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
  peer.Got(Next());
  Deliver(peer.Packet(kTcpAck));
  ASSERT_EQ(open.size(), 1u);
  listener->reset();
  EXPECT_TRUE(stack_->Listen({kOurs, 80}, keep).ok());
}

TEST_F(StackTest, DestroyedListenerResetsHalfOpenConnections) {
  auto listener = stack_->Listen({kOurs, 80}, [](auto) { FAIL(); });
  Peer peer({kTheirs, 5000}, {kOurs, 80});
  Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
  peer.Got(Next());
  listener->reset();
  Deliver(peer.Packet(kTcpAck));
  EXPECT_TRUE((Next().view.tcp_flags & kTcpRst) != 0);
}

TEST_F(StackTest, ListenerMayBeDestroyedWhenItAccepts) {
  absl::StatusOr<std::unique_ptr<TcpListener>> listener;
  int accepted = 0;
  listener = stack_->Listen({kOurs, 80}, [&](auto) {
    ++accepted;
    listener->reset();
  });
  std::vector<Peer> peers;
  for (uint16_t port = 5000; port < 5003; ++port) {
    Peer& peer = peers.emplace_back(Endpoint{kTheirs, port}, Endpoint{kOurs, 80});
    Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
    peer.Got(Next());
  }
  PacketBatch batch;
  for (Peer& peer : peers) batch.AppendCopy(peer.Packet(kTcpAck));
  nic_->Write(std::move(batch));
  Turn();
  EXPECT_EQ(accepted, 1);
}

TEST_F(StackTest, HalfOpenConnectionsAreBounded) {
  auto listener = stack_->Listen({kOurs, 80}, [](auto) {});
  const auto syn = [&](int i) {
    Peer peer({IpAddress::V4(0x0a4d1000 + static_cast<uint32_t>(i) / 1000),
               static_cast<uint16_t>(1000 + i % 1000)},
              {kOurs, 80});
    return peer.Packet(kTcpSyn, "", kSynOptions);
  };
  for (int i = 0; i < kHalfOpenMax + 10; ++i) nic_->Write(SinglePacket(syn(i)));
  Turn();
  EXPECT_EQ(wire_.sent.size(), static_cast<size_t>(kHalfOpenMax));
  // They are given up, and there is room again.
  Leap(std::chrono::minutes(10));
  wire_.sent.clear();
  Deliver(syn(kHalfOpenMax + 20));
  EXPECT_TRUE(Next().Is(kTcpSyn | kTcpAck));
}

TEST_F(StackTest, DialWithoutARouteFailsAtOnce) {
  RecordingHandler handler;
  const auto status = stack_->Dial({.remote = {*IpAddress::Parse("fd00::2"), 80}}, &handler);
  EXPECT_EQ(status.status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(StackTest, DialRefusesWhatIsNoHost) {
  RecordingHandler handler;
  for (const char* text : {"127.0.0.1:80", "224.0.0.1:80", "0.0.0.0:80", "10.77.0.2:0"})
    EXPECT_EQ(stack_->Dial({.remote = *Endpoint::Parse(text)}, &handler).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
}

TEST_F(StackTest, DialFromAGivenEndpoint) {
  RecordingHandler first, second;
  const DialOptions options{.remote = {kTheirs, 80}, .local = Endpoint{kOurs, 1234}};
  first.connection = stack_->Dial(options, &first).value();
  EXPECT_EQ(Next().view.source_port, 1234);
  EXPECT_EQ(stack_->Dial(options, &second).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(stack_->Dial({.remote = {kTheirs, 80}, .local = Endpoint{kTheirs, 1}}, &second)
                .status()
                .code(),
            absl::StatusCode::kNotFound);
}

TEST_F(StackTest, EphemeralPortsDoNotRunOutByTimeWait) {
  // More connections, one after another, than there are ports.
  for (int i = 0; i < 40'000; ++i) {
    RecordingHandler handler;
    auto connection = stack_->Dial({.remote = {kTheirs, 80}}, &handler);
    ASSERT_TRUE(connection.ok()) << i << connection.status();
    handler.connection = std::move(*connection);
    Peer peer({kTheirs, 80}, handler.connection->local());
    peer.Got(Next());
    Deliver(peer.Packet(kTcpSyn | kTcpAck, "", kSynOptions));
    Next();
    handler.connection->CloseWrite();
    peer.Got(Next());
    Deliver(peer.Packet(kTcpFin | kTcpAck));
    ASSERT_TRUE(handler.closed);
    wire_.sent.clear();
    if (i % 100 == 0) Advance(std::chrono::milliseconds(30));
  }
}

TEST_F(StackTest, RemovedInterfaceEndsItsConnections) {
  RecordingHandler handler;
  handler.connection = stack_->Dial({.remote = {kTheirs, 80}}, &handler).value();
  Peer peer({kTheirs, 80}, handler.connection->local());
  peer.Got(Next());
  Deliver(peer.Packet(kTcpSyn | kTcpAck, "", kSynOptions));
  Next();
  stack_->RemoveInterface(nic_);
  EXPECT_TRUE(Next().Is(kTcpRst | kTcpAck));
  EXPECT_EQ(handler.events, "connected closed(host unreachable)");
}

TEST_F(StackTest, InterfaceOptionsAreChecked) {
  const auto add = [&](const InterfaceOptions& options) {
    return stack_->AddInterface(options, wire_).status().code();
  };
  const IpAddress other = IpAddress::V4(0x0a4d0009);
  EXPECT_EQ(add({.address = kOurs}), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(add({.address = IpAddress()}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add({.address = other, .prefix_length = 33}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add({.address = other, .mtu = 100}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add({.address = other, .mtu = 70'000}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add({.address = other, .mtu = 65'535}), absl::StatusCode::kOk);
}

TEST_F(StackTest, BlockedInterfaceKeepsItsOutput) {
  nic_->SetBlocked(true);
  RecordingHandler handler;
  handler.connection = stack_->Dial({.remote = {kTheirs, 80}}, &handler).value();
  EXPECT_TRUE(Silent());
  nic_->SetBlocked(false);
  EXPECT_TRUE(Next().Is(kTcpSyn));
}

TEST_F(StackTest, BlockedInterfaceKeepsNoMoreThanItMay) {
  nic_->SetBlocked(true);
  auto endpoint = stack_->BindUdp({kOurs, 53}, [](const Endpoint&, auto) {});
  const std::vector<uint8_t> payload(1392);
  for (int i = 0; i < 10'000; ++i) EXPECT_TRUE((*endpoint)->SendTo({kTheirs, 1}, payload).ok());
  EXPECT_GT(nic_->drops()[DropReason::kQueueFull], 0u);
  nic_->SetBlocked(false);
  Turn();
  EXPECT_NEAR(static_cast<double>(wire_.sent.size()), kBlockedBytesMax / 1420.0, 2);
}

// ---- UDP ----

TEST_F(StackTest, UdpBothWays) {
  std::string got;
  Endpoint from;
  auto endpoint = stack_->BindUdp({kOurs, 53}, [&](const Endpoint& remote, auto payload) {
    from = remote;
    got.assign(payload.begin(), payload.end());
  });
  ASSERT_TRUE(endpoint.ok());
  Deliver(BuildUdp({kTheirs, 999}, {kOurs, 53}, Bytes("query")));
  EXPECT_EQ(got, "query");
  EXPECT_EQ(from, (Endpoint{kTheirs, 999}));
  ASSERT_TRUE((*endpoint)->SendTo(from, Bytes("reply")).ok());
  const SentPacket reply = Next();
  EXPECT_EQ(reply.payload, "reply");
  EXPECT_EQ(reply.view.source_port, 53);
  EXPECT_TRUE(TransportChecksumIsRight(reply.bytes, reply.view));
}

TEST_F(StackTest, UdpToAClosedPortIsUnreachable) {
  Deliver(BuildUdp({kTheirs, 999}, {kOurs, 53}, Bytes("query")));
  const SentPacket error = Next();
  EXPECT_EQ(error.view.icmp_type, 3);
  EXPECT_EQ(error.view.icmp_code, 3);
}

TEST_F(StackTest, UdpErrors) {
  auto endpoint = stack_->BindUdp({kOurs, 53}, [](const Endpoint&, auto) {});
  ASSERT_TRUE(endpoint.ok());
  EXPECT_EQ(stack_->BindUdp({kOurs, 53}, [](const Endpoint&, auto) {}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ((*endpoint)->SendTo({*IpAddress::Parse("fd00::2"), 1}, {}).code(),
            absl::StatusCode::kUnavailable);
  const std::vector<uint8_t> much(66'000);
  EXPECT_EQ((*endpoint)->SendTo({kTheirs, 1}, much).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE((*endpoint)->SendTo({kTheirs, 1}, {}).ok());
  auto any = stack_->BindUdp({kOurs, 0}, [](const Endpoint&, auto) {});
  ASSERT_TRUE(any.ok());
  EXPECT_NE((*any)->local().port, 0);
}

TEST_F(StackTest, LargeDatagramsAreFragmentedAndJoined) {
  std::string got;
  auto endpoint = stack_->BindUdp({kOurs, 53}, [&](const Endpoint&, auto payload) {
    got.assign(payload.begin(), payload.end());
  });
  std::string large(60'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(PatternByte(i));
  ASSERT_TRUE((*endpoint)->SendTo({kTheirs, 53}, Bytes(large)).ok());
  Turn();
  EXPECT_GE(wire_.sent.size(), 43u);
  // Back with the addresses exchanged (which leaves all sums right), last first.
  std::vector<std::vector<uint8_t>> fragments;
  for (const Wire::Sent& sent : wire_.sent) fragments.push_back(sent.bytes);
  wire_.sent.clear();
  for (auto it = fragments.rbegin(); it != fragments.rend(); ++it) {
    for (int i = 0; i < 4; ++i) std::swap((*it)[12 + i], (*it)[16 + i]);
    EXPECT_LE(it->size(), 1420u);
    Deliver(*it);
  }
  EXPECT_EQ(got, large);
  Leap(seconds(60));
  EXPECT_EQ(loop_->NextDeadline(), kNever);
}

TEST_F(StackTest, LoneFragmentsAreForgotten) {
  auto endpoint = stack_->BindUdp({kOurs, 53}, [](const Endpoint&, auto) { FAIL(); });
  ASSERT_TRUE((*endpoint)->SendTo({kTheirs, 53}, std::vector<uint8_t>(5000)).ok());
  Turn();
  std::vector<uint8_t> fragment = wire_.sent.front().bytes;
  for (int i = 0; i < 4; ++i) std::swap(fragment[12 + i], fragment[16 + i]);
  wire_.sent.clear();
  Deliver(fragment);
  Leap(seconds(60));
  EXPECT_EQ(loop_->NextDeadline(), kNever);
}

TEST_F(StackTest, UdpSuperPacketsAreCut) {
  std::vector<std::string> got;
  auto endpoint = stack_->BindUdp({kOurs, 53}, [&](const Endpoint&, auto payload) {
    got.emplace_back(payload.begin(), payload.end());
  });
  PacketBatch batch = SinglePacket(BuildUdp({kTheirs, 9}, {kOurs, 53}, Bytes("aaabbbcc")));
  batch[0].segment_size = 3;
  batch[0].checksum_valid = true;
  nic_->Write(std::move(batch));
  Turn();
  EXPECT_THAT(got, ::testing::ElementsAre("aaa", "bbb", "cc"));
}

TEST_F(StackTest, UdpQueueIsBounded) {
  size_t got = 0;
  auto endpoint =
      stack_->BindUdp({kOurs, 53}, [&](const Endpoint&, auto payload) { got += payload.size(); });
  const std::vector<uint8_t> packet =
      BuildUdp({kTheirs, 9}, {kOurs, 53}, std::vector<uint8_t>(1000));
  PacketBatch batch;
  for (int i = 0; i < 3000; ++i) batch.AppendCopy(packet);
  nic_->Write(std::move(batch));
  Turn();
  EXPECT_GT(got, 500'000u);
  EXPECT_LE(got, size_t{1 << 20});
}

}  // namespace
}  // namespace im::netstack
