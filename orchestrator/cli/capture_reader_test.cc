#include "orchestrator/cli/capture_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/pcap_writer.h"

namespace im::orchestrator::cli {
namespace {

std::string Record(size_t size) {
  std::string out;
  AppendPcapRecord(std::vector<uint8_t>(size, 0x45), 1'500'000'000'000'000'001, out);
  return out;
}

std::string Trailer(uint32_t lost) {
  PcapRecordHeader header{};
  header.captured_bytes = UINT32_MAX;
  header.original_bytes = lost;
  return {reinterpret_cast<const char*>(&header), sizeof(header)};
}

TEST(CaptureReader, EveryPieceEndsWithAWholeRecord) {
  const std::string file = PcapFileHeader() + Record(20) + Record(1) + Record(300);
  const std::string stream = file + Trailer(7);
  const size_t ends[] = {0, 24, 24 + 36, 24 + 36 + 17, file.size()};
  std::string written;
  CaptureReader reader(0);
  for (const char byte : stream) {
    written += reader.Feed(absl::string_view(&byte, 1));
    EXPECT_NE(std::find(std::begin(ends), std::end(ends), written.size()), std::end(ends));
  }
  EXPECT_EQ(written, file);
  EXPECT_EQ(reader.packets(), 3u);
  EXPECT_EQ(reader.lost(), 7u);
  CaptureReader whole(0);
  EXPECT_EQ(whole.Feed(stream), file);
}

TEST(CaptureReader, StopsAtTheNumberThatWasAskedFor) {
  CaptureReader reader(2);
  EXPECT_EQ(reader.Feed(PcapFileHeader() + Record(20) + Record(20) + Record(20)),
            PcapFileHeader() + Record(20) + Record(20));
  EXPECT_TRUE(reader.full());
  EXPECT_FALSE(reader.lost().has_value());
  EXPECT_EQ(reader.Feed(Record(20) + Trailer(0)), "");
  EXPECT_EQ(reader.lost(), 0u);
  EXPECT_EQ(reader.packets(), 2u);
}

}  // namespace
}  // namespace im::orchestrator::cli
