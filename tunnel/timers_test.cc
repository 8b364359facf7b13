#include "tunnel/timers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tunnel/deadline_heap.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Instant kBegin = Instant(seconds(1000));

class TimersTest : public ::testing::Test {
 protected:
  ProtocolTimes times{1};
  SeededRandom random{5};
  PeerTimers timers{times};
};

TEST_F(TimersTest, NothingIsPendingAtFirst) {
  EXPECT_EQ(timers.next(), kNever);
  EXPECT_FALSE(timers.PopDue(kBegin));
}

TEST_F(TimersTest, AnAttemptIsEighteenInitiationsFiveSecondsAndJitterApart) {
  Instant now = kBegin;
  int sent = 0;
  timers.StartAttempt();
  do {
    timers.OnInitiationSent(now, random);
    ++sent;
    EXPECT_GE(timers.next() - now, seconds(5));
    EXPECT_LE(timers.next() - now, seconds(5) + kHandshakeJitterMax);
    now = timers.next();
    EXPECT_EQ(timers.PopDue(now), PeerTimer::kRetransmit);
  } while (!timers.attempt_exhausted());
  EXPECT_EQ(sent, 18);
  EXPECT_GE(now - kBegin, kRekeyAttemptTime);
}

TEST_F(TimersTest, KeepaliveIsTimedFromTheFirstDataThatIsNotAnswered) {
  timers.OnDataReceived(kBegin);
  timers.OnDataReceived(kBegin + seconds(9));
  EXPECT_EQ(timers.next(), kBegin + seconds(10));
  timers.OnAuthenticSent(kBegin + seconds(9));
  EXPECT_EQ(timers.next(), kNever);
  timers.OnDataReceived(kBegin + seconds(20));
  EXPECT_EQ(timers.next(), kBegin + seconds(30));
}

TEST_F(TimersTest, ANewHandshakeIsTimedFromTheFirstDataThatIsNotAnswered) {
  timers.OnDataSent(kBegin, random);
  const Instant first = timers.next();
  EXPECT_GE(first, kBegin + seconds(15));
  EXPECT_LE(first, kBegin + seconds(15) + kHandshakeJitterMax);
  timers.OnDataSent(kBegin + seconds(3), random);
  EXPECT_EQ(timers.next(), first);
  timers.OnAuthenticReceived(kBegin + seconds(4));
  EXPECT_EQ(timers.next(), kNever);
}

TEST_F(TimersTest, TheJitterOfANewHandshakeIsDrawnOnceInASession) {
  const auto wait = [&] {
    timers.OnDataSent(kBegin, random);
    const Duration drawn = timers.next() - kBegin;
    timers.OnAuthenticReceived(kBegin);
    return drawn;
  };
  const Duration first = wait();
  EXPECT_EQ(wait(), first);
  timers.OnHandshakeComplete();
  EXPECT_NE(wait(), first);
}

TEST_F(TimersTest, PersistentKeepaliveFollowsAnyAuthenticMessage) {
  timers.SetPersistentKeepalive(seconds(25), kBegin);
  EXPECT_EQ(timers.next(), kBegin + seconds(25));
  timers.OnAuthenticSent(kBegin + seconds(1));
  EXPECT_EQ(timers.next(), kBegin + seconds(26));
  timers.OnAuthenticReceived(kBegin + seconds(2));
  EXPECT_EQ(timers.next(), kBegin + seconds(27));
  timers.SetPersistentKeepalive(seconds(0), kBegin + seconds(3));
  EXPECT_EQ(timers.next(), kNever);
  timers.OnAuthenticSent(kBegin + seconds(4));
  EXPECT_EQ(timers.next(), kNever);
}

TEST_F(TimersTest, GivingUpLeavesTheKeysToBeForgotten) {
  timers.OnInitiationSent(kBegin, random);
  timers.OnDataReceived(kBegin);
  timers.OnGivenUp(kBegin + seconds(90));
  EXPECT_EQ(timers.next(), kBegin + seconds(90 + 3 * 180));
  // An earlier date stays.
  timers.OnSessionMade(kBegin);
  timers.OnGivenUp(kBegin + seconds(100));
  EXPECT_EQ(timers.next(), kBegin + seconds(3 * 180));
}

TEST_F(TimersTest, DueTimersComeOnceEarliestFirst) {
  timers.OnDataSent(kBegin, random);
  timers.OnDataReceived(kBegin);
  timers.OnSessionCurrent(kBegin + seconds(180));
  const Instant later = kBegin + seconds(60);
  EXPECT_EQ(timers.PopDue(later), PeerTimer::kKeepalive);
  EXPECT_EQ(timers.PopDue(later), PeerTimer::kNewHandshake);
  EXPECT_EQ(timers.PopDue(later), std::nullopt);
  EXPECT_EQ(timers.next(), kBegin + seconds(180));
}

TEST_F(TimersTest, ADivisorShortensEverythingButNotToNothing) {
  const ProtocolTimes shorter(100);
  EXPECT_EQ(shorter.rekey_after, milliseconds(1200));
  const ProtocolTimes shortest(1 << 30);
  EXPECT_EQ(shortest.rekey_timeout, milliseconds(1));
}

TEST(DeadlineHeapTest, AgreesWithASearch) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SeededRandom random(seed);
    DeadlineHeap heap;
    std::vector<Instant> model(50, kNever);
    for (int step = 0; step < 5000; ++step) {
      const auto owner = static_cast<uint32_t>(random.Below(model.size()));
      const Instant at =
          random.Below(3) == 0 ? kNever : Instant(seconds(random.Below(1000)));
      heap.Set(owner, at);
      model[owner] = at;
      const Instant earliest = *std::min_element(model.begin(), model.end());
      ASSERT_EQ(heap.next(), earliest) << "seed " << seed << " step " << step;
      if (earliest != kNever) {
        ASSERT_EQ(model[heap.next_owner()], earliest);
      }
      ASSERT_EQ(heap.size(), model.size() - static_cast<size_t>(
                                                std::count(model.begin(), model.end(), kNever)));
    }
  }
}

}  // namespace
}  // namespace im::tunnel
