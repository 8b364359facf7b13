#include "orchestrator/agent/wake_cause.h"

namespace im::agent {

proto::WakeCause CauseOf(Use use, const IpView& packet) {
  proto::WakeCause cause;
  switch (use) {
    case Use::kSyn:
      cause.set_kind(proto::WakeCause::SYN);
      break;
    case Use::kDatagram:
    case Use::kName:
      cause.set_kind(proto::WakeCause::DATAGRAM);
      break;
    case Use::kPing:
      cause.set_kind(proto::WakeCause::PING);
      break;
    default:
      cause.set_kind(proto::WakeCause::DATA);
  }
  cause.set_source(packet.source.ToBytes());
  cause.set_destination(packet.destination.ToBytes());
  cause.set_source_port(packet.source_port);
  cause.set_destination_port(packet.destination_port);
  cause.set_protocol(packet.protocol);
  return cause;
}

proto::WakeCause CauseOf(proto::WakeCause::Kind kind) {
  proto::WakeCause cause;
  cause.set_kind(kind);
  return cause;
}

}  // namespace im::agent
