#include "orchestrator/introductions.h"

#include <gtest/gtest.h>

#include <chrono>

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const IpAddress kA = IpAddress::V4(0x0a4d0002);
const IpAddress kB = IpAddress::V4(0x0a4d0003);
const IpAddress kC = IpAddress::V4(0x0a4d0004);

Endpoint EndpointOf(const IpAddress& address) {
  return {IpAddress::V4(0x7f000001), static_cast<uint16_t>(10'000 + (address.v4() & 0xff))};
}

tunnel::PublicKey KeyOf(const IpAddress& address) {
  tunnel::PublicKey key;
  key.bytes[0] = static_cast<uint8_t>(address.v4());
  return key;
}

class IntroductionsTest : public testing::Test {
 protected:
  void Join(const IpAddress& address, bool adopted = false) {
    introductions_.Join(address, KeyOf(address), adopted);
    introductions_.SetEndpoint(address, EndpointOf(address), now_);
  }
  // What is due to `to`.
  std::vector<proto::PeerUpdate> Due(const IpAddress& to, size_t bytes_max = 100'000) {
    proto::ToAgent message;
    introductions_.TakeDue(to, now_, bytes_max, message);
    return {message.peers().begin(), message.peers().end()};
  }
  void AcknowledgeAll(const IpAddress& to) {
    for (const proto::PeerUpdate& update : Due(to)) {
      introductions_.Acknowledge(to, update.version());
    }
  }
  void Withdraw(const IpAddress& subject) {
    introductions_.Withdraw(subject, now_, now_ + seconds(1), [this] { ++done_; });
  }

  Instant now_ = Instant(seconds(1000));
  Introductions introductions_{Introductions::Times(), 100};
  int done_ = 0;
};

TEST_F(IntroductionsTest, both_learn_of_each_other) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  const auto to_a = Due(kA);
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_EQ(to_a[0].endpoint(), EndpointOf(kB).ToString());
  EXPECT_EQ(to_a[0].public_key(), std::string(KeyOf(kB).raw()));
  EXPECT_FALSE(to_a[0].withdrawn());
  EXPECT_GT(to_a[0].version(), 100u);
  const auto to_b = Due(kB);
  ASSERT_EQ(to_b.size(), 1u);
  EXPECT_EQ(to_b[0].endpoint(), EndpointOf(kA).ToString());
}

TEST_F(IntroductionsTest, nothing_before_both_endpoints_are_known) {
  Join(kA);
  introductions_.Join(kB, KeyOf(kB), false);
  introductions_.Introduce(kA, kB, now_);
  EXPECT_FALSE(introductions_.NextRecipient(now_).has_value());
}

TEST_F(IntroductionsTest, repeats_ever_slower_until_acknowledged) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  const uint64_t version = Due(kA)[0].version();
  AcknowledgeAll(kB);
  Duration wait(0);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(Due(kA).empty());
    const Duration next = introductions_.NextDeadline() - now_;
    EXPECT_GE(next, wait);
    EXPECT_LE(next, seconds(2));
    wait = next;
    now_ += next;
    EXPECT_EQ(introductions_.NextRecipient(now_), kA);
    const auto again = Due(kA);
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0].version(), version);
  }
  introductions_.Acknowledge(kA, version);
  EXPECT_EQ(introductions_.NextDeadline(), kNever);
  EXPECT_TRUE(introductions_.Knows(kA, kB));
}

TEST_F(IntroductionsTest, who_has_forgotten_one_can_be_told_again) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  AcknowledgeAll(kA);
  Withdraw(kB);
  const uint64_t first = Due(kA)[0].version();
  introductions_.Acknowledge(kA, first);
  introductions_.Leave(kB, now_);
  EXPECT_TRUE(Due(kA).empty());
  introductions_.TellGone(kA, kB, now_);
  const auto again = Due(kA);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_TRUE(again[0].withdrawn());
  EXPECT_TRUE(again[0].gone());
  EXPECT_GT(again[0].version(), first);
  introductions_.Acknowledge(kA, again[0].version());
  EXPECT_EQ(introductions_.NextDeadline(), kNever);
  introductions_.TellGone(kC, kB, now_);  // who is not there is not told
  EXPECT_EQ(introductions_.NextDeadline(), kNever);
}

TEST_F(IntroductionsTest, an_old_acknowledgment_does_not_stop_the_newest) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  const uint64_t old_version = Due(kA)[0].version();
  Withdraw(kB);
  introductions_.Acknowledge(kA, old_version);
  const auto to_a = Due(kA);
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_TRUE(to_a[0].withdrawn());
  EXPECT_EQ(done_, 0);
}

TEST_F(IntroductionsTest, withdrawal_is_done_when_all_have_acknowledged) {
  for (const IpAddress& each : {kA, kB, kC}) Join(each);
  introductions_.Introduce(kA, kB, now_);
  introductions_.Introduce(kC, kB, now_);
  for (const IpAddress& each : {kA, kB, kC}) AcknowledgeAll(each);
  Withdraw(kB);
  AcknowledgeAll(kA);
  AcknowledgeAll(kC);
  EXPECT_EQ(introductions_.KnownBy(kB), 0u);
  EXPECT_EQ(done_, 0);
  const auto to_b = Due(kB);  // it is to forget the others, too
  ASSERT_EQ(to_b.size(), 2u);
  for (const proto::PeerUpdate& update : to_b) {
    EXPECT_TRUE(update.withdrawn());
    introductions_.Acknowledge(kB, update.version());
  }
  EXPECT_EQ(done_, 1);
  // Not known to anybody until it is resumed.
  introductions_.Introduce(kA, kB, now_);
  EXPECT_FALSE(introductions_.NextRecipient(now_).has_value());
  introductions_.Resume(kB);
  introductions_.Introduce(kA, kB, now_);
  EXPECT_TRUE(introductions_.Knows(kA, kB));
}

