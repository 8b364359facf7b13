#include "base/pcap_writer.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace im {
namespace {

constexpr uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr uint32_t kLinktypeRaw = 101;
constexpr uint32_t kSnapBytes = kPacketBytesMax;

// Packets per writev(2): two vectors each, well below IOV_MAX.
constexpr size_t kPacketsPerWrite = 128;

struct FileHeader {  // in the writer's byte order; the magic number tells it
  uint32_t magic = kMagicNanoseconds;
  uint16_t version_major = 2;
  uint16_t version_minor = 4;
  uint32_t reserved[2] = {};
  uint32_t snap_bytes = kSnapBytes;
  uint32_t linktype = kLinktypeRaw;
};
static_assert(sizeof(FileHeader) == kPcapFileHeaderBytes);

PcapRecordHeader RecordHeaderOf(int64_t unix_nanos, uint32_t size) {
  return {static_cast<uint32_t>(unix_nanos / 1'000'000'000),
          static_cast<uint32_t>(unix_nanos % 1'000'000'000), size, size};
}

absl::Status WriteAll(int fd, std::span<iovec> parts) {
  while (!parts.empty()) {
    ssize_t n = writev(fd, parts.data(), static_cast<int>(parts.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("write a pcap file");
    while (!parts.empty() && static_cast<size_t>(n) >= parts.front().iov_len) {
      n -= static_cast<ssize_t>(parts.front().iov_len);
      parts = parts.subspan(1);
    }
    if (!parts.empty()) {
      parts.front().iov_base = static_cast<uint8_t*>(parts.front().iov_base) + n;
      parts.front().iov_len -= static_cast<size_t>(n);
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string PcapFileHeader() {
  const FileHeader header;
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header));
}

void AppendPcapRecord(std::span<const uint8_t> packet, int64_t unix_nanos, std::string& out) {
  const PcapRecordHeader header =
      RecordHeaderOf(unix_nanos, static_cast<uint32_t>(packet.size()));
  out.append(reinterpret_cast<const char*>(&header), sizeof(header));
  out.append(reinterpret_cast<const char*>(packet.data()), packet.size());
}

absl::StatusOr<std::unique_ptr<PcapWriter>> PcapWriter::Create(FileDescriptor file,
                                                               const Clock& clock,
                                                               PacketSink& next) {
  FileHeader header;
  iovec part{&header, sizeof(header)};
  IM_RETURN_IF_ERROR(WriteAll(file.get(), {&part, 1}));
  return std::unique_ptr<PcapWriter>(new PcapWriter(std::move(file), clock, next));
}

absl::StatusOr<std::unique_ptr<PcapWriter>> PcapWriter::Open(const std::string& path,
                                                             const Clock& clock,
                                                             PacketSink& next) {
  FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(absl::StrCat("open ", path));
  return Create(std::move(file), clock, next);
}

void PcapWriter::Write(PacketBatch batch) {
  if (status_.ok()) Record(batch);
  next_.Write(std::move(batch));
}

void PcapWriter::Record(const PacketBatch& batch) {
  const int64_t now = clock_.UnixNanos();
  std::array<PcapRecordHeader, kPacketsPerWrite> headers;
  std::array<iovec, 2 * kPacketsPerWrite> parts;
  for (size_t first = 0; first < batch.size() && status_.ok(); first += kPacketsPerWrite) {
    const size_t count = std::min(kPacketsPerWrite, batch.size() - first);
    for (size_t i = 0; i < count; ++i) {
      const Packet& packet = batch[first + i];
      headers[i] = RecordHeaderOf(now, packet.size);
      parts[2 * i] = {&headers[i], sizeof(PcapRecordHeader)};
      parts[2 * i + 1] = {packet.data, packet.size};
    }
    status_ = WriteAll(file_.get(), std::span(parts).first(2 * count));
    if (status_.ok()) packets_ += count;
  }
}

}  // namespace im
