#include "tunnel/coalesce.h"

#include <algorithm>
#include <cstring>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_header.h"

namespace im::tunnel {
namespace {

constexpr size_t kIpv4HeaderBytes = 20;  // with options nothing is merged
constexpr size_t kIpv6HeaderBytes = 40;  // with extensions nothing is merged
constexpr size_t kTcpHeaderBytesMin = 20;
constexpr size_t kUdpHeaderBytes = 8;
constexpr uint16_t kIpv4DontFragment = 0x4000;
constexpr uint8_t kTcpEce = 0x40;

bool SameBytes(const uint8_t* a, const uint8_t* b, size_t offset, size_t size) {
  return std::memcmp(a + offset, b + offset, size) == 0;
}

}  // namespace

// One look at a packet. Only for TCP and UDP without IP options.
struct Coalescer::Headers {
  std::span<const uint8_t> packet;
  bool trusted = false;
  bool v6 = false;
  bool tcp = false;
  bool mergeable = false;     // by itself: it carries data and nothing special
  uint16_t ip_size = 0;       // bytes of the IP header
  uint16_t header_size = 0;   // bytes before the payload
  uint16_t payload_size = 0;
  uint32_t sequence = 0;

  const uint8_t* ip() const { return packet.data(); }
  const uint8_t* transport() const { return packet.data() + ip_size; }
  bool psh() const { return tcp && (transport()[13] & kTcpPsh) != 0; }

