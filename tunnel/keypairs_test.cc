#include "tunnel/keypairs.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

using std::chrono::seconds;

const Instant kKeysBegin = Instant(seconds(1000));

class KeypairsTest : public ::testing::Test {
 protected:
  std::unique_ptr<Session> Make(uint32_t index, bool initiator, Instant born = kKeysBegin) {
    return std::make_unique<Session>(
        Session::Parameters{.local_index = index, .initiator = initiator, .born = born},
        TransportKeys(), limits);
  }
  // Local indices of next, current, previous and, if there is one, older; 0: none.
  std::vector<uint32_t> Places() const {
    std::vector<uint32_t> places;
    for (const Session* session : {pairs.next(), pairs.current(), pairs.previous()})
      places.push_back(session == nullptr ? 0 : session->local_index());
    if (pairs.older() != nullptr) places.push_back(pairs.older()->local_index());
    return places;
  }
  std::vector<uint32_t> RetiredIndices() const {
    std::vector<uint32_t> indices;
    for (const auto& session : retired) indices.push_back(session->local_index());
    return indices;
  }
  using Indices = std::vector<uint32_t>;

  SessionLimits limits{.rekey_after = seconds(120),
                       .reject_after = seconds(180),
                       .rekey_on_receive_after = seconds(165)};
  Keypairs pairs;
  Keypairs::Retired retired;
};

TEST_F(KeypairsTest, AnInitiatorsSessionIsCurrentAtOnce) {
  pairs.BeginAsInitiator(Make(1, true), retired);
  EXPECT_EQ(Places(), (Indices{0, 1, 0}));
  pairs.BeginAsInitiator(Make(2, true, kKeysBegin + seconds(120)), retired);
  EXPECT_EQ(Places(), (Indices{0, 2, 1}));
  pairs.BeginAsInitiator(Make(3, true, kKeysBegin + seconds(240)), retired);
  EXPECT_EQ(Places(), (Indices{0, 3, 2}));
  EXPECT_EQ(RetiredIndices(), (Indices{1}));
}

TEST_F(KeypairsTest, ARespondersSessionWaitsForAMessage) {
  pairs.BeginAsInitiator(Make(1, true), retired);
  pairs.BeginAsResponder(Make(2, false, kKeysBegin + seconds(120)), retired);
  EXPECT_EQ(Places(), (Indices{2, 1, 0}));
  EXPECT_FALSE(pairs.ReceivedOn(*pairs.current(), false, seconds(5), retired));
  EXPECT_TRUE(pairs.ReceivedOn(*pairs.next(), false, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 2, 1}));
  // What is under way under the previous one is still read.
  pairs.BeginAsResponder(Make(3, false, kKeysBegin + seconds(240)), retired);
  EXPECT_EQ(Places(), (Indices{3, 2, 1}));
  pairs.BeginAsResponder(Make(4, false, kKeysBegin + seconds(240)), retired);
  EXPECT_EQ(Places(), (Indices{4, 2, 1}));
  EXPECT_EQ(RetiredIndices(), (Indices{3}));
  EXPECT_TRUE(pairs.ReceivedOn(*pairs.next(), false, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 4, 2}));
  EXPECT_EQ(RetiredIndices(), (Indices{3, 1}));
}

TEST_F(KeypairsTest, AnUnconfirmedSessionIsKeptBesideOurOwn) {
  pairs.BeginAsInitiator(Make(1, true), retired);
  pairs.BeginAsResponder(Make(2, false), retired);
  pairs.BeginAsInitiator(Make(3, true, kKeysBegin + seconds(120)), retired);
  // Under the first there may be packets under way, however old the second.
  EXPECT_EQ(Places(), (Indices{0, 3, 2, 1}));
  EXPECT_FALSE(pairs.ReceivedOn(*pairs.older(), true, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 3, 2, 1}));
  EXPECT_EQ(RetiredIndices(), (Indices{}));
  pairs.BeginAsInitiator(Make(4, true, kKeysBegin + seconds(240)), retired);
  EXPECT_EQ(Places(), (Indices{0, 4, 3}));
  EXPECT_EQ(RetiredIndices(), (Indices{1, 2}));
}

TEST_F(KeypairsTest, ThreeInOneRoundTripAreAllRead) {
  pairs.BeginAsInitiator(Make(1, true), retired);
  pairs.BeginAsInitiator(Make(2, true, kKeysBegin + seconds(120)), retired);
  pairs.BeginAsResponder(Make(3, false, kKeysBegin + seconds(121)), retired);
  ASSERT_TRUE(pairs.ReceivedOn(*pairs.next(), false, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 3, 2, 1}));
  EXPECT_EQ(RetiredIndices(), (Indices{}));
}

