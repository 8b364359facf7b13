#include "base/family_split.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace im {
namespace {

struct Recorder final : PacketSink {
  void Write(PacketBatch batch) override {
    ++writes;
    for (const Packet& packet : batch) last_bytes.push_back(packet.bytes().back());
  }
  int writes = 0;
  std::vector<uint8_t> last_bytes;
};

class FamilySplitTest : public testing::Test {
 protected:
  // Packets of 0x45 or 0x60 and a number.
  void Write(const std::vector<std::pair<uint8_t, uint8_t>>& packets) {
    PacketBatch batch;
    for (const auto& [first, last] : packets) batch.AppendCopy(std::vector<uint8_t>{first, last});
    split_.Write(std::move(batch));
  }

  Recorder v4_, v6_;
  FamilySplit split_{&v4_, &v6_};
};

TEST_F(FamilySplitTest, ABatchOfOneFamilyGoesWhole) {
  Write({{0x45, 1}, {0x45, 2}});
  Write({{0x60, 3}, {0x6f, 4}});
  EXPECT_EQ(v4_.writes, 1);
  EXPECT_EQ(v4_.last_bytes, (std::vector<uint8_t>{1, 2}));
  EXPECT_EQ(v6_.writes, 1);
  EXPECT_EQ(v6_.last_bytes, (std::vector<uint8_t>{3, 4}));
}

TEST_F(FamilySplitTest, AMixedOneIsSplitInOrder) {
  Write({{0x60, 1}, {0x45, 2}, {0x60, 3}, {0x45, 4}});
  EXPECT_EQ(v4_.last_bytes, (std::vector<uint8_t>{2, 4}));
  EXPECT_EQ(v6_.last_bytes, (std::vector<uint8_t>{1, 3}));
}

TEST_F(FamilySplitTest, AFamilyWithoutASinkIsDropped) {
  FamilySplit only_v4(&v4_, nullptr);
  PacketBatch batch;
  batch.AppendCopy(std::vector<uint8_t>{0x60, 1});
  batch.AppendCopy(std::vector<uint8_t>{0x45, 2});
  only_v4.Write(std::move(batch));
  EXPECT_EQ(v4_.last_bytes, std::vector<uint8_t>{2});
}

}  // namespace
}  // namespace im
