// What a stack does for sockets, the same over IPv4 and IPv6.

#include <gmock/gmock.h>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "netstack/net_error.h"
#include "netstack/scripted_peer.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Values;

struct Family {
  const char* name;
  IpAddress ours;
  IpAddress theirs;
  int prefix_length;
  int headers;  // IP and TCP, in bytes
  uint8_t unreachable_type, port_code, host_code;
};

const Family kFamilies[] = {
    {"Ipv4", IpAddress::V4(0x0a630001), IpAddress::V4(0x0a630002), 24, 40, 3, 3, 1},
    {"Ipv6", *IpAddress::Parse("fd00:63::1"), *IpAddress::Parse("fd00:63::2"), 64, 60, 1, 4, 3},
};

void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

// The interface of the family is a second one, beside the fixture's IPv4.
class FamilyTest : public ScriptedTest, public ::testing::WithParamInterface<Family> {
 protected:
  FamilyTest() {
    nic_ = stack_->AddInterface({.address = ours_, .prefix_length = GetParam().prefix_length},
                                wire_)
               .value();
  }

  void Dial(DialOptions options) {
    handler_.connection = stack_->Dial(options, &handler_).value();
    EXPECT_EQ(handler_.connection->local().address, ours_);
    peer_.emplace(options.remote, handler_.connection->local());
  }
  void Establish() {
    Dial({.remote = remote_});
    peer_->Got(Next());
    Deliver(peer_->Packet(kTcpSyn | kTcpAck, "", kSynOptions));
    EXPECT_TRUE(Next().Is(kTcpAck));
  }
  // What a router, or the host, says about `packet`.
  std::vector<uint8_t> IcmpError(const SentPacket& packet, uint8_t code) {
    std::vector<uint8_t> error = BuildEchoRequest(theirs_, ours_, 0, 0, packet.bytes);
    uint8_t* icmp = &error[theirs_.is_v4() ? 20 : 40];
    // The sum changes by as much as the first word does (RFC 1624).
    const uint16_t before = LoadBig16(icmp);
    icmp[0] = GetParam().unreachable_type;
    icmp[1] = code;
    uint32_t sum = static_cast<uint16_t>(~LoadBig16(icmp + 2)) +
                   static_cast<uint16_t>(~before) + uint32_t{LoadBig16(icmp)};
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    StoreBig16(icmp + 2, static_cast<uint16_t>(~sum));
    return error;
  }

  const IpAddress ours_ = GetParam().ours;
  const IpAddress theirs_ = GetParam().theirs;
  const Endpoint remote_{theirs_, 80};
  RecordingHandler handler_;
  std::optional<Peer> peer_;
};

INSTANTIATE_TEST_SUITE_P(Both, FamilyTest, Values(kFamilies[0], kFamilies[1]),
                         [](const auto& test) { return test.param.name; });

TEST_P(FamilyTest, SynOffersWhatTheInterfaceCarries) {
  Dial({.remote = remote_});
  const SentPacket syn = Next();
  ASSERT_GE(syn.tcp_options.size(), 4u);
  EXPECT_EQ(LoadBig16(&syn.tcp_options[2]), 1420 - GetParam().headers);
}

TEST_P(FamilyTest, ConnectionCarriesDataAndClosesByHalves) {
  Establish();
  EXPECT_EQ(handler_.connection->Write(Bytes("question")), 8u);
  handler_.connection->CloseWrite();
  SentPacket sent = Next();
  EXPECT_EQ(sent.payload, "question");
  if (!sent.Is(kTcpFin | kTcpAck)) sent = Next();
  EXPECT_TRUE(sent.Is(kTcpFin | kTcpAck));
  peer_->acknowledgment += 9;
  Deliver(peer_->Packet(kTcpAck));
  Leap(std::chrono::hours(1));  // the other half has no limit of time
  Deliver(peer_->Packet(kTcpAck, "answer"));
  EXPECT_EQ(handler_.data, "answer");
  EXPECT_FALSE(handler_.closed);
  Deliver(peer_->Packet(kTcpFin | kTcpAck));
  EXPECT_EQ(handler_.events, "connected read-closed closed");
}

