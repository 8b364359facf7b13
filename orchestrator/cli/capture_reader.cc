#include "orchestrator/cli/capture_reader.h"

#include <cstring>

#include "base/pcap_writer.h"

namespace im::orchestrator::cli {
namespace {

constexpr uint32_t kTrailerMark = UINT32_MAX;  // kCaptureTrailerMark of the agent

}  // namespace

std::string CaptureReader::Feed(absl::string_view bytes) {
  pending_.append(bytes.data(), bytes.size());
  std::string out;
  size_t at = 0;
  if (!header_seen_) {
    if (pending_.size() < kPcapFileHeaderBytes) return out;
    header_seen_ = true;
    at = kPcapFileHeaderBytes;
    out = pending_.substr(0, at);
  }
  while (!lost_ && pending_.size() - at >= sizeof(PcapRecordHeader)) {
    PcapRecordHeader header;
    std::memcpy(&header, pending_.data() + at, sizeof(header));
    if (header.captured_bytes == kTrailerMark) {
      lost_ = header.original_bytes;
      break;
    }
    const size_t size = sizeof(header) + header.captured_bytes;
    if (pending_.size() - at < size) break;
    if (!full()) {
      out.append(pending_, at, size);
      ++packets_;
    }
    at += size;
  }
  pending_.erase(0, at);
  return out;
}

}  // namespace im::orchestrator::cli
