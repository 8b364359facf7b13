#include "orchestrator/control_channel.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "orchestrator/test_agent.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const IpAddress kChannelGateway = IpAddress::V4(0x0a4d0001);
const IpAddress kFirstHost = IpAddress::V4(0x0a4d0002);

IpAddress HostAddress(size_t i) { return IpAddress::V4(static_cast<uint32_t>(0x0a4d0002 + i)); }

tunnel::PublicKey KeyOfIncarnation(uint64_t incarnation) {
  tunnel::PublicKey key;
  key.bytes[0] = static_cast<uint8_t>(incarnation);
  key.bytes[1] = static_cast<uint8_t>(incarnation >> 8);
  return key;
}

class Recorder final : public ControlChannel::Delegate {
 public:
  void OnStatus(const IpAddress& host, const proto::InstanceStatus& status,
                bool goal_known) override {
    newest[host] = status;
    known[host] = goal_known;
    ++count;
  }
  std::map<IpAddress, proto::InstanceStatus> newest;
  std::map<IpAddress, bool> known;
  int count = 0;
};

class ControlChannelTest : public testing::Test {
 protected:
  void Receive(const std::vector<uint8_t>& packet) {
    TestPacket whole(packet);
    channel_.OnPacket(whole.packet(), whole.view(), now_);
  }
  // What is sent now.
  PacketBatch Sent() {
    PacketBatch out;
    channel_.Flush(now_, out);
    return out;
  }

  Instant now_ = Instant(seconds(1000));
  Recorder recorder_;
  Introductions introductions_{Introductions::Times(), 0};
  ControlChannel channel_{kChannelGateway, ControlChannel::Times(), 0, introductions_, recorder_};
  TestAgent agent_{kFirstHost, kChannelGateway, 7};
};

