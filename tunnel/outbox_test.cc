#include "tunnel/outbox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tunnel/run_builder.h"

namespace im::tunnel {
namespace {

const Endpoint kPeer{IpAddress::V4(0xc0000201), 51820};

TEST(DatagramBatchTest, AllocationsStayAndAreAligned) {
  DatagramBatch batch;
  std::vector<std::span<uint8_t>> spans;
  for (size_t i = 0; i < 200; ++i) {
    spans.push_back(batch.Allocate(i * 37 % 9000));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(spans.back().data()) % 16, 0u);
    if (!spans.back().empty())
      std::memset(spans.back().data(), static_cast<int>(i), spans.back().size());
  }
  for (size_t i = 0; i < spans.size(); ++i)
    for (uint8_t byte : spans[i]) ASSERT_EQ(byte, static_cast<uint8_t>(i));
}

TEST(DatagramBatchTest, ShrinkingGivesTheEndBack) {
  DatagramBatch batch;
  const auto first = batch.Allocate(60000);
  batch.ShrinkLast(100);
  const auto second = batch.Allocate(16);
  EXPECT_EQ(second.data(), first.data() + 112);
}

TEST(DatagramBatchTest, MovingKeepsTheBytesWhereTheyAre) {
  DatagramBatch batch;
  const uint8_t bytes[] = {1, 2, 3};
  batch.AddCopy(kPeer, bytes);
  const uint8_t* at = batch.runs()[0].bytes.data();
  DatagramBatch other = std::move(batch);
  ASSERT_EQ(other.runs().size(), 1u);
  EXPECT_EQ(other.runs()[0].bytes.data(), at);
  EXPECT_EQ(other.runs()[0].segment_size, 3u);
  EXPECT_TRUE(batch.empty());  // NOLINT: a moved-from batch is an empty one
  batch.AddCopy(kPeer, bytes);
  batch = std::move(other);
  EXPECT_EQ(batch.runs()[0].bytes[2], 3);
  other.Clear();
}

TEST(DatagramBatchTest, ClearKeepsMemoryForTheSameLoadAndLetsItGoSlowly) {
  DatagramBatch batch;
  for (int i = 0; i < 12; ++i) batch.Allocate(kGsoBytesMax);
  const auto first = batch.Allocate(16).data();
  batch.Clear();
  // The same load touches the same memory.
  for (int i = 0; i < 12; ++i) batch.Allocate(kGsoBytesMax);
  EXPECT_EQ(batch.Allocate(16).data(), first);
  for (int i = 0; i < 10; ++i) batch.Clear();
  EXPECT_EQ(batch.Allocate(1'000'000).size(), 1'000'000u) << "larger than a chunk";
  batch.Clear();
}

class RunBuilderTest : public ::testing::Test {
 protected:
  struct Datagram {
    size_t size;
    uint8_t ecn = 0;
  };
  // The runs' datagram counts.
  std::vector<size_t> Build(const std::vector<Datagram>& datagrams) {
    size_t sum = 0;
    for (const Datagram& d : datagrams) sum += d.size;
    RunBuilder builder(batch, kPeer, IpAddress(), sum);
    uint8_t mark = 0;
    for (const Datagram& d : datagrams) {
      const auto bytes = builder.Next(d.size, d.ecn);
      EXPECT_EQ(bytes.size(), d.size);
      std::memset(bytes.data(), ++mark, bytes.size());
    }
    builder.Close();
    std::vector<size_t> counts;
    mark = 0;
    size_t n = 0;
    for (const DatagramRun& run : batch.runs()) {
      EXPECT_LE(run.bytes.size(), kGsoBytesMax);
      size_t count = 0;
      for (size_t at = 0; at < run.bytes.size(); at += run.segment_size, ++count) {
        const auto one = run.bytes.subspan(
            at, std::min<size_t>(run.segment_size, run.bytes.size() - at));
        EXPECT_EQ(one.size(), datagrams[n++].size);
        EXPECT_EQ(one.front(), ++mark);
        EXPECT_EQ(one.back(), mark);
      }
      EXPECT_LE(count, kGsoSegmentsMax);
      counts.push_back(count);
    }
    return counts;
  }
  using Counts = std::vector<size_t>;

  DatagramBatch batch;
};

TEST_F(RunBuilderTest, EqualDatagramsMakeOneRun) {
  EXPECT_EQ(Build(std::vector<Datagram>(45, {1452})), (Counts{45}));
  EXPECT_EQ(batch.runs()[0].segment_size, 1452u);
}

TEST_F(RunBuilderTest, AShorterOneEndsTheRun) {
  EXPECT_EQ(Build({{1452}, {1452}, {100}, {1452}}), (Counts{3, 1}));
}

TEST_F(RunBuilderTest, ALongerOneBeginsARun) {
  EXPECT_EQ(Build({{100}, {1452}, {1452}}), (Counts{1, 2}));
}

TEST_F(RunBuilderTest, AnotherMarkBeginsARun) {
  EXPECT_EQ(Build({{100, 2}, {100, 2}, {100, 3}, {100, 2}}), (Counts{2, 1, 1}));
  EXPECT_EQ(batch.runs()[1].ecn, 3);
}

TEST_F(RunBuilderTest, SegmentsAndBytesAreLimited) {
  EXPECT_EQ(Build(std::vector<Datagram>(130, {48})), (Counts{64, 64, 2}));
  batch.Clear();
  EXPECT_EQ(Build(std::vector<Datagram>(50, {1500})), (Counts{43, 7}));
  batch.Clear();
  EXPECT_EQ(Build({{65507}, {65507}}), (Counts{1, 1}));
}

TEST_F(RunBuilderTest, AnEstimateThatWasTooLowCostsARunOnly) {
  RunBuilder builder(batch, kPeer, IpAddress(), 150);
  for (int i = 0; i < 4; ++i) builder.Next(100, 0);
  builder.Close();
  EXPECT_EQ(batch.runs().size(), 4u);
}

TEST_F(RunBuilderTest, NothingMakesNoRun) {
  EXPECT_EQ(Build({}), Counts{});
}

}  // namespace
}  // namespace im::tunnel