TEST_P(FamilyTest, RefusedByReset) {
  Dial({.remote = remote_});
  peer_->Got(Next());
  Deliver(peer_->Packet(kTcpRst | kTcpAck));
  EXPECT_EQ(NetErrno(handler_.final_status), ECONNREFUSED);
}

TEST_P(FamilyTest, RefusedByIcmp) {
  Dial({.remote = remote_});
  Deliver(IcmpError(Next(), GetParam().port_code));
  EXPECT_EQ(NetErrno(handler_.final_status), ECONNREFUSED);
}

TEST_P(FamilyTest, UnreachableByIcmp) {
  Dial({.remote = remote_});
  Deliver(IcmpError(Next(), GetParam().host_code));
  EXPECT_EQ(NetErrno(handler_.final_status), EHOSTUNREACH);
}

TEST_P(FamilyTest, IcmpAboutAnEstablishedConnectionEndsNothing) {
  Establish();
  handler_.connection->Write(Bytes("x"));
  Deliver(IcmpError(Next(), GetParam().host_code));
  EXPECT_FALSE(handler_.closed);
}

TEST_P(FamilyTest, Reset) {
  Establish();
  Deliver(peer_->Packet(kTcpRst | kTcpAck));
  EXPECT_EQ(NetErrno(handler_.final_status), ECONNRESET);
}

TEST_P(FamilyTest, DialTimesOut) {
  Dial({.remote = remote_, .timeout = milliseconds(300)});
  Leap(milliseconds(299));
  EXPECT_FALSE(handler_.closed);
  Leap(milliseconds(1));
  EXPECT_EQ(NetErrno(handler_.final_status), ETIMEDOUT);
}

TEST_P(FamilyTest, PeerThatFallsSilentTimesOut) {
  Establish();
  handler_.connection->Write(Bytes("x"));
  Leap(std::chrono::hours(1));
  EXPECT_EQ(NetErrno(handler_.final_status), ETIMEDOUT);
}

TEST_P(FamilyTest, AddressInUseAndNotAvailable) {
  auto first = stack_->Listen({ours_, 80}, [](auto) {});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(NetErrno(stack_->Listen({ours_, 80}, [](auto) {}).status()), EADDRINUSE);
  EXPECT_EQ(NetErrno(stack_->Listen({theirs_, 80}, [](auto) {}).status()), EADDRNOTAVAIL);
  const DialOptions from{.remote = remote_, .local = Endpoint{ours_, 1234}};
  RecordingHandler second;
  Dial(from);
  EXPECT_EQ(NetErrno(stack_->Dial(from, &second).status()), EADDRINUSE);
}

TEST_P(FamilyTest, ListenerAccepts) {
  auto listener = stack_->Listen({ours_, 0}, [&](auto connection) {
    handler_.connection = std::move(connection);
    handler_.connection->SetHandler(&handler_);
  });
  ASSERT_TRUE(listener.ok());
  const Endpoint local = (*listener)->local();
  EXPECT_EQ(local.address, ours_);
  Peer peer({theirs_, 5000}, local);
  Deliver(peer.Packet(kTcpSyn, "", kSynOptions));
  peer.Got(Next());
  Deliver(peer.Packet(kTcpAck, "hello"));
  ASSERT_NE(handler_.connection, nullptr);
  EXPECT_EQ(handler_.connection->remote(), (Endpoint{theirs_, 5000}));
  EXPECT_EQ(handler_.data, "hello");
}

TEST_P(FamilyTest, PausedListenerDropsSyns) {
  int accepted = 0;
  auto listener = stack_->Listen({ours_, 80}, [&](auto) { ++accepted; });
  (*listener)->SetPaused(true);
  Peer peer({theirs_, 5000}, {ours_, 80});
  const std::vector<uint8_t> syn = peer.Packet(kTcpSyn, "", kSynOptions);
  Deliver(syn);
  EXPECT_TRUE(Silent());
  (*listener)->SetPaused(false);
  Deliver(syn);  // as the peer would send it again
  peer.Got(Next());
  Deliver(peer.Packet(kTcpAck));
  EXPECT_EQ(accepted, 1);
}