TEST_F(IntroductionsTest, withdrawal_of_an_unknown_host_is_done_at_once) {
  Join(kA);
  Withdraw(kA);
  EXPECT_EQ(done_, 1);
}

TEST_F(IntroductionsTest, withdrawal_ends_at_its_deadline_but_is_repeated) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  AcknowledgeAll(kA);
  AcknowledgeAll(kB);
  Withdraw(kB);
  EXPECT_EQ(Due(kA).size(), 1u);
  now_ += seconds(1);
  introductions_.OnTimer(now_);
  EXPECT_EQ(done_, 1);
  AcknowledgeAll(kA);
  AcknowledgeAll(kB);
  EXPECT_EQ(introductions_.NextDeadline(), kNever);
  EXPECT_EQ(done_, 1);
}

TEST_F(IntroductionsTest, withdrawal_does_not_wait_for_one_who_left) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  Withdraw(kB);
  introductions_.Leave(kA, now_);
  AcknowledgeAll(kB);
  EXPECT_EQ(done_, 1);
}

TEST_F(IntroductionsTest, resumed_in_the_middle_calls_nothing) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  Withdraw(kB);
  introductions_.Resume(kB);
  AcknowledgeAll(kA);
  now_ += seconds(2);
  introductions_.OnTimer(now_);
  EXPECT_EQ(done_, 0);
}

TEST_F(IntroductionsTest, the_next_incarnation_is_told_with_its_own_key) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  AcknowledgeAll(kA);
  introductions_.Leave(kB, now_);
  EXPECT_FALSE(introductions_.Knows(kA, kB));
  introductions_.Join(kB, KeyOf(kC), false);
  introductions_.SetEndpoint(kB, EndpointOf(kC), now_);
  introductions_.Introduce(kB, kA, now_);
  const auto to_a = Due(kA);
  ASSERT_EQ(to_a.size(), 1u);  // the withdrawal was overtaken
  EXPECT_FALSE(to_a[0].withdrawn());
  EXPECT_EQ(to_a[0].public_key(), std::string(KeyOf(kC).raw()));
}

TEST_F(IntroductionsTest, an_endpoint_introduces_nobody_who_was_to_forget) {
  Join(kA);
  Join(kB);
  introductions_.Introduce(kA, kB, now_);
  introductions_.Leave(kB, now_);
  Join(kB);
  const auto to_a = Due(kA);
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_TRUE(to_a[0].withdrawn());
}

TEST_F(IntroductionsTest, a_changed_endpoint_is_told_to_those_who_know_it) {
  for (const IpAddress& each : {kA, kB, kC}) Join(each);
  introductions_.Introduce(kA, kB, now_);
  AcknowledgeAll(kA);
  AcknowledgeAll(kB);
  introductions_.SetEndpoint(kB, EndpointOf(kC), now_);
  ASSERT_EQ(Due(kA).size(), 1u);
  EXPECT_TRUE(Due(kC).empty());
  EXPECT_TRUE(Due(kB).empty());
}

TEST_F(IntroductionsTest, packets_that_still_come_by_the_gateway_nudge_ever_more_rarely) {
  Join(kA);
  Join(kB);
  int told = 0;
  const Instant end = now_ + minutes(20);
  for (; now_ < end; now_ += milliseconds(500)) {
    introductions_.Introduce(kA, kB, now_);
    if (introductions_.NextRecipient(now_)) ++told;
    AcknowledgeAll(kA);
    AcknowledgeAll(kB);
  }
  EXPECT_GE(told, 6);
  EXPECT_LE(told, 12);
  // Long after, it begins anew.
  now_ += minutes(30);
  introductions_.Introduce(kA, kB, now_);
  AcknowledgeAll(kA);
  AcknowledgeAll(kB);
  now_ += seconds(6);
  introductions_.Introduce(kA, kB, now_);
  EXPECT_TRUE(introductions_.NextRecipient(now_).has_value());
}

TEST_F(IntroductionsTest, after_a_restart_all_adopted_ones_are_told_of_a_withdrawal) {
  Join(kA, /*adopted=*/true);
  Join(kB, /*adopted=*/true);
  Join(kC);
  introductions_.Leave(kB, now_);
  const auto to_a = Due(kA);
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_TRUE(to_a[0].withdrawn());
  EXPECT_TRUE(Due(kC).empty());
  introductions_.Acknowledge(kA, to_a[0].version());
  // A new incarnation is nothing that they might know of.
  Join(kB);
  introductions_.Leave(kB, now_);
  EXPECT_TRUE(Due(kA).empty());
}

TEST_F(IntroductionsTest, many_updates_are_split_into_bounded_messages) {
  Join(kA);
  for (uint32_t i = 0; i < 100; ++i) {
    const IpAddress other = IpAddress::V4(0x0a4d0100 + i);
    Join(other);
    introductions_.Introduce(kA, other, now_);
  }
  size_t total = 0;
  while (true) {
    proto::ToAgent message;
    if (!introductions_.TakeDue(kA, now_, 1000, message)) break;
    EXPECT_LE(message.ByteSizeLong(), 1000u);
    total += static_cast<size_t>(message.peers_size());
  }
  EXPECT_EQ(total, 100u);
}

}  // namespace
}  // namespace im::orchestrator
