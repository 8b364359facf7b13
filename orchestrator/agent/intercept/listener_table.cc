#include "orchestrator/agent/intercept/listener_table.h"

#include <algorithm>
#include <utility>

#include "netstack/net_error.h"

namespace im::agent {

int ListenerTable::Join(const Endpoint& local, bool v6_only,
                        const std::optional<Endpoint>& outside, Member& member) {
  for (const auto& group : groups_) {
    if (group->local != local || group->v6_only != v6_only) continue;
    group->members.push_back(&member);
    OnFullChanged(member);
    return 0;
  }
  auto group = std::make_unique<Group>();
  group->local = local;
  group->v6_only = v6_only;
  if (outside.has_value()) {
    auto listener = stack_.Listen(
        *outside, [g = group.get()](std::unique_ptr<netstack::TcpConnection> connection) {
          Arrival arrival;
          arrival.local = connection->local();
          arrival.remote = connection->remote();
          arrival.connection = std::move(connection);
          Next(*g)->OnArrival(std::move(arrival));
        });
    if (!listener.ok()) return netstack::NetErrno(listener.status());
    group->listener = *std::move(listener);
  }
  group->members.push_back(&member);
  groups_.push_back(std::move(group));
  return 0;
}

ListenerTable::Group* ListenerTable::GroupOf(const Member& member) {
  for (const auto& group : groups_)
    if (std::find(group->members.begin(), group->members.end(), &member) != group->members.end())
      return group.get();
  return nullptr;
}

void ListenerTable::Leave(Member& member) {
  Group* group = GroupOf(member);
  if (group == nullptr) return;
  std::erase(group->members, &member);
  if (!group->members.empty()) return;
  std::erase_if(groups_, [group](const auto& g) { return g.get() == group; });
}

void ListenerTable::OnFullChanged(Member& member) {
  Group* group = GroupOf(member);
  if (group == nullptr || group->listener == nullptr) return;
  group->listener->SetPaused(std::all_of(group->members.begin(), group->members.end(),
                                         [](const Member* m) { return m->Full(); }));
}

ListenerTable::Member* ListenerTable::Next(Group& group) {
  // Who has room first; if nobody has, the one whose turn it is decides.
  for (size_t i = 0; i < group.members.size(); ++i) {
    Member* member = group.members[group.next++ % group.members.size()];
    if (!member->Full()) return member;
  }
  return group.members[group.next++ % group.members.size()];
}

ListenerTable::Member* ListenerTable::Find(const Endpoint& to) {
  Group* any = nullptr;
  for (const auto& group : groups_) {
    if (group->local.port != to.port) continue;
    if (group->local.address == to.address) return Next(*group);
    const IpAddress& address = group->local.address;
    if (!address.is_unspecified()) continue;
    const bool v4 = to.address.is_v4();
    if (address.is_v4() ? v4 : !v4 || !group->v6_only) any = group.get();
  }
  return any == nullptr ? nullptr : Next(*any);
}

}  // namespace im::agent