TEST_P(FamilyTest, UdpBothWaysAndInFragments) {
  std::string got;
  Endpoint from;
  auto endpoint = stack_->BindUdp({ours_, 53}, [&](const Endpoint& remote, auto payload) {
    from = remote;
    got.assign(payload.begin(), payload.end());
  });
  Deliver(BuildUdp({theirs_, 999}, {ours_, 53}, Bytes("query")));
  EXPECT_EQ(got, "query");
  EXPECT_EQ(from, (Endpoint{theirs_, 999}));
  std::string large(60'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(PatternByte(i));
  ASSERT_TRUE((*endpoint)->SendTo({theirs_, 53}, Bytes(large)).ok());
  Turn();
  EXPECT_GE(wire_.sent.size(), 43u);
  // Back with the addresses exchanged, which leaves all sums right.
  const std::deque<Wire::Sent> fragments = std::exchange(wire_.sent, {});
  const size_t size = theirs_.is_v4() ? 4 : 16;
  for (Wire::Sent fragment : fragments) {
    EXPECT_LE(fragment.bytes.size(), 1420u);
    uint8_t* source = &fragment.bytes[theirs_.is_v4() ? 12 : 8];
    std::swap_ranges(source, source + size, source + size);
    Deliver(fragment.bytes);
  }
  EXPECT_EQ(got, large);
}

// Who can bring fragments of his own among somebody's must not change what is read, also
// where the sum does not tell (RFC 1858, RFC 5722).
TEST_P(FamilyTest, OverlappingFragmentsMakeNoOtherDatagram) {
  std::string got;
  auto endpoint =
      stack_->BindUdp({ours_, 53}, [&](const Endpoint&, auto p) { got.assign(p.begin(), p.end()); });
  std::string text(4000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(PatternByte(i));
  ASSERT_TRUE((*endpoint)->SendTo({theirs_, 53}, Bytes(text)).ok());
  Turn();
  std::vector<std::vector<uint8_t>> fragments;
  const bool v4 = theirs_.is_v4();
  const ptrdiff_t size = v4 ? 4 : 16;
  for (const Wire::Sent& sent : std::exchange(wire_.sent, {})) {
    fragments.push_back(sent.bytes);
    const auto source = fragments.back().begin() + (v4 ? 12 : 8);
    std::swap_ranges(source, source + size, source + size);
  }
  ASSERT_GE(fragments.size(), 3u);
  // The second one, which begins 8 bytes earlier; there two words are exchanged.
  const ptrdiff_t header = v4 ? 20 : 48;
  std::vector<uint8_t> forged = fragments[1];
  forged.insert(forged.begin() + header, fragments[0].end() - 8, fragments[0].end());
  std::swap_ranges(&forged[header], &forged[header + 2], &forged[header + 2]);
  uint8_t* const length = &forged[v4 ? 2 : 4];
  StoreBig16(length, static_cast<uint16_t>(LoadBig16(length) + 8));
  uint8_t* const offset = &forged[v4 ? 6 : 42];
  StoreBig16(offset, static_cast<uint16_t>(LoadBig16(offset) - (v4 ? 1 : 8)));
  if (v4) SetIpv4HeaderChecksum(forged);
  for (size_t before = 0; before <= fragments.size(); ++before) {
    got.clear();
    for (size_t i = 0; i < fragments.size(); ++i) {
      if (i == before) Deliver(forged);
      if (i != 1) Deliver(fragments[i]);  // the forged one stands for it
    }
    if (before == fragments.size()) Deliver(forged);
    EXPECT_EQ(got, "") << "the forged one came as number " << before;
    Leap(seconds(60));
    // Nothing of it is left over.
    for (const std::vector<uint8_t>& fragment : fragments) Deliver(fragment);
    EXPECT_EQ(got, text);
  }
}

TEST_P(FamilyTest, UdpToAClosedPortIsRefused) {
  Deliver(BuildUdp({theirs_, 999}, {ours_, 53}, Bytes("query")));
  const SentPacket error = Next();
  EXPECT_EQ(error.view.icmp_type, GetParam().unreachable_type);
  EXPECT_EQ(error.view.icmp_code, GetParam().port_code);
}

TEST_P(FamilyTest, UdpErrorsAreTold) {
  std::vector<std::pair<Endpoint, int>> errors;
  auto endpoint = stack_->BindUdp({IpAddress(), 53}, [](const Endpoint&, auto) {});
  auto other = stack_->BindUdp({ours_, 54}, [](const Endpoint&, auto) {});
  (*endpoint)->SetErrorHandler([&](const Endpoint& remote, const absl::Status& error) {
    errors.emplace_back(remote, NetErrno(error));
  });
  (*other)->SetErrorHandler([](const Endpoint&, const absl::Status&) { FAIL(); });
  ASSERT_TRUE((*endpoint)->SendTo({theirs_, 1000}, Bytes("x")).ok());
  const SentPacket sent = Next();
  Deliver(IcmpError(sent, GetParam().port_code));
  Deliver(IcmpError(sent, GetParam().host_code));
  EXPECT_THAT(errors,
              ::testing::ElementsAre(std::pair(Endpoint{theirs_, 1000}, ECONNREFUSED),
                                     std::pair(Endpoint{theirs_, 1000}, EHOSTUNREACH)));
  // A flood of them is bounded, and the endpoint may go in its own function.
  (*endpoint)->SetErrorHandler([&](const Endpoint&, const absl::Status&) { endpoint->reset(); });
  PacketBatch flood;
  for (int i = 0; i < 1000; ++i) flood.AppendCopy(IcmpError(sent, GetParam().port_code));
  nic_->Write(std::move(flood));
  Turn();
  EXPECT_EQ(*endpoint, nullptr);
}

// ---- keepalive ----

TEST_P(FamilyTest, KeepAliveFindsThePeerGone) {
  Establish();
  handler_.connection->SetKeepAlive(
      KeepAlive{.idle = seconds(60), .interval = seconds(10), .probes = 3});
  std::vector<int> at_seconds;
  const Instant begin = clock_.Now();
  while (!handler_.closed && clock_.Now() - begin < seconds(1000)) {
    Leap(milliseconds(500));
    for (; !wire_.sent.empty(); wire_.sent.pop_front())
      at_seconds.push_back(static_cast<int>((clock_.Now() - begin) / seconds(1)));
  }
  EXPECT_THAT(at_seconds, ::testing::ElementsAre(60, 70, 80, 90));  // the last is a RST
  EXPECT_EQ(NetErrno(handler_.final_status), ETIMEDOUT);
}

TEST_P(FamilyTest, KeepAliveOfALivingPeerCostsNothingBetweenProbes) {
  Establish();
  handler_.connection->SetKeepAlive(KeepAlive{.idle = seconds(60)});
  int probes = 0;
  int turns = 0;
  for (const Instant end = clock_.Now() + std::chrono::hours(1); clock_.Now() < end; ++turns) {
    clock_.Advance(loop_->NextDeadline() - clock_.Now());
    Turn();
    if (wire_.sent.empty()) continue;
    const SentPacket probe = Next();
    EXPECT_TRUE(probe.Is(kTcpAck));
    EXPECT_EQ(probe.view.tcp_sequence, peer_->acknowledgment - 1);
    Deliver(peer_->Packet(kTcpAck));
    ++probes;
  }
  EXPECT_GE(probes, 3600 / (60 + 75));
  EXPECT_LE(turns, 4 * probes);
  EXPECT_FALSE(handler_.closed);
  handler_.connection->SetKeepAlive(std::nullopt);
  Leap(seconds(1));
  EXPECT_EQ(loop_->NextDeadline(), kNever);
}

TEST_P(FamilyTest, KeepAliveMayBeAskedForAtAnyTime) {
  Dial({.remote = remote_, .timeout = seconds(20)});
  handler_.connection->SetKeepAlive(KeepAlive{.idle = Duration(0), .probes = 1'000'000});
  Leap(seconds(30));
  EXPECT_EQ(NetErrno(handler_.final_status), ETIMEDOUT);
  handler_.connection->SetKeepAlive(KeepAlive{});
  EXPECT_EQ(loop_->NextDeadline(), kNever);
}

}  // namespace
}  // namespace im::netstack
