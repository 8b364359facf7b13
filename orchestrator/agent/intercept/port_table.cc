#include "orchestrator/agent/intercept/port_table.h"

#include <algorithm>
#include <cerrno>

namespace im::agent {
namespace {

// Whether `any` is unspecified and stands for `other`, too: 0.0.0.0 for IPv4, ::
// for both families unless told otherwise.
bool Covers(const PortTable::Claim& any, const IpAddress& other) {
  if (!any.local.address.is_unspecified()) return false;
  return any.local.address.is_v4() ? other.is_v4() : !any.v6_only || !other.is_v4();
}

bool Overlap(const PortTable::Claim& a, const PortTable::Claim& b) {
  return a.local.address == b.local.address || Covers(a, b.local.address) ||
         Covers(b, a.local.address);
}

bool Agree(const PortTable::Claim& first, const PortTable::Claim& later) {
  if (first.reuse_port && later.reuse_port) return true;
  return first.reuse_address && later.reuse_address && !first.listening;
}

}  // namespace

bool PortTable::Free(const void* owner, const Claim& claim) const {
  const auto at = ports_.find(claim.local.port);
  if (at == ports_.end()) return true;
  return std::none_of(at->second.begin(), at->second.end(), [&](const Entry& entry) {
    return entry.owner != owner && Overlap(entry.claim, claim) &&
           !Agree(entry.claim, claim);
  });
}

PortTable::Entry* PortTable::Find(const void* owner, uint16_t port) {
  const auto at = ports_.find(port);
  if (at == ports_.end()) return nullptr;
  for (Entry& entry : at->second)
    if (entry.owner == owner) return &entry;
  return nullptr;
}

int PortTable::Bind(const void* owner, Claim& claim) {
  if (claim.local.port == 0) {
    // One that nobody has at all, so that no two get the same by chance.
    constexpr uint32_t kPorts = kFreePortsEnd - kFreePortsBegin;
    const auto first = static_cast<uint32_t>(random_.Below(kPorts));
    for (uint32_t i = 0; i < kPorts; ++i) {
      const auto port = static_cast<uint16_t>(kFreePortsBegin + (first + i) % kPorts);
      if (ports_.contains(port)) continue;
      claim.local.port = port;
      break;
    }
    if (claim.local.port == 0) return EADDRINUSE;
  } else if (!Free(owner, claim)) {
    return EADDRINUSE;
  }
  ports_[claim.local.port].push_back({owner, claim});
  ++size_;
  return 0;
}

int PortTable::Listen(const void* owner, const Endpoint& local) {
  Entry* entry = Find(owner, local.port);
  if (entry == nullptr) return EINVAL;
  Claim claim = entry->claim;
  claim.listening = true;
  if (!Free(owner, claim)) return EADDRINUSE;
  entry->claim = claim;
  return 0;
}

void PortTable::StopListening(const void* owner, const Endpoint& local) {
  if (Entry* entry = Find(owner, local.port)) entry->claim.listening = false;
}

bool PortTable::IsOpen(const Endpoint& at, bool listening) const {
  const auto port = ports_.find(at.port);
  return port != ports_.end() &&
         std::any_of(port->second.begin(), port->second.end(), [&](const Entry& entry) {
           return (entry.claim.local.address == at.address || Covers(entry.claim, at.address)) &&
                  (entry.claim.listening || !listening);
         });
}

void PortTable::Release(const void* owner, const Endpoint& local) {
  const auto at = ports_.find(local.port);
  if (at == ports_.end()) return;
  size_ -= std::erase_if(at->second, [&](const Entry& entry) { return entry.owner == owner; });
  if (at->second.empty()) ports_.erase(at);
}

}  // namespace im::agent
