#include "netstack/sack_scoreboard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>


#include "base/random.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;

Instant At(int ms) { return Instant(std::chrono::seconds(1)) + milliseconds(ms); }

class SackScoreboardTest : public ::testing::Test {
 protected:
  // Segments of 100 bytes from 1000 on, one a millisecond.
  void SendTen() {
    for (uint32_t i = 0; i < 10; ++i)
      board_.OnSent(1000 + 100 * i, 1100 + 100 * i, At(static_cast<int>(i)));
  }
  SackScoreboard::Delivery Acknowledge(uint32_t upto, std::vector<SackBlock> blocks, int at) {
    return board_.OnAcknowledged(upto, blocks, milliseconds(0), At(at));
  }
  SackScoreboard board_;
};

TEST_F(SackScoreboardTest, CountsWhatIsUnderWay) {
  EXPECT_TRUE(board_.empty());
  SendTen();
  EXPECT_EQ(board_.outstanding_bytes(), 1000u);
  EXPECT_EQ(Acknowledge(1200, {}, 50).bytes, 200u);
  EXPECT_EQ(board_.outstanding_bytes(), 800u);
  EXPECT_EQ(Acknowledge(1200, {{1300, 1500}}, 51).bytes, 200u);
  EXPECT_EQ(board_.sacked_bytes(), 200u);
  EXPECT_EQ(board_.pipe_bytes(), 600u);
  EXPECT_EQ(Acknowledge(2000, {}, 60).bytes, 600u);  // those sacked counted before
  EXPECT_TRUE(board_.empty());
  EXPECT_EQ(board_.sacked_bytes() + board_.lost_bytes() + board_.outstanding_bytes(), 0u);
}

TEST_F(SackScoreboardTest, BlocksCountOnce) {
  SendTen();
  EXPECT_EQ(Acknowledge(1000, {{1300, 1500}, {1300, 1500}}, 50).bytes, 200u);
  EXPECT_EQ(Acknowledge(1000, {{1300, 1600}}, 51).bytes, 100u);
}

