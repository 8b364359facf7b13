#include "base/segment_split.h"

#include <algorithm>
#include <cstring>

#include "base/big_endian.h"
#include "base/check.h"
#include "base/checksum.h"

namespace im {
namespace {

constexpr uint16_t kTcpFinPsh = kTcpFin | kTcpPsh;

// Offsets within the headers.
constexpr size_t kIpv4Identification = 4;
constexpr size_t kIpv4Checksum = 10;
constexpr size_t kTcpSequence = 4;
constexpr size_t kTcpFlagsWord = 12;
constexpr size_t kUdpLength = 4;
constexpr size_t kIpv6HeaderBytes = 40;

}  // namespace

SegmentSplitter::SegmentSplitter(const Packet& packet) : bytes_(packet.bytes()) {
  if (packet.segment_size == 0 && !packet.checksum_partial) {
    copy_only_ = true;
    count_ = bytes_.empty() ? 0 : 1;
    return;
  }
  const std::optional<IpView> view = ParseIp(bytes_);
  if (!view || view->fragment || !(view->is_tcp() || view->is_udp())) return;
  bytes_ = bytes_.first(view->total_size);
  v6_ = view->v6;
  tcp_ = view->is_tcp();
  transport_offset_ = view->transport_offset;
  header_size_ = view->payload_offset;
  const uint32_t payload = view->payload_size();
  segment_size_ = packet.segment_size != 0 ? packet.segment_size : std::max<uint32_t>(payload, 1);

  const uint8_t* ip = bytes_.data();
  const uint8_t* transport = ip + transport_offset_;
  if (!v6_) {
    identification_ = LoadBig16(ip + kIpv4Identification);
    // Without total length, identification and checksum: version to TOS, then
    // flags to protocol, then addresses and options.
    ip_sum_ = SumBytes({ip, 2});
    ip_sum_ = SumBytes({ip + 6, 4}, ip_sum_);
    ip_sum_ = SumBytes({ip + 12, size_t{transport_offset_} - 12}, ip_sum_);
  }
  transport_sum_ = PseudoHeaderSum(view->source, view->destination, view->protocol, 0);
  transport_sum_ = SumBytes({transport, 4}, transport_sum_);  // ports
  if (tcp_) {
    sequence_ = view->tcp_sequence;
    // Without sequence, flags and checksum.
    transport_sum_ = SumBytes({transport + 8, 4}, transport_sum_);
    transport_sum_ = SumBytes({transport + 14, 2}, transport_sum_);
    transport_sum_ =
        SumBytes({transport + 18, size_t{header_size_} - transport_offset_ - 18}, transport_sum_);
  }
  count_ = std::max<size_t>(1, (payload + segment_size_ - 1) / segment_size_);
}

size_t SegmentSplitter::PayloadSize(size_t i) const {
  const size_t payload = bytes_.size() - header_size_;
  return i + 1 < count_ ? segment_size_ : payload - i * segment_size_;
}

size_t SegmentSplitter::size(size_t i) const {
  return copy_only_ ? bytes_.size() : header_size_ + PayloadSize(i);
}

void SegmentSplitter::Write(size_t i, std::span<uint8_t> out) const {
  IM_CHECK(i < count_ && out.size() >= size(i));
  if (copy_only_) {
    std::memcpy(out.data(), bytes_.data(), bytes_.size());
    return;
  }
  const size_t payload_size = PayloadSize(i);
  const size_t total_size = header_size_ + payload_size;
  const size_t transport_size = total_size - transport_offset_;
  uint8_t* ip = out.data();
  std::memcpy(ip, bytes_.data(), header_size_);
  std::memcpy(ip + header_size_, bytes_.data() + header_size_ + i * segment_size_, payload_size);

  if (v6_) {
    StoreBig16(ip + 4, static_cast<uint16_t>(total_size - kIpv6HeaderBytes));
  } else {
    const uint16_t identification = static_cast<uint16_t>(identification_ + i);
    StoreBig16(ip + 2, static_cast<uint16_t>(total_size));
    StoreBig16(ip + kIpv4Identification, identification);
    const uint64_t sum = ip_sum_ + total_size + identification;
    StoreBig16(ip + kIpv4Checksum, static_cast<uint16_t>(~FoldSum(sum)));
  }

  uint8_t* transport = ip + transport_offset_;
  uint64_t sum = transport_sum_ + transport_size;
  if (tcp_) {
    const uint32_t sequence = sequence_ + static_cast<uint32_t>(i * segment_size_);
    uint16_t flags = LoadBig16(transport + kTcpFlagsWord);
    if (i + 1 < count_) flags &= static_cast<uint16_t>(~kTcpFinPsh);
    if (i > 0) flags &= static_cast<uint16_t>(~kTcpCwr);
    StoreBig32(transport + kTcpSequence, sequence);
    StoreBig16(transport + kTcpFlagsWord, flags);
    sum += (sequence >> 16) + (sequence & 0xffff) + flags;
  } else {
    StoreBig16(transport + kUdpLength, static_cast<uint16_t>(transport_size));
    sum += transport_size;
  }
  const std::span<const uint8_t> payload(ip + header_size_, payload_size);
  uint16_t checksum = static_cast<uint16_t>(~FoldSum(SumBytes(payload, sum)));
  if (tcp_) {
    StoreBig16(transport + kTcpChecksumOffset, checksum);
  } else {
    if (checksum == 0) checksum = 0xffff;  // 0 says "none" (RFC 768)
    StoreBig16(transport + kUdpChecksumOffset, checksum);
  }
}

size_t SegmentCount(const Packet& packet) { return SegmentSplitter(packet).count(); }

}  // namespace im
