#include "tunnel/udp_offload.h"

#include <gtest/gtest.h>

#include <span>
#include <vector>

namespace im::tunnel {
namespace {

using ByteSpan = std::span<const uint8_t>;

TEST(TrainCheckTest, TakesTheTrainInAnyCutThatKeepsItsDatagrams) {
  for (size_t last_size : {size_t{100}, size_t{40}}) {
    TrainCheck one_by_one(5, 100, last_size);
    const ByteSpan train = one_by_one.train();
    ASSERT_EQ(train.size(), 400 + last_size);
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_FALSE(one_by_one.complete());
      const size_t size = i < 4 ? 100 : last_size;
      EXPECT_TRUE(one_by_one.Take(train.subspan(i * 100, size), i % 2 == 0 ? 0 : 100));
    }
    EXPECT_TRUE(one_by_one.complete());

    TrainCheck at_once(5, 100, last_size);
    EXPECT_TRUE(at_once.Take(at_once.train(), 100));
    EXPECT_TRUE(at_once.complete());
  }
}

TEST(TrainCheckTest, SeesWhatWasMangled) {
  const TrainCheck sent(5, 100, 100);
  const ByteSpan train = sent.train();
  const auto takes = [](ByteSpan message, size_t segment_size) {
    return TrainCheck(5, 100, 100).Take(message, segment_size);
  };
  EXPECT_TRUE(takes(train.first(100), 0));
  EXPECT_FALSE(takes(train, 0)) << "two datagrams in one";
  EXPECT_FALSE(takes(train, 50));
  EXPECT_FALSE(takes(train.first(99), 0));
  EXPECT_FALSE(takes(train.subspan(100, 100), 0)) << "not the first one";
  EXPECT_FALSE(takes({}, 0));
  std::vector<uint8_t> changed(train.begin(), train.end());
  changed[250] ^= 1;
  EXPECT_FALSE(takes(changed, 100));
  std::vector<uint8_t> longer(train.begin(), train.end());
  longer.push_back(0);
  EXPECT_FALSE(takes(longer, 100));
}

TEST(UdpOffloadTest, TheSwitchesHaveTheLastWord) {
  int probes = 0;
  const auto broken = [&] {
    ++probes;
    return UdpOffload{.gso = false, .gro = false};
  };
  Tuning tuning;
  EXPECT_FALSE(UdpOffload::Choose(tuning, broken).gso);
  EXPECT_FALSE(UdpOffload::Choose(tuning, broken).gro);
  tuning.udp_gso = Switch::kOn;
  EXPECT_TRUE(UdpOffload::Choose(tuning, broken).gso);
  EXPECT_FALSE(UdpOffload::Choose(tuning, broken).gro);
  EXPECT_EQ(probes, 4);
  tuning.udp_gro = Switch::kOff;
  EXPECT_TRUE(UdpOffload::Choose(tuning, broken).gso);
  EXPECT_EQ(probes, 4) << "nothing was left to be tested";

  const auto works = [] { return UdpOffload(); };
  EXPECT_FALSE(UdpOffload::Choose(tuning, works).gro);
  tuning = {.udp_gso = Switch::kOff};
  EXPECT_FALSE(UdpOffload::Choose(tuning, works).gso);
  EXPECT_TRUE(UdpOffload::Choose(tuning, works).gro);
}

TEST(UdpOffloadTest, GroIsNotAskedForWhereItIsSwitchedOff) {
  EXPECT_FALSE(UdpOffload::GroIsThinkable({.udp_gro = Switch::kOff}));
  EXPECT_TRUE(UdpOffload::GroIsThinkable({.udp_gro = Switch::kOn}));
}

TEST(UdpOffloadTest, GroIsNotAskedForOfKernelsBefore512) {
  for (const char* release : {"4.19.0-27-amd64", "5.4.0", "5.11.22-generic"}) {
    EXPECT_FALSE(UdpOffload::GroIsThinkable({}, release)) << release;
    EXPECT_TRUE(UdpOffload::GroIsThinkable({.udp_gro = Switch::kOn}, release)) << release;
  }
  for (const char* release : {"5.12.0", "5.15.0-91", "6.1.0-18-amd64", "10.2", "unknown"})
    EXPECT_TRUE(UdpOffload::GroIsThinkable({}, release)) << release;
}

// A kernel assumption: all that we run on either works or is seen not to.
TEST(UdpOffloadTest, ThisKernelPassesTheSelfTest) {
  const UdpOffload works = UdpOffload::Probe();
  EXPECT_TRUE(works.gso);
  EXPECT_TRUE(works.gro);
}

}  // namespace
}  // namespace im::tunnel