  bool Parse(std::span<const uint8_t> bytes);
  bool SameFlow(const Headers& other) const;
  bool SameFields(const Headers& other, uint32_t distance) const;
  bool ChecksumIsRight() const;
  uint64_t PseudoHeader(size_t transport_size) const;
};

struct Coalescer::Train {
  Headers head;
  uint32_t first = 0;  // indices of items
  uint32_t last = 0;
  uint32_t count = 1;
  uint32_t total_bytes = 0;  // of the merged packet
  bool verified = false;     // the head's checksum is right
};

// False if the packet's flow cannot be told.
bool Coalescer::Headers::Parse(std::span<const uint8_t> bytes) {
  packet = bytes;
  if (bytes.size() < kIpv4HeaderBytes || bytes.size() > kPacketBytesMax) return false;
  const uint8_t* p = bytes.data();
  uint8_t protocol = 0;
  if (p[0] == 0x45) {
    constexpr uint16_t kNotDontFragment = 0xffff & ~kIpv4DontFragment;
    if (LoadBig16(p + 2) != bytes.size() || (LoadBig16(p + 6) & kNotDontFragment) != 0) {
      return false;
    }
    protocol = p[9];
    ip_size = kIpv4HeaderBytes;
  } else if (p[0] >> 4 == 6) {
    if (bytes.size() < kIpv6HeaderBytes ||
        size_t{LoadBig16(p + 4)} + kIpv6HeaderBytes != bytes.size()) {
      return false;
    }
    v6 = true;
    protocol = p[6];
    ip_size = kIpv6HeaderBytes;
  } else {
    return false;
  }

  const uint8_t* t = p + ip_size;
  const size_t transport_size = bytes.size() - ip_size;
  if (protocol == kProtocolTcp) {
    if (transport_size < kTcpHeaderBytesMin) return false;
    const size_t tcp_size = size_t{t[12]} / 16 * 4;
    if (tcp_size < kTcpHeaderBytesMin || tcp_size > transport_size) return false;
    tcp = true;
    header_size = static_cast<uint16_t>(ip_size + tcp_size);
    sequence = LoadBig32(t + 4);
    constexpr uint8_t kOtherFlags = 0xff & ~(kTcpAck | kTcpPsh | kTcpEce);
    mergeable = (t[13] & kTcpAck) != 0 && (t[13] & kOtherFlags) == 0;
  } else if (protocol == kProtocolUdp) {
    if (transport_size < kUdpHeaderBytes || LoadBig16(t + 4) != transport_size) return false;
    header_size = static_cast<uint16_t>(ip_size + kUdpHeaderBytes);
    mergeable = LoadBig16(t + 6) != 0;  // an absent checksum would be lost
  } else {
    return false;
  }
  payload_size = static_cast<uint16_t>(bytes.size() - header_size);
  mergeable = mergeable && payload_size > 0;
  return true;
}

bool Coalescer::Headers::SameFlow(const Headers& other) const {
  if (v6 != other.v6 || tcp != other.tcp) return false;
  // Addresses and ports lie side by side.
  return v6 ? SameBytes(ip(), other.ip(), 8, 36) : SameBytes(ip(), other.ip(), 12, 12);
}

// Whether a packet `distance` places behind this one could have been cut from
// the same super-packet, as far as all fields but lengths, sequence number,
// PSH and checksums go.
bool Coalescer::Headers::SameFields(const Headers& other, uint32_t distance) const {
  const uint8_t* a = ip();
  const uint8_t* b = other.ip();
  if (v6) {
    // Traffic class and flow label; hop limit.
    if (!SameBytes(a, b, 0, 4) || a[7] != b[7]) return false;
  } else {
    // TOS, DF, TTL. With DF the identification means nothing (RFC 6864 4.1).
    if (a[1] != b[1] || !SameBytes(a, b, 6, 3)) return false;
    const bool dont_fragment = (LoadBig16(a + 6) & kIpv4DontFragment) != 0;
    const uint16_t expected = static_cast<uint16_t>(LoadBig16(a + 4) + distance);
    if (!dont_fragment && LoadBig16(b + 4) != expected) return false;
  }
  if (!tcp) return true;
  if (header_size != other.header_size) return false;
  const uint8_t* s = transport();
  const uint8_t* t = other.transport();
  // Acknowledgment and header size; flags but PSH; window; urgent pointer and
  // options.
  return SameBytes(s, t, 8, 5) && ((s[13] ^ t[13]) & ~kTcpPsh) == 0 && SameBytes(s, t, 14, 2) &&
         SameBytes(s, t, 18, size_t{header_size} - ip_size - 18);
}

uint64_t Coalescer::Headers::PseudoHeader(size_t transport_size) const {
  const std::span<const uint8_t> addresses =
      v6 ? packet.subspan(8, 32) : packet.subspan(12, 8);
  return SumBytes(addresses, (tcp ? kProtocolTcp : kProtocolUdp) + uint64_t{transport_size});
}

bool Coalescer::Headers::ChecksumIsRight() const {
  const std::span<const uint8_t> transport_bytes = packet.subspan(ip_size);
  return FoldSum(SumBytes(transport_bytes, PseudoHeader(transport_bytes.size()))) == 0xffff;
}

Coalescer::Coalescer() = default;
Coalescer::~Coalescer() = default;

void Coalescer::Add(std::span<const uint8_t> packet, bool trusted) {
  Headers headers;
  headers.trusted = trusted;
  if (!headers.Parse(packet)) {
    // It may belong to any flow (a fragment, options), so nothing that comes
    // later may overtake it.
    headers.mergeable = false;
    headers.trusted = false;  // nor can its checksum be judged
    open_.fill(0);
    Open(headers);
    return;
  }
  Train* train = Find(headers);
  if (train != nullptr) {
    if (Join(*train, headers)) return;
    open_[0] = 0;  // where Find left it
  }
  Open(headers);
}

Coalescer::Train* Coalescer::Find(const Headers& headers) {
  for (size_t i = 0; i < open_.size(); ++i) {
    if (open_[i] == 0) continue;
    Train& train = trains_[open_[i] - 1];
    if (!train.head.SameFlow(headers)) continue;
    std::rotate(open_.begin(), open_.begin() + i, open_.begin() + i + 1);
    return &train;
  }
  return nullptr;
}

bool Coalescer::Join(Train& train, const Headers& headers) {
  const Headers& head = train.head;
  if (!headers.mergeable || headers.payload_size > head.payload_size) return false;
  if (size_t{train.total_bytes} + headers.payload_size > kPacketBytesMax) return false;
  if (!head.SameFields(headers, train.count)) return false;
  if (head.tcp) {
    // Every packet before this one is as long as the head.
    if (headers.sequence != head.sequence + train.count * head.payload_size) return false;
  } else if (train.count >= kCoalescedDatagramsMax) {
    return false;
  }
  if (!train.verified) {
    train.verified = head.trusted || head.ChecksumIsRight();
    if (!train.verified) return false;
  }
  if (!headers.trusted && !headers.ChecksumIsRight()) return false;

  const uint32_t index = static_cast<uint32_t>(items_.size());
  items_.push_back({headers.packet, 0});
  items_[train.last].next = index;
  train.last = index;
  train.count += 1;
  train.total_bytes += headers.payload_size;
  if (headers.payload_size < head.payload_size || headers.psh()) open_[0] = 0;
  return true;
}

void Coalescer::Open(const Headers& headers) {
  Train train;
  train.head = headers;
  train.first = train.last = static_cast<uint32_t>(items_.size());
  train.total_bytes = static_cast<uint32_t>(headers.packet.size());
  items_.push_back({headers.packet, 0});
  trains_.push_back(train);
  if (!headers.mergeable || headers.psh()) return;
  // A free place, else the least recently used one, moved to the front.
  auto place = std::find(open_.begin(), open_.end(), 0u);
  if (place == open_.end()) --place;
  std::rotate(open_.begin(), place, place + 1);
  open_[0] = static_cast<uint32_t>(trains_.size());
}

void Coalescer::Emit(const Train& train, PacketBatch& out) const {
  const Headers& head = train.head;
  if (train.count == 1) {
    Packet& packet = out.AppendCopy(head.packet);
    packet.checksum_valid = head.trusted || train.verified;
    return;
  }
  Packet& packet = out.Append(train.total_bytes);
  uint8_t* p = packet.data;
  std::memcpy(p, head.packet.data(), head.header_size);
  uint8_t* end = p + head.header_size;
  for (uint32_t i = train.first;; i = items_[i].next) {
    const std::span<const uint8_t> payload = items_[i].packet.subspan(head.header_size);
    std::memcpy(end, payload.data(), payload.size());
    end += payload.size();
    if (i == train.last) break;
  }

  const size_t transport_size = train.total_bytes - head.ip_size;
  uint8_t* t = p + head.ip_size;
  if (head.v6) {
    StoreBig16(p + 4, static_cast<uint16_t>(transport_size));
  } else {
    StoreBig16(p + 2, static_cast<uint16_t>(train.total_bytes));
    SetIpv4HeaderChecksum(packet.bytes());
  }
  const uint16_t pseudo_sum = FoldSum(head.PseudoHeader(transport_size));
  if (head.tcp) {
    t[13] |= items_[train.last].packet[head.ip_size + 13u] & kTcpPsh;
    StoreBig16(t + 16, pseudo_sum);
  } else {
    StoreBig16(t + 4, static_cast<uint16_t>(transport_size));
    StoreBig16(t + 6, pseudo_sum);
  }
  packet.segment_size = head.payload_size;
  packet.checksum_partial = true;
  packet.checksum_valid = true;
}

void Coalescer::Flush(PacketBatch& out) {
  for (const Train& train : trains_) Emit(train, out);
  items_.clear();
  trains_.clear();
  open_.fill(0);
}

}  // namespace im::tunnel