TEST_F(SackScoreboardTest, NonsenseIsNotBelieved) {
  SendTen();
  EXPECT_EQ(Acknowledge(1000, {{1500, 1300}, {5000, 6000}, {0, 500}, {1310, 1390}}, 50).bytes, 0u);
  EXPECT_EQ(board_.pipe_bytes(), 1000u);
  // Nothing is lost behind what was never sent.
  EXPECT_EQ(Acknowledge(1000, {{1900, 90'000}}, 50).bytes, 100u);
}

TEST_F(SackScoreboardTest, MeasuresTheRoundTripOfTheYoungest) {
  SendTen();
  EXPECT_EQ(Acknowledge(1300, {}, 52).rtt, milliseconds(50));
  EXPECT_EQ(Acknowledge(1300, {{1500, 1600}}, 55).rtt, milliseconds(50));
  // One that was sent twice tells nothing.
  board_.OnSent(1300, 1400, At(60));
  EXPECT_EQ(Acknowledge(1400, {}, 100).rtt, std::nullopt);
}

TEST_F(SackScoreboardTest, TellsLossFromReorderingByTime) {
  SendTen();
  const auto delivery = Acknowledge(1000, {{1500, 1600}}, 30);
  EXPECT_EQ(delivery.sent_at, At(5));
  // Those sent at 0..4; patience for 27 ms: by 30 those of 0..3 are overdue.
  auto losses = board_.DetectLosses(delivery.sent_at, delivery.end, milliseconds(27), At(30));
  EXPECT_EQ(losses.bytes, 400u);
  EXPECT_EQ(losses.next, At(31));
  EXPECT_EQ(board_.pipe_bytes(), 500u);
  losses = board_.DetectLosses(delivery.sent_at, delivery.end, milliseconds(27), At(31));
  EXPECT_EQ(losses.bytes, 100u);
  EXPECT_EQ(losses.next, kNever);
}

TEST_F(SackScoreboardTest, ARetransmissionCanBeLostToo) {
  SendTen();
  auto delivery = Acknowledge(1000, {{1100, 1300}}, 30);
  EXPECT_EQ(board_.DetectLosses(delivery.sent_at, delivery.end, milliseconds(0), At(30)).bytes,
            100u);
  board_.OnSent(1000, 1100, At(30));
  EXPECT_EQ(board_.lost_bytes(), 0u);
  EXPECT_EQ(board_.DetectLosses(delivery.sent_at, delivery.end, milliseconds(0), At(31)).bytes, 0u);
  board_.OnSent(2000, 2100, At(40));
  delivery = Acknowledge(1000, {{2000, 2100}}, 70);
  const auto losses = board_.DetectLosses(delivery.sent_at, delivery.end, milliseconds(0), At(70));
  EXPECT_EQ(losses.bytes, 800u);  // it, and the seven that nothing was heard of
}

TEST_F(SackScoreboardTest, LateArrivalIsReordering) {
  SendTen();
  EXPECT_FALSE(Acknowledge(1000, {{1500, 1600}}, 30).reordered);
  EXPECT_TRUE(Acknowledge(1000, {{1300, 1400}}, 31).reordered);
  EXPECT_FALSE(Acknowledge(1000, {{1600, 1700}}, 32).reordered);
}

TEST_F(SackScoreboardTest, AnAnswerSoonerThanTheRoundTripIsToTheFirst) {
  SendTen();
  board_.OnSent(1000, 1100, At(40));
  const auto delivery = board_.OnAcknowledged(1100, {}, milliseconds(30), At(45));
  EXPECT_EQ(delivery.bytes, 100u);
  EXPECT_TRUE(delivery.reordered);
  EXPECT_EQ(delivery.late_bytes, 100u);
  EXPECT_EQ(delivery.sent_at, kNever);
  // One that is only a little sooner may be to either.
  board_.OnSent(1100, 1200, At(50));
  const auto unclear = board_.OnAcknowledged(1200, {}, milliseconds(30), At(79));
  EXPECT_FALSE(unclear.reordered);
  EXPECT_EQ(unclear.late_bytes, 0u);
  EXPECT_EQ(unclear.sent_at, kNever);
}

TEST_F(SackScoreboardTest, SegmentsMayBeCutAnew) {
  SendTen();
  board_.OnSent(1150, 1250, At(20));  // the middles of two
  EXPECT_EQ(board_.outstanding_bytes(), 1000u);
  EXPECT_EQ(board_.segments().size(), 11u);
  board_.OnSent(1900, 2050, At(21));  // longer than before
  EXPECT_EQ(board_.outstanding_bytes(), 1050u);
  EXPECT_EQ(Acknowledge(1120, {}, 50).bytes, 120u);  // not at a boundary
  EXPECT_EQ(board_.segments().front().begin, 1120u);
}

TEST_F(SackScoreboardTest, TimeoutDoubtsEvenWhatWasSacked) {
  SendTen();
  Acknowledge(1000, {{1500, 1600}}, 30);
  board_.MarkAllLost();
  EXPECT_EQ(board_.lost_bytes(), 1000u);
  EXPECT_EQ(board_.pipe_bytes(), 0u);
  EXPECT_EQ(board_.sacked_segments(), 0u);
}

TEST_F(SackScoreboardTest, SequenceNumbersWrap) {
  for (uint32_t i = 0; i < 10; ++i)
    board_.OnSent(0xffffff00u + 100 * i, 0xffffff00u + 100 * (i + 1), At(static_cast<int>(i)));
  EXPECT_EQ(Acknowledge(0xffffff00u, {{0xffffff00u + 300, 0xffffff00u + 500}}, 40).bytes, 200u);
  EXPECT_EQ(Acknowledge(0xffffff00u + 1000, {}, 41).bytes, 800u);
  EXPECT_TRUE(board_.empty());
}

// Whatever is sent and said: the sums are those of the segments, which are in
// order, do not overlap, and lie behind what is acknowledged.
TEST(SackScoreboard, SumsAreRightByAnyPath) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SeededRandom random(seed);
    SackScoreboard board;
    uint32_t acknowledged = random.Uint32(), next = acknowledged;
    for (int step = 0; step < 200; ++step) {
      const Instant now = At(step);
      const auto near = [&] {
        return acknowledged + static_cast<uint32_t>(random.Below(next - acknowledged + 200)) - 100;
      };
      switch (random.Below(6)) {
        case 0:
        case 1: {
          const auto size = static_cast<uint32_t>(1 + random.Below(50));
          board.OnSent(next, next + size, now);
          next += size;
          break;
        }
        case 2: {
          if (next == acknowledged) break;
          const uint32_t from = acknowledged + static_cast<uint32_t>(
                                                   random.Below(next - acknowledged));
          const auto size = static_cast<uint32_t>(
              1 + random.Below(std::min<uint32_t>(next - from, 60)));
          board.OnSent(from, from + size, now);
          break;
        }
        case 3:
        case 4: {
          const std::vector<SackBlock> blocks = {{near(), near()}, {near(), near()}};
          if (next != acknowledged && random.Below(2) == 0)
            acknowledged += static_cast<uint32_t>(random.Below(next - acknowledged + 1));
          board.OnAcknowledged(acknowledged, blocks, milliseconds(3), now);
          break;
        }
        default:
          if (random.Below(10) == 0) {
            board.MarkAllLost();
          } else {
            board.DetectLosses(At(static_cast<int>(random.Below(200))), near(), milliseconds(5),
                               now);
          }
      }
      uint32_t outstanding = 0, sacked = 0, lost = 0, at = acknowledged;
      for (const SackScoreboard::Segment& s : board.segments()) {
        ASSERT_FALSE(SequenceBefore(s.begin, at)) << seed;
        ASSERT_TRUE(SequenceBefore(s.begin, s.end)) << seed;
        ASSERT_FALSE(s.sacked && s.lost) << seed;
        at = s.end;
        outstanding += s.size();
        if (s.sacked) sacked += s.size();
        if (s.lost) lost += s.size();
      }
      ASSERT_EQ(outstanding, board.outstanding_bytes()) << seed;
      ASSERT_EQ(sacked, board.sacked_bytes()) << seed;
      ASSERT_EQ(lost, board.lost_bytes()) << seed;
      ASSERT_EQ(outstanding - sacked - lost, board.pipe_bytes()) << seed;
    }
  }
}

// ---- one segment of many packets ----

TEST_F(SackScoreboardTest, ASegmentIsSplitWhereABlockEnds) {
  board_.OnSent(1000, 61'000, At(0));
  EXPECT_EQ(Acknowledge(2000, {{4000, 30'000}}, 50).bytes, 27'000u);
  EXPECT_EQ(board_.segments().size(), 3u);
  EXPECT_EQ(board_.pipe_bytes(), 33'000u);
  // What is before the block is lost; behind it, nobody knows.
  const auto losses = board_.DetectLosses(At(0), 30'000, milliseconds(40), At(50));
  EXPECT_EQ(losses.bytes, 2000u);
  EXPECT_EQ(board_.lost_bytes(), 2000u);
}

TEST_F(SackScoreboardTest, NoPieceIsSmallerThanAPacket) {
  board_.OnSent(1000, 61'000, At(0));
  EXPECT_EQ(Acknowledge(1000, {{1000 + kSackPieceBytesMin - 1, 61'000}}, 50).bytes, 0u);
  EXPECT_EQ(Acknowledge(1000, {{30'000, 30'100}}, 50).bytes, 0u);
  for (uint32_t at = 2000; at < 60'000; at += 3)
    Acknowledge(1000, {{at, at + 1}, {at, at + kSackPieceBytesMin}}, 51);
  EXPECT_LE(board_.segments().size(), 60'000 / kSackPieceBytesMin + 1);
}

}  // namespace
}  // namespace im::netstack
