// Any bytes, cut into packets: nothing is lost, invented or reordered, and what
// is merged can be split again into the same number of bytes of payload.

#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/ip_header.h"
#include "base/segment_split.h"
#include "tunnel/coalesce.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using im::tunnel::Coalescer;
  if (size < 1) return 0;
  const bool trusted = (data[0] & 1) != 0;
  std::span<const uint8_t> input(data + 1, size - 1);
  Coalescer coalescer;
  size_t packets_in = 0;
  std::vector<std::vector<uint8_t>> packets;  // the bytes must stay until Flush
  while (input.size() > 2) {
    const size_t want = static_cast<size_t>(input[0]) << 8 | input[1];
    input = input.subspan(2);
    const size_t length = std::min(want, input.size());
    if (length == 0) continue;
    packets.emplace_back(input.begin(), input.begin() + static_cast<long>(length));
    input = input.subspan(length);
  }
  for (const auto& packet : packets) {
    coalescer.Add(packet, trusted);
    ++packets_in;
  }
  im::PacketBatch out;
  coalescer.Flush(out);
  size_t packets_out = 0;
  for (const im::Packet& packet : out) {
    const im::SegmentSplitter splitter(packet);
    IM_CHECK(splitter.valid());
    IM_CHECK(packet.size <= im::kPacketBytesMax);
    for (size_t i = 0; i < splitter.count(); ++i) {
      std::vector<uint8_t> segment(splitter.size(i));
      splitter.Write(i, segment);
      ++packets_out;
    }
  }
  IM_CHECK(packets_out == packets_in);

  // The same bytes as one super-packet of any segment size.
  if (size > 3) {
    std::vector<uint8_t> bytes(data + 3, data + std::min(size, im::kPacketBytesMax + 3));
    im::Packet packet;
    packet.data = bytes.data();
    packet.size = static_cast<uint32_t>(bytes.size());
    packet.segment_size = static_cast<uint16_t>(data[1] << 8 | data[2]);
    packet.checksum_partial = (data[0] & 2) != 0;
    const im::SegmentSplitter splitter(packet);
    size_t total = 0;
    for (size_t i = 0; i < splitter.count(); ++i) {
      std::vector<uint8_t> segment(splitter.size(i));
      splitter.Write(i, segment);
      total += segment.size();
    }
    if (splitter.valid()) IM_CHECK(total >= splitter.size(0));
  }
  return 0;
}
