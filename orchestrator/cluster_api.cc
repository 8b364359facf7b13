#include "orchestrator/cluster_api.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/backoff.h"
#include "orchestrator/host_view.h"

namespace im::orchestrator {

ClusterApi::ClusterApi(Controller& controller) : controller_(controller) {
  controller_.SetObserver(this);
}

ClusterApi::~ClusterApi() { controller_.SetObserver(nullptr); }

absl::StatusOr<HostId> ClusterApi::Find(const std::string& name) const {
  const std::optional<HostId> host = controller_.hosts().FindByName(name);
  if (!host.has_value()) {
    return absl::NotFoundError(
        absl::StrCat("no host \"", name, "\" in cluster ", controller_.spec().name));
  }
  return *host;
}

std::vector<HostId> ClusterApi::FindAll(const std::string& name) const {
  const HostTable& hosts = controller_.hosts();
  if (const std::optional<HostId> host = hosts.FindByName(name)) return {*host};
  std::vector<HostId> replicas;
  while (const std::optional<HostId> host =
             hosts.FindByName(absl::StrCat(name, "-", replicas.size() + 1)))
    replicas.push_back(*host);
  return replicas;
}

proto::HostInfo ClusterApi::Describe(HostId host) const {
  const EventLoop& loop = controller_.loop();
  return DescribeHost(controller_, host, loop.now(), loop.clock().UnixNanos());
}

proto::Cluster ClusterApi::Cluster() { return DescribeCluster(controller_); }

void ClusterApi::Refresh(const std::vector<std::string>& hosts, std::function<void()> done) {
  absl::flat_hash_set<HostId> wanted;
  for (const std::string& name : hosts) {
    // Who asks for an unknown one is told so by the answer.
    for (const HostId host : FindAll(name)) wanted.insert(host);
  }
  if (hosts.empty()) {
    controller_.hosts().ForEach([&](HostId host, const HostTable::Host& row) {
      if (row.state == HostState::kRunning) wanted.insert(host);
    });
  }
  if (wanted.size() > kRefreshHostsMax) return done();
  Refreshing asked{{}, std::move(done), {}};
  for (const HostId host : wanted) {
    if (controller_.AskForStatus(host)) asked.hosts.insert(host);
  }
  if (asked.hosts.empty()) return asked.done();
  refreshing_.push_back(std::move(asked));
  const auto it = std::prev(refreshing_.end());
  it->timer = controller_.loop().After(kRefreshBound, [this, it] {
    const std::function<void()> tell = std::move(it->done);
    refreshing_.erase(it);
    tell();
  });
}

void ClusterApi::OnAnswer(HostId host) {
  for (auto it = refreshing_.begin(); it != refreshing_.end();) {
    const auto current = it++;
    if (current->hosts.erase(host) == 0 || !current->hosts.empty()) continue;
    const std::function<void()> tell = std::move(current->done);
    refreshing_.erase(current);
    tell();
  }
}

absl::StatusOr<proto::ListHostsReply> ClusterApi::Hosts(const proto::ListHostsRequest& request) {
  proto::ListHostsReply reply;
  if (request.names().empty()) {
    const uint32_t limit = request.limit() == 0 ? UINT32_MAX : request.limit();
    controller_.hosts().ForEachFrom(request.from(), [&](HostId host, const HostTable::Host& row) {
      if (request.running_only() && !HasInstance(row.state)) return true;
      if (static_cast<uint32_t>(reply.hosts_size()) == limit) {
        reply.set_next(host);
        return false;
      }
      *reply.add_hosts() = Describe(host);
      return true;
    });
    return reply;
  }
  for (const std::string& name : request.names()) {
    const std::vector<HostId> hosts = FindAll(name);
    if (hosts.empty()) return Find(name).status();
    for (const HostId host : hosts) {
      if (request.running_only() && !HasInstance(controller_.hosts()[host].state)) continue;
      *reply.add_hosts() = Describe(host);
    }
  }
  return reply;
}

absl::StatusOr<proto::WhyReply> ClusterApi::Why(const std::string& name) {
  IM_ASSIGN_OR_RETURN(const HostId host, Find(name));
  proto::WhyReply reply;
  *reply.mutable_host() = Describe(host);
  for (proto::Event& event : controller_.events().Newest({name}, kWhyEvents)) {
    *reply.add_events() = std::move(event);
  }
  for (std::string& reason : KeepsUp(controller_, host, controller_.loop().now())) {
    reply.add_keeps_up(std::move(reason));
  }
  return reply;
}

void ClusterApi::Wake(const proto::WakeRequest& request, HostDone done) {
  const absl::StatusOr<HostId> host = Find(request.name());
  if (!host.ok()) return done(host.status());
  // What a client may name; all else is the user's own wish.
  const bool exec = request.cause() == proto::WakeCause::EXEC;
  const Cause cause =
      MakeCause(exec ? Cause::Kind::kExec : Cause::Kind::kUser, request.detail());
  const HostState before = controller_.hosts()[*host].state;
  if (absl::Status status = controller_.Wake(*host, cause); !status.ok()) return done(status);
  // A start is bounded by its own timeout.
  Wait(*host, Goal::kUp, before == HostState::kPaused ? kSuspendBound : Duration::max(),
       std::move(done));
}

void ClusterApi::Suspend(const std::string& name, HostDone done) {
  const absl::StatusOr<HostId> host = Find(name);
  if (!host.ok()) return done(host.status());
  if (absl::Status status = controller_.Suspend(*host); !status.ok()) return done(status);
  Wait(*host, Goal::kPaused, kSuspendBound, std::move(done));
}

void ClusterApi::Release(const std::string& name, HostDone done) {
  const absl::StatusOr<HostId> host = Find(name);
  if (!host.ok()) return done(host.status());
  if (absl::Status status = controller_.Release(*host, "im release"); !status.ok()) {
    return done(status);
  }
  Wait(*host, Goal::kReleased, Duration::max(), std::move(done));
}

absl::StatusOr<proto::JoinReply> ClusterApi::Join(const proto::JoinRequest& request,
                                                  Done on_end) {
  return controller_.Join(request.name(), absl::StrJoin(request.argv(), " "), std::move(on_end));
}

void ClusterApi::Leave(const std::string& host) { controller_.Leave(host); }

absl::StatusOr<proto::AddPeerReply> ClusterApi::AddPeer(const proto::AddPeerRequest& request) {
  const ClusterSpec& spec = controller_.spec();
  proto::AddPeerReply reply;
  IM_ASSIGN_OR_RETURN(*reply.mutable_peer(), controller_.peers().Add(request));
  reply.set_gateway_public_key(controller_.options().gateway_key.ToBase64());
  reply.set_gateway_endpoint(
      Endpoint{spec.listen.address, controller_.options().gateway_endpoint.port}.ToString());
  reply.set_gateway(spec.gateway.ToString());
  reply.set_network(spec.network.ToString());
  if (spec.dual_stack.on()) reply.set_network6(spec.dual_stack.network().ToString());
  reply.set_domain(spec.domain);
  reply.set_mtu(kInnerMtu);
  return reply;
}

absl::StatusOr<proto::PeerInfo> ClusterApi::RemovePeer(const std::string& name) {
  return controller_.peers().Remove(name);
}

proto::ListPeersReply ClusterApi::ListPeers() {
  proto::ListPeersReply reply;
  for (proto::PeerInfo& peer : controller_.peers().List()) *reply.add_peers() = std::move(peer);
  return reply;
}

absl::StatusOr<proto::DashboardReply> ClusterApi::OpenDashboard(
    const proto::DashboardRequest& request) {
  std::optional<Endpoint> at;
  if (!request.listen().empty()) {
    at = Endpoint::Parse(request.listen());
    if (!at) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected ADDRESS:PORT, not ", request.listen()));
    }
  }
  if (!open_dashboard_) return absl::UnimplementedError("there is no dashboard here");
  return open_dashboard_(at);
}

