#include "orchestrator/agent/intercept/udp_table.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "netstack/net_error.h"

namespace im::agent {

UdpTable::UdpTable(netstack::Stack& stack, std::vector<IpAddress> addresses)
    : stack_(stack), addresses_(std::move(addresses)) {}

int UdpTable::Join(uint16_t port, bool outside, Member& member) {
  Port& entry = ports_[port];
  if (outside && entry.endpoints.empty()) {
    if (const int error = Open(port, entry); error != 0) {
      if (entry.members.empty()) ports_.erase(port);
      return error;
    }
  }
  entry.members.push_back(&member);
  return 0;
}

int UdpTable::Open(uint16_t number, Port& port) {
  std::vector<std::unique_ptr<netstack::UdpEndpoint>> endpoints;
  for (const IpAddress& address : addresses_) {
    const Endpoint to = {address, number};
    auto endpoint = stack_.BindUdp(to, [this, to](const Endpoint& from,
                                                  std::span<const uint8_t> payload) {
      if (Member* member = Find(from, to)) member->OnDatagram(from, payload);
    });
    if (!endpoint.ok()) return netstack::NetErrno(endpoint.status());
    (*endpoint)->SetErrorHandler([this, number](const Endpoint& remote, const absl::Status& error) {
      OnUnreachable(number, remote, error);
    });
    endpoints.push_back(*std::move(endpoint));
  }
  port.endpoints = std::move(endpoints);
  return 0;
}

void UdpTable::Leave(uint16_t port, Member& member) {
  const auto at = ports_.find(port);
  if (at == ports_.end()) return;
  std::erase(at->second.members, &member);
  if (at->second.members.empty()) ports_.erase(at);
}

UdpTable::Member* UdpTable::Find(const Endpoint& from, const Endpoint& to) {
  const auto at = ports_.find(to.port);
  if (at == ports_.end()) return nullptr;
  int best = 0;
  std::vector<Member*> equals;
  for (Member* member : at->second.members) {
    const int fit = member->Fit(from, to);
    if (fit == 0 || fit < best) continue;
    if (fit > best) equals.clear();
    best = fit;
    equals.push_back(member);
  }
  if (equals.empty()) return nullptr;
  if (!equals.back()->Shares()) return equals.back();
  std::erase_if(equals, [](const Member* member) { return !member->Shares(); });
  return equals[absl::Hash<Endpoint>()(from) % equals.size()];
}

netstack::UdpEndpoint* UdpTable::EndpointOf(uint16_t port, bool v4) {
  const auto at = ports_.find(port);
  if (at == ports_.end()) return nullptr;
  for (const auto& endpoint : at->second.endpoints)
    if (endpoint->local().address.is_v4() == v4) return endpoint.get();
  return nullptr;
}

void UdpTable::OnUnreachable(uint16_t port, const Endpoint& remote, const absl::Status& error) {
  const auto at = ports_.find(port);
  if (at == ports_.end()) return;
  const std::vector<Member*> members = at->second.members;
  for (Member* member : members) member->OnUnreachable(remote, error);
}

}  // namespace im::agent
