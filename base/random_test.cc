#include "base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace im {
namespace {

TEST(SeededRandomTest, SameSeedGivesSameBytes) {
  SeededRandom a(7), b(7), other(8);
  std::array<uint8_t, 37> x, y, z;
  a.Fill(x);
  b.Fill(y);
  other.Fill(z);
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

TEST(SeededRandomTest, IsSplitMix64) {
  SeededRandom random(1234567);
  // The published test vector of the generator.
  EXPECT_EQ(random.Uint64(), 6457827717110365317u);
  EXPECT_EQ(random.Uint64(), 3203168211198807973u);
  EXPECT_EQ(random.Uint64(), 9817491932198370423u);
}

TEST(RandomTest, BelowStaysBelowAndReachesAll) {
  SeededRandom random(1);
  std::array<int, 10> seen{};
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t value = random.Below(10);
    ASSERT_LT(value, 10u);
    ++seen[value];
  }
  for (const int count : seen) EXPECT_NEAR(count, 1000, 200);
  EXPECT_EQ(random.Below(1), 0u);
}

// Says small values first, which Below(3) must refuse: 2^64 mod 3 is 1.
class ScriptedRandom final : public Random {
 public:
  explicit ScriptedRandom(std::vector<uint8_t> fills) : fills_(std::move(fills)) {}
  void Fill(std::span<uint8_t> bytes) override {
    for (uint8_t& byte : bytes) byte = fills_.at(next_);
    ++next_;
  }
  size_t calls() const { return next_; }

 private:
  std::vector<uint8_t> fills_;
  size_t next_ = 0;
};

TEST(RandomTest, BelowRejectsWhatWouldBias) {
  ScriptedRandom random({0x00, 0x01});
  EXPECT_LT(random.Below(3), 3u);
  EXPECT_EQ(random.calls(), 2u);
}

TEST(RandomDeathTest, BelowZeroIsABug) {
  SeededRandom random(1);
  EXPECT_DEATH(random.Below(0), "check failed");
}

TEST(SecureRandomTest, DoesNotRepeat) {
  SecureRandom random;
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.Uint64());
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(SecureRandomTest, FillsLargeBuffersToTheEnd) {
  SecureRandom random;
  std::vector<uint8_t> bytes(1 << 20);
  random.Fill(bytes);
  // 64 zeros in a row at the end have a chance of 2^-512.
  int nonzero = 0;
  for (size_t i = bytes.size() - 64; i < bytes.size(); ++i) nonzero += bytes[i] != 0;
  EXPECT_GT(nonzero, 0);
}

}  // namespace
}  // namespace im
