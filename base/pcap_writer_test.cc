#include "base/pcap_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/ip_build.h"

namespace im {
namespace {

class CollectingSink final : public PacketSink {
 public:
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch)
      packets.emplace_back(packet.data, packet.data + packet.size);
  }
  std::vector<std::vector<uint8_t>> packets;
};

class PcapWriterTest : public testing::Test {
 protected:
  PcapWriterTest() : file_(memfd_create("pcap", MFD_CLOEXEC)) {}

  std::vector<uint8_t> Contents() {
    std::vector<uint8_t> bytes(static_cast<size_t>(lseek(file_.get(), 0, SEEK_END)));
    EXPECT_EQ(pread(file_.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  static uint32_t Word(const std::vector<uint8_t>& bytes, size_t offset) {
    uint32_t value;
    std::memcpy(&value, &bytes.at(offset + 3) - 3, 4);
    return value;
  }

  FileDescriptor file_;
  ManualClock clock_;
  CollectingSink sink_;
};

TEST_F(PcapWriterTest, WritesTheFileHeaderAtOnce) {
  const auto writer = PcapWriter::Create(*file_.Duplicate(), clock_, sink_);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const auto bytes = Contents();
  ASSERT_EQ(bytes.size(), 24u);
  EXPECT_EQ(Word(bytes, 0), 0xa1b23c4du);  // nanoseconds
  EXPECT_EQ(Word(bytes, 4), 2u | 4u << 16);
  EXPECT_EQ(Word(bytes, 16), 65535u);
  EXPECT_EQ(Word(bytes, 20), 101u);  // LINKTYPE_RAW
}

TEST_F(PcapWriterTest, RecordsEveryPacketWithItsTimeAndPassesItOn) {
  const auto writer = *PcapWriter::Create(*file_.Duplicate(), clock_, sink_);
  std::vector<std::vector<uint8_t>> sent;
  for (uint16_t i = 0; i < 700; ++i)  // several writes' worth
    sent.push_back(BuildUdp({IpAddress::V4(0x0a000001), i}, {IpAddress::V4(0x0a000002), 53},
                            std::vector<uint8_t>(i, 7)));
  PacketBatch batch;
  for (const auto& packet : sent) batch.AppendCopy(std::span<const uint8_t>(packet));
  clock_.Advance(std::chrono::nanoseconds(1'000'000'123));
  writer->Write(std::move(batch));
  EXPECT_EQ(sink_.packets, sent);
  EXPECT_EQ(writer->packets(), 700u);

  const auto bytes = Contents();
  size_t at = 24;
  for (const auto& packet : sent) {
    EXPECT_EQ(Word(bytes, at), 1'700'000'001u);
    EXPECT_EQ(Word(bytes, at + 4), 123u);
    ASSERT_EQ(Word(bytes, at + 8), packet.size());
    ASSERT_EQ(Word(bytes, at + 12), packet.size());
    ASSERT_EQ(std::memcmp(&bytes.at(at + 16), packet.data(), packet.size()), 0);
    at += 16 + packet.size();
  }
  EXPECT_EQ(at, bytes.size());
}

TEST_F(PcapWriterTest, PacketsStillPassWhenTheFileCannotBeWritten) {
  const FileDescriptor sealed(memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto writer = *PcapWriter::Create(*sealed.Duplicate(), clock_, sink_);
  ASSERT_EQ(fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_GROW), 0);  // the file is full now
  for (int i = 0; i < 3; ++i) writer->Write(SinglePacket(std::vector<uint8_t>(50, 1)));
  EXPECT_FALSE(writer->status().ok());
  EXPECT_EQ(writer->packets(), 0u);
  EXPECT_EQ(sink_.packets.size(), 3u);
}

TEST_F(PcapWriterTest, AFileThatCannotBeOpenedIsAnErrorThatNamesIt) {
  const auto writer = PcapWriter::Open("/nonexistent/x.pcap", clock_, sink_);
  EXPECT_EQ(writer.status().message(), "open /nonexistent/x.pcap: No such file or directory");
}

}  // namespace
}  // namespace im
