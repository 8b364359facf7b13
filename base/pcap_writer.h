// PcapWriter: a tap that fits before any PacketSink and records what passes.
//
//   PcapWriter tap(std::move(file), clock, tunnel);   // tcpdump -r FILE

#ifndef IM_BASE_PCAP_WRITER_H_
#define IM_BASE_PCAP_WRITER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/packet_sink.h"
#include "base/status.h"

namespace im {

// The file format by its pieces, for who has no file: the header, and a packet
// behind it.
std::string PcapFileHeader();
void AppendPcapRecord(std::span<const uint8_t> packet, int64_t unix_nanos, std::string& out);

struct PcapRecordHeader {  // in the writer's byte order; the file's magic number tells it
  uint32_t seconds;
  uint32_t nanoseconds;
  uint32_t captured_bytes;
  uint32_t original_bytes;
};
static_assert(sizeof(PcapRecordHeader) == 16);
inline constexpr size_t kPcapFileHeaderBytes = 24;

// Writes a pcap file of raw IP packets (LINKTYPE_RAW, nanosecond stamps), and
// passes every batch on. Super-packets are recorded as one packet; checksums
// that are not computed yet are recorded as they are. When the file cannot be
// written any more, recording ends and packets still pass. Same threads as the
// next sink.
class PcapWriter final : public PacketSink {
 public:
  // `next` and `clock` must outlive the writer. The file header is written at
  // once.
  static absl::StatusOr<std::unique_ptr<PcapWriter>> Create(FileDescriptor file,
                                                            const Clock& clock, PacketSink& next);
  // Creates or empties `path` (mode 0600: packets are somebody's data).
  static absl::StatusOr<std::unique_ptr<PcapWriter>> Open(const std::string& path,
                                                          const Clock& clock, PacketSink& next);

  void Write(PacketBatch batch) override;

  uint64_t packets() const { return packets_; }
  // OK while recording; else why it ended.
  const absl::Status& status() const { return status_; }

 private:
  PcapWriter(FileDescriptor file, const Clock& clock, PacketSink& next)
      : file_(std::move(file)), clock_(clock), next_(next) {}
  void Record(const PacketBatch& batch);

  FileDescriptor file_;
  const Clock& clock_;
  PacketSink& next_;
  uint64_t packets_ = 0;
  absl::Status status_;
};

}  // namespace im

#endif  // IM_BASE_PCAP_WRITER_H_
