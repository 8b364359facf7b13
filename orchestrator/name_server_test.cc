// DNS for stock peers: the cluster's names from here, the world's from a resolver on loopback.

#include "orchestrator/name_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/ip_build.h"
#include "base/ip_header.h"
#include "orchestrator/start_requests.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Bytes = std::vector<uint8_t>;

const IpPrefix kNetwork = *IpPrefix::Parse("10.77.0.0/16");
const IpAddress kGateway = IpAddress::V4(0x0a4d0001);
const DualStack kDualStack(*IpPrefix::Parse("fd00:77::/96"));
const Endpoint kLaptop{IpAddress::V4(0x0a4dfffe), 5353};
const Endpoint kNamesLoopback{IpAddress::V4(0x7f000001), 0};

Bytes Query(const std::vector<std::string>& labels) {
  Bytes out = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
  for (const std::string& label : labels) {
    out.push_back(static_cast<uint8_t>(label.size()));
    out.insert(out.end(), label.begin(), label.end());
  }
  for (const uint8_t byte : {0, 0, 1, 0, 1}) out.push_back(byte);
  return out;
}

// A resolver that answers each question with its own bytes and a mark behind them.
class Resolver {
 public:
  explicit Resolver(EventLoop& loop) {
    sockaddr_storage address{};
    socklen_t size = kNamesLoopback.ToSockaddr(address);
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    size = sizeof(address);
    EXPECT_EQ(getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    endpoint = Endpoint::FromSockaddr(address);
    watch_ = loop.WatchFd(socket_.get(), EPOLLIN, [this](uint32_t) {
      uint8_t bytes[512];
      sockaddr_storage from{};
      socklen_t from_size = sizeof(from);
      const ssize_t n = recvfrom(socket_.get(), bytes, sizeof(bytes) - 1, 0,
                                 reinterpret_cast<sockaddr*>(&from), &from_size);
      if (n < 0) return;
      ++asked;
      // First one that is not for this question.
      uint8_t wrong[12] = {};
      sendto(socket_.get(), wrong, sizeof(wrong), 0, reinterpret_cast<sockaddr*>(&from), from_size);
      bytes[n] = 'R';
      sendto(socket_.get(), bytes, static_cast<size_t>(n) + 1, 0,
             reinterpret_cast<sockaddr*>(&from), from_size);
    });
  }
  Endpoint endpoint;
  int asked = 0;

 private:
  FileDescriptor socket_{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  EventLoop::Watch watch_;
};

class NameServerTest : public testing::Test, public PacketSink {
 protected:
  NameServerTest() {
    nic_ = *stack_.AddInterface({.name = "gw", .address = kGateway, .prefix_length = 16}, *this);
    nic6_ = *stack_.AddInterface({.name = "gw",
                                  .address = kDualStack.ToV6(kGateway),
                                  .prefix_length = DualStack::kPrefixLength},
                                 *this);
    proto::NameTable table;
    proto::HostName& web = *table.add_hosts();
    web.set_name("web");
    web.set_address(AddressBytes(IpAddress::V4(0x0a4d0002)));
    names_.emplace(table.SerializeAsString());
    server_ = *NameServer::Open(*loop_, stack_, kGateway, kNetwork, kDualStack, *names_, "shop.im");
  }
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch) {
      const auto view = ParseIp(packet.bytes());
      if (!view || !view->is_udp() || view->destination_port != kLaptop.port) continue;
      const auto payload = packet.bytes().subspan(view->payload_offset, view->payload_size());
      answers_.emplace_back(payload.begin(), payload.end());
    }
  }
  Bytes Ask(const Bytes& query) {
    return Ask(*nic_, BuildUdp(kLaptop, {kGateway, 53}, query));
  }
  Bytes Ask(netstack::Interface& nic, const Bytes& packet) {
    answers_.clear();
    nic.Write(SinglePacket(packet));
    const Instant end = clock_.Now() + std::chrono::seconds(20);
    while (answers_.empty() && clock_.Now() < end) loop_->RunOnce(std::chrono::milliseconds(100));
    EXPECT_EQ(answers_.size(), 1u);
    return answers_.empty() ? Bytes(12) : answers_[0];
  }

  RealClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
  netstack::Stack stack_{*loop_};
  netstack::Interface* nic_ = nullptr;
  netstack::Interface* nic6_ = nullptr;
  std::optional<names::NameIndex> names_;
  std::unique_ptr<NameServer> server_;
  std::vector<Bytes> answers_;
};

TEST_F(NameServerTest, HostsAreKnownHereAndTheRestIsAskedElsewhere) {
  Resolver resolver(*loop_);
  server_->SetResolvers({resolver.endpoint});
  for (const auto& name : {std::vector<std::string>{"web"}, {"web", "shop", "im"}}) {
    const Bytes answer = Ask(Query(name));
    EXPECT_THAT(Bytes(answer.end() - 4, answer.end()), ElementsAre(10, 77, 0, 2));
  }
  EXPECT_EQ(Ask(Query({"nobody", "shop", "im"}))[3] & 0xf, 3) << "does not exist";
  EXPECT_EQ(Ask(Query({"9", "0", "77", "10", "in-addr", "arpa"}))[3] & 0xf, 3)
      << "an address of ours that nobody has is nobody else's";
  EXPECT_EQ(resolver.asked, 0);
  const Bytes query = Query({"debian", "org"});
  Bytes expected = query;
  expected.push_back('R');
  EXPECT_EQ(Ask(query), expected);
  EXPECT_EQ(resolver.asked, 1);
}

TEST_F(NameServerTest, AnswersAtItsAddressOfEitherFamily) {
  const Endpoint asker{kDualStack.ToV6(kLaptop.address), kLaptop.port};
  const Endpoint server{kDualStack.ToV6(kGateway), 53};
  const Bytes answer = Ask(*nic6_, BuildUdp(asker, server, Query({"web"})));
  EXPECT_THAT(Bytes(answer.end() - 4, answer.end()), ElementsAre(10, 77, 0, 2));
}

TEST_F(NameServerTest, AResolverThatIsNotThereIsPassedOver) {
  Resolver resolver(*loop_);
  Endpoint closed;
  { closed = Resolver(*loop_).endpoint; }
  server_->SetResolvers({closed, resolver.endpoint});
  EXPECT_EQ(Ask(Query({"debian", "org"})).back(), 'R');
}

TEST_F(NameServerTest, WithoutAResolverTheWorldDoesNotExist) {
  server_->SetResolvers({});
  EXPECT_EQ(Ask(Query({"debian", "org"}))[3] & 0xf, 3);
}

TEST(ResolvConfTest, NamesItsServers) {
  EXPECT_THAT(ParseResolvConf("# nameserver 1.1.1.1\nsearch a b\nnameserver 192.0.2.1\n"
                              "nameserver\tfd00::1 # x\nnameserver 10.77.3.4\nnameserver x\n",
                              kNetwork),
              ElementsAre(*Endpoint::Parse("192.0.2.1:53"), *Endpoint::Parse("[fd00::1]:53")))
      << "without those that lead back to us";
  EXPECT_THAT(ParseResolvConf("nameserver fd00:77::10.77.3.4\nnameserver fd00:77::10.78.0.1\n",
                              kNetwork, kDualStack),
              ElementsAre(*Endpoint::Parse("[fd00:77::10.78.0.1]:53")));
  EXPECT_EQ(ParseResolvConf("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"
                            "nameserver 192.0.2.4",
                            kNetwork)
                .size(),
            3u);
  EXPECT_THAT(ParseResolvConf("", kNetwork), IsEmpty());
}

}  // namespace
}  // namespace im::orchestrator
