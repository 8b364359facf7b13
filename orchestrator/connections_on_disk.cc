#include "orchestrator/connections_on_disk.h"

#include <array>
#include <optional>
#include <span>

#include "base/ip_build.h"

namespace im::orchestrator {
namespace {

constexpr uint8_t kEndOfOptions = 0;
constexpr uint8_t kNoOperation = 1;
constexpr uint8_t kTimestamps = 8;
constexpr uint8_t kTimestampsBytes = 10;

std::optional<IpAddress> AddressOf(const std::string& bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

uint32_t Word(std::span<const uint8_t> bytes) {
  return static_cast<uint32_t>(bytes[0]) << 24 | static_cast<uint32_t>(bytes[1]) << 16 |
         static_cast<uint32_t>(bytes[2]) << 8 | bytes[3];
}

void SetWord(std::span<uint8_t> bytes, uint32_t word) {
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<uint8_t>(word >> (24 - 8 * i));
}

// The sender's timestamp; 0 if there is none. `options` are TCP's.
uint32_t TimestampIn(std::span<const uint8_t> options) {
  while (options.size() >= 2 && options[0] != kEndOfOptions) {
    if (options[0] == kNoOperation) {
      options = options.subspan(1);
      continue;
    }
    const size_t size = options[1];
    if (size < 2 || size > options.size()) return 0;
    if (options[0] == kTimestamps && size == kTimestampsBytes) return Word(options.subspan(2, 4));
    options = options.subspan(size);
  }
  return 0;
}

constexpr size_t kTcpHeaderBytes = 20;

}  // namespace

void ConnectionsOnDisk::Set(HostId host, const proto::CheckpointManifest& manifest) {
  hosts_.erase(host);
  const std::optional<IpAddress> address = AddressOf(manifest.address());
  if (!address || !address->is_v4() || manifest.connections().empty()) return;
  Connections& connections = hosts_[host];
  for (const proto::KeptConnection& kept : manifest.connections()) {
    const std::optional<IpAddress> peer = AddressOf(kept.peer());
    if (!peer || (!peer->is_v4() && !dual_stack_.on())) continue;
    const IpAddress own = peer->is_v4() ? *address : dual_stack_.ToV6(*address);
    FlowKey flow{*peer, own, static_cast<uint16_t>(kept.peer_port()),
                 static_cast<uint16_t>(kept.port()), kProtocolTcp};
    connections[flow] = {.receive_next = kept.receive_next(),
                         .send_next = kept.send_next(),
                         .window = static_cast<uint16_t>(kept.window()),
                         .waits = kept.unacknowledged() || kept.unsent(),
                         .has_timestamp = kept.has_timestamp(),
                         .timestamp = kept.timestamp()};
  }
}

ConnectionsOnDisk::Verdict ConnectionsOnDisk::OnPacket(HostId host, const Packet& packet,
                                                       const IpView& view,
                                                       std::vector<uint8_t>& answer) {
  if (!view.is_tcp() || view.fragment || packet.segment_size != 0) return Verdict::kForHost;
  if ((view.tcp_flags & (kTcpAck | kTcpSyn | kTcpFin | kTcpRst)) != kTcpAck) return Verdict::kForHost;
  const auto of_host = hosts_.find(host);
  if (of_host == hosts_.end()) return Verdict::kForHost;
  const auto found = of_host->second.find(view.flow());
  if (found == of_host->second.end()) return Verdict::kForHost;
  const Connection& connection = found->second;
  // Of who waits for it the host must hear, and what acknowledges something else is news.
  if (connection.waits || view.tcp_acknowledgment != connection.send_next) return Verdict::kForHost;
  if (view.payload_size() == 0 && view.tcp_sequence == connection.receive_next)
    return Verdict::kNothing;
  // With the octet that was there, or without.
  if (view.payload_size() > 1 || view.tcp_sequence != connection.receive_next - 1)
    return Verdict::kForHost;

  std::array<uint8_t, 2 + kTimestampsBytes> options{kNoOperation, kNoOperation, kTimestamps,
                                                    kTimestampsBytes};
  TcpFields fields{.sequence = connection.send_next,
                   .acknowledgment = connection.receive_next,
                   .flags = kTcpAck,
                   .window = connection.window};
  if (connection.has_timestamp) {
    const size_t begin = view.transport_offset + kTcpHeaderBytes;
    SetWord(std::span(options).subspan(4), connection.timestamp);
    SetWord(std::span(options).subspan(8),
            TimestampIn(packet.bytes().subspan(begin, view.payload_offset - begin)));
    fields.options = options;
  }
  answer = BuildTcp({view.destination, view.destination_port}, {view.source, view.source_port},
                    fields);
  ++answers_;
  return Verdict::kAnswer;
}

}  // namespace im::orchestrator
