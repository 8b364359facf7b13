// Cause: why something woke, as people read it.

#ifndef IM_ORCHESTRATOR_CAUSE_H_
#define IM_ORCHESTRATOR_CAUSE_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "base/ip_header.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

struct Cause {
  // The numbers of im.proto.WakeCause.Kind.
  enum class Kind : uint8_t {
    kUnknown = 0,
    kSyn = 1,
    kDatagram = 2,
    kPing = 3,
    kData = 4,  // of an established connection, or anything else
    kPublishedPort = 5,
    kExec = 6,
    kUser = 7,  // im wake
    kWakeWith = 8,
    kMinRunning = 9,
    kDependsOn = 10,
    kRun = 11,  // im run
    kTimer = 12,
    kGroup = 13,
    kRestart = 14,
  };

  Kind kind = Kind::kUnknown;
  FlowKey flow;        // of the packet, for kSyn … kData
  std::string detail;  // what the other kinds need: a port, a host, a reason
};

// The cause that a packet is.
Cause CauseOfPacket(const IpView& view);
Cause MakeCause(Cause::Kind kind, absl::string_view detail = "");

// The name of an address, or its text where it has none.
using NameOfAddress = absl::FunctionRef<std::string(const IpAddress&)>;

// "SYN from app:43512 to :6379", "ping from app", "im wake", …
std::string CauseText(const Cause& cause, NameOfAddress name_of);

proto::WakeCause ToProto(const Cause& cause);
// Whatever is malformed in it is left out: it comes from an agent.
Cause FromProto(const proto::WakeCause& cause);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CAUSE_H_
