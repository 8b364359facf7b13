#include "orchestrator/transition_event.h"

#include <string>

namespace im::orchestrator {

proto::Event TransitionEvent(const Transition& transition, const HostTable& hosts,
                             int64_t unix_nanos) {
  proto::Event event;
  event.set_unix_nanos(unix_nanos);
  event.set_host(hosts[transition.host].name);
  event.set_from(std::string(HostStateName(transition.from)));
  event.set_to(std::string(HostStateName(transition.to)));
  std::string text = transition.reason;
  if (text.empty() && transition.cause.kind != Cause::Kind::kUnknown) {
    text = CauseText(transition.cause,
                     [&hosts](const IpAddress& address) { return hosts.NameOf(address); });
  }
  event.set_text(std::move(text));
  if (transition.cause.kind != Cause::Kind::kUnknown) {
    *event.mutable_cause() = ToProto(transition.cause);
  }
  event.set_duration_ns(static_cast<uint64_t>(transition.duration.count()));
  event.set_error(transition.error);
  return event;
}

}  // namespace im::orchestrator
