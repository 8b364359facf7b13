#include "tunnel/message.h"

#include <gtest/gtest.h>

#include <vector>

namespace im::tunnel {
namespace {

TEST(MessageTest, TypeAndSizeMustFit) {
  struct Case {
    uint8_t type;
    size_t size;
    std::optional<MessageType> expected;
  };
  for (const Case& c : std::vector<Case>{{1, 148, MessageType::kInitiation},
                                         {1, 147, std::nullopt},
                                         {1, 149, std::nullopt},
                                         {2, 92, MessageType::kResponse},
                                         {2, 91, std::nullopt},
                                         {2, 148, std::nullopt},
                                         {3, 64, MessageType::kCookieReply},
                                         {3, 63, std::nullopt},
                                         {4, 31, std::nullopt},
                                         {4, 32, MessageType::kTransport},
                                         {4, 65507, MessageType::kTransport},
                                         {0, 148, std::nullopt},
                                         {5, 148, std::nullopt},
                                         {4, 0, std::nullopt},
                                         {4, 3, std::nullopt}}) {
    std::vector<uint8_t> bytes(c.size);
    if (!bytes.empty()) bytes[0] = c.type;
    EXPECT_EQ(ClassifyMessage(bytes), c.expected) << int{c.type} << " of " << c.size;
  }
}

TEST(MessageTest, ReservedBytesMustBeZero) {
  for (size_t i = 1; i < 4; ++i) {
    std::vector<uint8_t> bytes(64);
    bytes[0] = 4;
    bytes[i] = 1;
    EXPECT_EQ(ClassifyMessage(bytes), std::nullopt) << i;
  }
}

TEST(MessageTest, IntegersAreLittleEndian) {
  TransportHeader header;
  header.receiver = 0x01020304;
  header.counter = 0x1112131415161718;
  const Bytes bytes = BytesOfMessage(header);
  EXPECT_EQ(std::vector<uint8_t>(bytes.begin(), bytes.end()),
            (std::vector<uint8_t>{4, 0, 0, 0, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12,
                                  0x11}));
  const auto read = ReadMessage<TransportHeader>(bytes);
  EXPECT_EQ(read.receiver, 0x01020304u);
  EXPECT_EQ(read.counter, 0x1112131415161718u);
}

}  // namespace
}  // namespace im::tunnel
