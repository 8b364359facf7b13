#include "netstack/pbuf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/random.h"

namespace im::netstack {
namespace {

pbuf* Make(const std::string& text) {
  return ToPbuf({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::string Pop(PbufQueue& queue, size_t size) {
  std::vector<uint8_t> out(size);
  out.resize(queue.Pop(out));
  return {out.begin(), out.end()};
}

TEST(Pbuf, PacketAndBack) {
  pbuf* chain = Make("head");
  pbuf_cat(chain, Make("er and "));
  pbuf_cat(chain, Make("payload"));
  PacketBatch batch;
  const Packet& packet = AppendPbuf(batch, chain);
  EXPECT_EQ(std::string(packet.data, packet.data + packet.size), "header and payload");
  pbuf_free(chain);
}

TEST(Pbuf, QueueGivesBytesInOrder) {
  PbufQueue queue;
  queue.Push(Make("abc"));
  pbuf* chain = Make("de");
  pbuf_cat(chain, Make(""));  // as trimming leaves it
  pbuf_cat(chain, Make("fgh"));
  queue.Push(chain);
  EXPECT_EQ(queue.size(), 8u);
  EXPECT_EQ(Pop(queue, 2), "ab");
  EXPECT_EQ(Pop(queue, 4), "cdef");
  EXPECT_EQ(queue.size(), 2u);
  queue.Push(Make("i"));
  EXPECT_EQ(Pop(queue, 100), "ghi");
  EXPECT_EQ(Pop(queue, 100), "");
}

TEST(Pbuf, QueueOfRandomSizesLosesNothing) {
  SeededRandom random(1);
  PbufQueue queue;
  std::string in, out;
  for (int i = 0; i < 2000; ++i) {
    std::string piece(random.Below(200), static_cast<char>('a' + i % 26));
    in += piece;
    queue.Push(Make(piece));
    out += Pop(queue, random.Below(220));
  }
  out += Pop(queue, in.size());
  EXPECT_EQ(in, out);
}

}  // namespace
}  // namespace im::netstack