TEST_F(ControlChannelTest, a_status_is_handed_on_and_acknowledged) {
  channel_.Add(kFirstHost, 7);
  Receive(agent_.Say(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(recorder_.count, 1);
  EXPECT_TRUE(recorder_.known[kFirstHost]);
  const PacketBatch sent = Sent();
  ASSERT_EQ(sent.size(), 1u);
  agent_.Take(sent[0].bytes());
  EXPECT_TRUE(agent_.acknowledged());
  EXPECT_EQ(channel_.NextDeadline(), kNever);
}

TEST_F(ControlChannelTest, an_older_status_is_only_acknowledged) {
  channel_.Add(kFirstHost, 7);
  const auto old_status = agent_.Say(proto::InstanceStatus::PAUSED);
  Receive(agent_.Say(proto::InstanceStatus::RUNNING));
  Receive(old_status);
  EXPECT_EQ(recorder_.newest[kFirstHost].state(), proto::InstanceStatus::RUNNING);
  EXPECT_EQ(channel_.counters().stale_status, 1u);
  EXPECT_EQ(Sent().size(), 1u);
}

TEST_F(ControlChannelTest, another_incarnation_is_not_heard) {
  channel_.Add(kFirstHost, 8);
  Receive(agent_.Say(proto::InstanceStatus::RUNNING));
  EXPECT_EQ(recorder_.count, 0);
  EXPECT_EQ(channel_.counters().stale_incarnation, 1u);
  EXPECT_TRUE(Sent().empty());
  channel_.Remove(kFirstHost);
  Receive(agent_.Repeat());
  EXPECT_EQ(channel_.counters().unknown_sender, 1u);
}

TEST_F(ControlChannelTest, garbage_is_counted) {
  channel_.Add(kFirstHost, 7);
  const std::vector<uint8_t> garbage(300, 0xff);
  Receive(BuildUdp({kFirstHost, kControlPort}, {kChannelGateway, kControlPort}, garbage));
  EXPECT_EQ(channel_.counters().malformed, 1u);
  // Ports below 1024 do not make a control message: the agent's port does.
  Receive(BuildUdp({kFirstHost, 53}, {kChannelGateway, kControlPort}, {}));
  EXPECT_EQ(channel_.counters().unknown_sender, 1u);
}

// As the tunnel joins what comes together. One after the other they would read
// as a message, too: the fields of both.
TEST_F(ControlChannelTest, joined_datagrams_are_taken_apart) {
  channel_.Add(kFirstHost, 7);
  const auto payload_of = [](const std::vector<uint8_t>& packet) {
    return std::vector<uint8_t>(packet.begin() + ParseIp(packet)->payload_offset, packet.end());
  };
  agent_.status().set_program_pid(5);
  std::vector<uint8_t> both = payload_of(agent_.Say(proto::InstanceStatus::RUNNING));
  const size_t first = both.size();
  agent_.status().set_program_pid(0);
  const std::vector<uint8_t> second = payload_of(agent_.Say(proto::InstanceStatus::RELEASING));
  both.insert(both.end(), second.begin(), second.end());
  TestPacket packet(BuildUdp({kFirstHost, kControlPort}, {kChannelGateway, kControlPort}, both));
  packet.packet().segment_size = static_cast<uint16_t>(first);
  channel_.OnPacket(packet.packet(), packet.view(), now_);
  EXPECT_EQ(recorder_.count, 2);
  EXPECT_EQ(recorder_.newest[kFirstHost].state(), proto::InstanceStatus::RELEASING);
  EXPECT_EQ(recorder_.newest[kFirstHost].program_pid(), 0u);
}

TEST_F(ControlChannelTest, desired_state_is_repeated_until_acknowledged) {
  channel_.Add(kFirstHost, 7);
  proto::DesiredState desired;
  desired.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
  channel_.SetDesired(kFirstHost, desired, now_);
  ASSERT_EQ(Sent().size(), 1u);
  // A status that does not know of it changes nothing.
  Receive(agent_.Say(proto::InstanceStatus::PAUSED));
  EXPECT_FALSE(recorder_.known[kFirstHost]);
  Sent();
  for (int i = 0; i < 8; ++i) {
    now_ = channel_.NextDeadline();
    const PacketBatch sent = Sent();
    ASSERT_EQ(sent.size(), 1u);
    if (i < 7) continue;
    for (const auto& answer : agent_.Take(sent[0].bytes())) Receive(answer);
  }
  EXPECT_TRUE(recorder_.known[kFirstHost]);
  EXPECT_EQ(agent_.desired().goal(), proto::DesiredState::RELEASE_IF_IDLE);
  Sent();  // the acknowledgment
  EXPECT_EQ(channel_.NextDeadline(), kNever);
}

TEST_F(ControlChannelTest, a_long_detail_is_cut_between_characters) {
  channel_.Add(kFirstHost, 7);
  proto::DesiredState desired;
  std::string detail = "x";
  while (detail.size() < 5000) detail += "ä";
  desired.mutable_wake_cause()->set_detail(detail);
  channel_.SetDesired(kFirstHost, desired, now_);
  const PacketBatch sent = Sent();
  ASSERT_EQ(sent.size(), 1u);
  agent_.Take(sent[0].bytes());
  EXPECT_EQ(agent_.desired().wake_cause().detail().size(), 199u);
}

// ---- a lossy link -----------------------------------------------------------

// Some hosts come, go, are introduced and withdrawn at random, over a link
// that loses, doubles and delays; then the noise ends, and everybody must know
// exactly what they are to know.
class LossyLink {
 public:
  explicit LossyLink(uint64_t seed) : random_(seed) {}

  void Run() {
    for (int step = 0; step < 3000; ++step) {
      Act();
      Advance(milliseconds(random_.Below(20)));
    }
    noisy_ = false;
    for (int i = 0; i < 200; ++i) {
      for (const auto& [host, agent] : agents_) {
        if (!agent.acknowledged()) Send(host, false, agent.Repeat());
      }
      Advance(milliseconds(100));
    }
    Check();
  }

 private:
  struct Flight {
    size_t host;
    uint64_t incarnation;
    bool to_agent;
    std::vector<uint8_t> bytes;
  };
  static constexpr size_t kHosts = 6;

  void Act() {
    const size_t i = random_.Below(kHosts);
    const size_t j = random_.Below(kHosts);
    const bool up = agents_.contains(i);
    switch (random_.Below(8)) {
      case 0:
        if (up) {
          Stop(i);
        } else {
          Start(i);
        }
        break;
      case 1:
        if (!up || withdrawing_.contains(i)) break;
        withdrawing_.insert(i);
        introductions_.Withdraw(HostAddress(i), now_, now_ + seconds(1), [this, i] {
          // Unless the deadline passed, nobody knows it any more.
          if (now_ < deadlines_[i]) {
            for (const auto& [other, agent] : agents_) {
              EXPECT_FALSE(agent.peers().contains(HostAddress(i)));
            }
          }
        });
        deadlines_[i] = now_ + seconds(1);
        break;
      case 2:
        if (!withdrawing_.erase(i)) break;
        introductions_.Resume(HostAddress(i));
        break;
      case 3:
        if (!up) break;
        ++goals_[i];
        SetDesired(i);
        break;
      case 4:
        if (up) Send(i, false, agents_.at(i).SayAgain());
        break;
      default:
        introductions_.Introduce(HostAddress(i), HostAddress(j), now_);
        if (up && i != j && agents_.contains(j) && !withdrawing_.contains(i) &&
            !withdrawing_.contains(j)) {
          introduced_.insert({std::min(i, j), std::max(i, j)});
        }
    }
  }

  void SetDesired(size_t i) {
    proto::DesiredState desired;
    desired.set_suspend_requests(goals_[i]);
    channel_.SetDesired(HostAddress(i), desired, now_);
  }

  void Start(size_t i) {
    const uint64_t incarnation = ++incarnations_[i] + 100 * i;
    current_[i] = incarnation;
    agents_.emplace(i, TestAgent(HostAddress(i), kChannelGateway, incarnation));
    channel_.Add(HostAddress(i), incarnation);
    introductions_.Join(HostAddress(i), KeyOfIncarnation(incarnation), false);
    introductions_.SetEndpoint(HostAddress(i), {IpAddress::V4(0x7f000001), 1000}, now_);
    goals_[i] = 0;
  }

  void Stop(size_t i) {
    agents_.erase(i);
    current_.erase(i);
    channel_.Remove(HostAddress(i));
    withdrawing_.erase(i);
    introductions_.Leave(HostAddress(i), now_);
    for (auto it = introduced_.begin(); it != introduced_.end();) {
      it = it->first == i || it->second == i ? introduced_.erase(it) : std::next(it);
    }
  }

  void Send(size_t i, bool to_agent, std::vector<uint8_t> bytes) {
    const int copies = noisy_ ? static_cast<int>(random_.Below(3)) : 1;
    for (int c = 0; c < copies; ++c) {
      const auto delay = milliseconds(noisy_ ? random_.Below(200) : 1);
      flights_.emplace(now_ + delay, Flight{i, current_[i], to_agent, bytes});
    }
  }

  void Advance(Duration by) {
    const Instant end = now_ + by;
    while (true) {
      Flush();
      Instant next = channel_.NextDeadline();
      if (!flights_.empty()) next = std::min(next, flights_.begin()->first);
      if (next > end) break;
      now_ = std::max(now_, next);
      introductions_.OnTimer(now_);
      while (!flights_.empty() && flights_.begin()->first <= now_) {
        const Flight flight = std::move(flights_.begin()->second);
        flights_.erase(flights_.begin());
        Arrive(flight);
      }
    }
    now_ = end;
  }

  void Flush() {
    PacketBatch out;
    channel_.Flush(now_, out);
    for (const Packet& packet : out) {
      const uint32_t host = ParseIp(packet.bytes())->destination.v4() - HostAddress(0).v4();
      Send(host, true, {packet.data, packet.data + packet.size});
    }
  }

  void Arrive(const Flight& flight) {
    if (flight.to_agent) {
      const auto it = agents_.find(flight.host);
      if (it == agents_.end()) return;
      for (const auto& answer : it->second.Take(flight.bytes)) Send(flight.host, false, answer);
      EXPECT_LE(it->second.largest_message(), kControlBytesMax);
    } else {
      TestPacket packet(flight.bytes);
      channel_.OnPacket(packet.packet(), packet.view(), now_);
    }
  }

  void Check() {
    for (auto& [i, agent] : agents_) {
      EXPECT_EQ(agent.desired().suspend_requests(), goals_[i]);
      EXPECT_TRUE(agent.acknowledged());
      std::map<IpAddress, std::string> expected;
      for (const auto& [a, b] : introduced_) {
        const size_t other = a == i ? b : a;
        if (a != i && b != i) continue;
        // Its own withdrawal takes a host from the others, not the others
        // from it.
        if (!introductions_.Knows(HostAddress(i), HostAddress(other))) continue;
        expected[HostAddress(other)] = std::string(KeyOfIncarnation(current_[other]).raw());
      }
      ASSERT_EQ(agent.peers().size(), expected.size());
      for (const auto& [address, key] : expected) EXPECT_EQ(agent.peers().at(address).key, key);
      for (const size_t gone : withdrawing_) {
        EXPECT_FALSE(agent.peers().contains(HostAddress(gone)));
      }
    }
    EXPECT_EQ(channel_.NextDeadline(), kNever);
  }

  SeededRandom random_;
  bool noisy_ = true;
  Instant now_ = Instant(seconds(1000));
  Recorder recorder_;
  Introductions introductions_{Introductions::Times(), 0};
  ControlChannel channel_{kChannelGateway, ControlChannel::Times(), 0, introductions_, recorder_};
  std::map<size_t, TestAgent> agents_;
  std::map<size_t, uint64_t> incarnations_;
  std::map<size_t, uint64_t> current_;
  std::map<size_t, uint64_t> goals_;
  std::map<size_t, Instant> deadlines_;
  std::set<size_t> withdrawing_;
  std::set<std::pair<size_t, size_t>> introduced_;
  std::multimap<Instant, Flight> flights_;
};

TEST(LossyLinkTest, everybody_knows_in_the_end_what_they_are_to_know) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    LossyLink(seed).Run();
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace im::orchestrator