TEST_F(KeypairsTest, OfTwoThatCrossedTheSmallerKeysIsTaken) {
  pairs.BeginAsResponder(Make(1, false), retired);
  pairs.BeginAsInitiator(Make(2, true), retired);
  ASSERT_EQ(Places(), (Indices{0, 2, 1}));
  EXPECT_FALSE(pairs.ReceivedOn(*pairs.previous(), false, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 2, 1}));
  EXPECT_FALSE(pairs.ReceivedOn(*pairs.previous(), true, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 1, 2}));
  // And back again never: we initiated the other one.
  EXPECT_FALSE(pairs.ReceivedOn(*pairs.previous(), true, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 1, 2}));
}

TEST_F(KeypairsTest, TheSmallerKeysIsTakenBackFromOneThatWasConfirmedLater) {
  pairs.BeginAsInitiator(Make(1, true), retired);
  pairs.BeginAsResponder(Make(2, false), retired);
  ASSERT_TRUE(pairs.ReceivedOn(*pairs.next(), false, seconds(5), retired));
  ASSERT_EQ(Places(), (Indices{0, 2, 1}));
  EXPECT_FALSE(pairs.ReceivedOn(*pairs.previous(), false, seconds(5), retired));
  EXPECT_EQ(Places(), (Indices{0, 1, 2}));
}

TEST_F(KeypairsTest, ARealPredecessorIsNeverTakenBack) {
  pairs.BeginAsResponder(Make(1, false), retired);
  ASSERT_TRUE(pairs.ReceivedOn(*pairs.next(), true, seconds(5), retired));
  pairs.BeginAsInitiator(Make(2, true, kKeysBegin + seconds(120)), retired);
  pairs.ReceivedOn(*pairs.previous(), true, seconds(5), retired);
  EXPECT_EQ(Places(), (Indices{0, 2, 1}));
}

TEST_F(KeypairsTest, ClearRetiresAll) {
  pairs.BeginAsInitiator(Make(1, true), retired);
  pairs.BeginAsInitiator(Make(2, true), retired);
  pairs.BeginAsResponder(Make(3, false), retired);
  pairs.Clear(retired);
  EXPECT_EQ(Places(), (Indices{0, 0, 0}));
  EXPECT_EQ(retired.size(), 3u);
}

TEST_F(KeypairsTest, ASessionDiesByTimeAndByMessages) {
  limits.rekey_after_messages = 2;
  limits.reject_after_messages = 4;
  const auto session = Make(1, true);
  EXPECT_EQ(session->messages_left(kKeysBegin), 4u);
  EXPECT_FALSE(session->used());
  EXPECT_EQ(session->TakeCounter(), 0u);
  EXPECT_TRUE(session->used());
  EXPECT_FALSE(session->WantsRekeyAfterSend(kKeysBegin));
  EXPECT_EQ(session->TakeCounter(), 1u);
  EXPECT_TRUE(session->WantsRekeyAfterSend(kKeysBegin));
  EXPECT_EQ(session->messages_left(kKeysBegin), 2u);
  EXPECT_EQ(session->messages_left(kKeysBegin + seconds(180)), 0u);
  EXPECT_TRUE(session->CanReceive(kKeysBegin + seconds(180) - Duration(1)));
  EXPECT_FALSE(session->CanReceive(kKeysBegin + seconds(180)));
  session->TakeCounter();
  session->TakeCounter();
  EXPECT_FALSE(session->CanSend(kKeysBegin));
  EXPECT_TRUE(session->MayAccept(3));
  EXPECT_FALSE(session->MayAccept(4));
}

TEST_F(KeypairsTest, OnlyTheInitiatorRenewsByTime) {
  const auto ours = Make(1, true);
  const auto theirs = Make(2, false);
  EXPECT_FALSE(ours->WantsRekeyAfterSend(kKeysBegin + seconds(120) - Duration(1)));
  EXPECT_TRUE(ours->WantsRekeyAfterSend(kKeysBegin + seconds(120)));
  EXPECT_FALSE(theirs->WantsRekeyAfterSend(kKeysBegin + seconds(179)));
  EXPECT_FALSE(ours->WantsRekeyAfterReceive(kKeysBegin + seconds(164)));
  EXPECT_TRUE(ours->WantsRekeyAfterReceive(kKeysBegin + seconds(165)));
  EXPECT_FALSE(theirs->WantsRekeyAfterReceive(kKeysBegin + seconds(179)));
}

}  // namespace
}  // namespace im::tunnel
