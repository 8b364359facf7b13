#include "orchestrator/agent/use_meter.h"

#include <algorithm>
#include <optional>

namespace im::agent {

UseMeter::UseMeter(const proto::IdlePolicy& policy, const DualStack& dual_stack)
    : dual_stack_(dual_stack), bytes_below_(policy.below_bytes_per_s()) {
  for (const std::string& text : policy.ignore_from())
    if (const std::optional<IpPrefix> prefix = IpPrefix::Parse(text)) from_.push_back(*prefix);
  for (const uint32_t port : policy.ignore_ports()) ports_.push_back(static_cast<uint16_t>(port));
  configured_ = !from_.empty() || !ports_.empty() || bytes_below_ > 0;
}

bool UseMeter::Counts(const IpView& packet, const IpAddress& other, uint16_t own_port,
                      Instant now) {
  for (const IpPrefix& prefix : from_)
    if (prefix.Contains(other) || prefix.Contains(dual_stack_.Plain(other))) return false;
  // Of other protocols, and of later fragments, the port reads as 0.
  if (own_port != 0 && std::find(ports_.begin(), ports_.end(), own_port) != ports_.end())
    return false;
  if (bytes_below_ == 0) return true;
  if (now - window_began_ >= kWindow) {
    window_began_ = now;
    window_bytes_ = 0;
  }
  window_bytes_ += packet.payload_size();
  return window_bytes_ >= bytes_below_;
}

}  // namespace im::agent
