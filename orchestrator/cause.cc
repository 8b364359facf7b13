#include "orchestrator/cause.h"

#include <span>

#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

// Longest detail taken from an agent, in bytes: a line of `im events`.
constexpr size_t kDetailBytesMax = 200;

void SetBytes(const IpAddress& address, std::string* out) {
  const std::span<const uint8_t> bytes = address.bytes();
  out->assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

IpAddress AddressOf(const std::string& bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return IpAddress();
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

uint16_t PortOf(uint32_t port) { return port <= UINT16_MAX ? static_cast<uint16_t>(port) : 0; }

// "SYN from app:43512 to :6379"
std::string FlowText(absl::string_view what, const FlowKey& flow, NameOfAddress name_of) {
  std::string text(what);
  if (!flow.source.is_unspecified()) absl::StrAppend(&text, " from ", name_of(flow.source));
  if (flow.source_port != 0) absl::StrAppend(&text, ":", flow.source_port);
  if (flow.destination_port != 0) absl::StrAppend(&text, " to :", flow.destination_port);
  return text;
}

std::string WithDetail(absl::string_view what, const std::string& detail) {
  return detail.empty() ? std::string(what) : absl::StrCat(what, " ", detail);
}

}  // namespace

Cause CauseOfPacket(const IpView& view) {
  Cause cause;
  cause.flow = view.flow();
  if (view.is_syn()) {
    cause.kind = Cause::Kind::kSyn;
  } else if (view.protocol == kProtocolUdp) {
    cause.kind = Cause::Kind::kDatagram;
  } else if (view.is_echo_request()) {
    cause.kind = Cause::Kind::kPing;
  } else {
    cause.kind = Cause::Kind::kData;
  }
  return cause;
}

Cause MakeCause(Cause::Kind kind, absl::string_view detail) {
  Cause cause;
  cause.kind = kind;
  cause.detail = std::string(detail);
  return cause;
}

std::string CauseText(const Cause& cause, NameOfAddress name_of) {
  using Kind = Cause::Kind;
  switch (cause.kind) {
    case Kind::kUnknown:
      return cause.detail;
    case Kind::kSyn:
      return FlowText("SYN", cause.flow, name_of);
    case Kind::kDatagram:
      return FlowText("datagram", cause.flow, name_of);
    case Kind::kPing:
      return FlowText("ping", cause.flow, name_of);
    case Kind::kData:
      return FlowText(cause.flow.protocol == kProtocolTcp || cause.flow.protocol == 0
                          ? "data"
                          : absl::StrCat("packet of protocol ", cause.flow.protocol),
                      cause.flow, name_of);
    case Kind::kPublishedPort:
      return WithDetail("published port", cause.detail);
    case Kind::kExec:
      return WithDetail("im exec", cause.detail);
    case Kind::kUser:
      return WithDetail("im wake", cause.detail);
    case Kind::kWakeWith:
      return WithDetail("wakes with", cause.detail);
    case Kind::kMinRunning:
      return WithDetail("min_running", cause.detail);
    case Kind::kDependsOn:
      return WithDetail("needed by", cause.detail);
    case Kind::kRun:
      return WithDetail("im run", cause.detail);
    case Kind::kTimer:
      return WithDetail("timer", cause.detail);
    case Kind::kGroup:
      return WithDetail("group", cause.detail);
    case Kind::kRestart:
      return cause.detail.empty() ? "restart" : absl::StrCat("restart: ", cause.detail);
  }
  return cause.detail;
}

proto::WakeCause ToProto(const Cause& cause) {
  proto::WakeCause out;
  out.set_kind(static_cast<proto::WakeCause::Kind>(cause.kind));
  if (!cause.flow.source.is_unspecified()) SetBytes(cause.flow.source, out.mutable_source());
  if (!cause.flow.destination.is_unspecified())
    SetBytes(cause.flow.destination, out.mutable_destination());
  out.set_source_port(cause.flow.source_port);
  out.set_destination_port(cause.flow.destination_port);
  out.set_protocol(cause.flow.protocol);
  out.set_detail(cause.detail);
  return out;
}

Cause FromProto(const proto::WakeCause& in) {
  Cause cause;
  const int kind = static_cast<int>(in.kind());
  if (kind >= 0 && kind <= static_cast<int>(Cause::Kind::kRestart))
    cause.kind = static_cast<Cause::Kind>(kind);
  cause.flow.source = AddressOf(in.source());
  cause.flow.destination = AddressOf(in.destination());
  cause.flow.source_port = PortOf(in.source_port());
  cause.flow.destination_port = PortOf(in.destination_port());
  cause.flow.protocol = in.protocol() <= UINT8_MAX ? static_cast<uint8_t>(in.protocol()) : 0;
  // It will be printed on a terminal.
  for (const char c : in.detail().substr(0, kDetailBytesMax)) {
    const auto byte = static_cast<unsigned char>(c);
    cause.detail.push_back(byte < 0x20 || byte == 0x7f ? '?' : c);
  }
  return cause;
}

}  // namespace im::orchestrator