void ClusterApi::Down(bool force, Done done) {
  downs_.push_back(std::move(done));
  controller_.Shutdown("im down", force, [this] {
    for (const Done& told : std::exchange(downs_, {})) told(absl::OkStatus());
    if (on_down_) on_down_();
  });
}

// ---- waiting ----------------------------------------------------------------

bool ClusterApi::Reached(Goal goal, HostState state) {
  switch (goal) {
    case Goal::kUp:
      return state == HostState::kRunning;
    case Goal::kPaused:
      return state == HostState::kPaused;
    case Goal::kReleased:
      return state == HostState::kImaginary;
  }
  return false;
}

void ClusterApi::Wait(HostId host, Goal goal, Duration bound, HostDone done) {
  if (Reached(goal, controller_.hosts()[host].state)) return done(Describe(host));
  waiters_.push_back({host, goal, std::move(done), {}});
  const auto it = std::prev(waiters_.end());
  if (bound == Duration::max()) return;
  it->timer = controller_.loop().After(bound, [this, it, bound] {
    const std::string text = absl::StrCat(controller_.hosts()[it->host].name,
                                          " did not answer within ", DurationText(bound));
    Finish([&](const Waiter& waiter) { return &waiter == &*it; },
           absl::DeadlineExceededError(text));
  });
}

void ClusterApi::Finish(const std::function<bool(const Waiter&)>& match,
                        const absl::StatusOr<proto::HostInfo>& answer) {
  std::list<Waiter> finished;
  for (auto it = waiters_.begin(); it != waiters_.end();) {
    const auto current = it++;
    if (match(*current)) finished.splice(finished.end(), waiters_, current);
  }
  for (const Waiter& waiter : finished) waiter.done(answer);
}

void ClusterApi::OnTransition(const Transition& transition) {
  // Of a host that has ended no answer will come.
  if (!HasInstance(transition.to)) OnAnswer(transition.host);
  if (waiters_.empty()) return;
  const HostId host = transition.host;
  Finish([&](const Waiter& w) { return w.host == host && Reached(w.goal, transition.to); },
         Describe(host));
  // Whoever waits for a pause waits in vain once the instance is gone.
  if (HasInstance(transition.to)) return;
  Finish([&](const Waiter& w) { return w.host == host && w.goal == Goal::kPaused; },
         absl::AbortedError(absl::StrCat(controller_.hosts()[host].name, " has ended")));
}

void ClusterApi::OnWakeOver(HostId host, absl::string_view reason) {
  Finish([&](const Waiter& w) { return w.host == host && w.goal == Goal::kUp; },
         absl::AbortedError(reason));
}

}  // namespace im::orchestrator
