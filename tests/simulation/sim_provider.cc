#include "tests/simulation/sim_provider.h"

namespace im::simulation {
namespace {

// providers/process_provider.h
constexpr Duration kReleaseMargin = std::chrono::seconds(2);

}  // namespace

void SimProvider::Start(const proto::StartRequest& request, const StartOptions&) {
  const InstanceKey key{request.host(), request.incarnation()};
  if (!known_.emplace(key, false).second) return;
  const Node node = delegate_.AddAgent(request);
  processes_.running[key] = node;
  world_.After(world_.Delay(), [&d = delegate_, imd = imd_, key, node] {
    d.InImd(imd, [key, node](orchestrator::Controller& controller) {
      controller.OnStarted({key.first, key.second}, {node, 1});
    });
  });
}

void SimProvider::Adopt(const InstanceId& id, const InstanceHandle&, const std::string&) {
  const InstanceKey key = KeyOf(id);
  if (!known_.emplace(key, false).second) return;
  if (processes_.running.contains(key)) return;
  TellEnd(key, processes_.exits[key], Duration(0));
}

void SimProvider::EndOthers(const std::string&) {
  std::vector<Node> others;
  for (const auto& [key, node] : processes_.running)
    if (!known_.contains(key)) others.push_back(node);
  for (const Node node : others) delegate_.KillAgent(node);
}

void SimProvider::Release(const InstanceId& id, Duration grace, bool force) {
  const InstanceKey key = KeyOf(id);
  const auto known = known_.find(key);
  const auto running = processes_.running.find(key);
  if (known == known_.end() || running == processes_.running.end()) return;
  const auto kill = [&d = delegate_, node = running->second] { d.KillAgent(node); };
  if (force) return world_.After(world_.Delay(), kill);
  if (std::exchange(known->second, true)) return;
  world_.After(world_.Delay(), [&d = delegate_, node = running->second] { d.StopAgent(node); });
  world_.After(grace + kReleaseMargin, [this_imd = imd_, &d = delegate_, kill] {
    // A timer of this imd's.
    d.InImd(this_imd, [kill](orchestrator::Controller&) { kill(); });
  });
}

std::optional<orchestrator::InstanceHandle> SimProvider::Describe(const InstanceId& id) const {
  const auto running = processes_.running.find(KeyOf(id));
  if (!known_.contains(KeyOf(id)) || running == processes_.running.end()) return std::nullopt;
  return InstanceHandle{running->second, 1};
}

void SimProvider::OnExit(const InstanceKey& key, const proto::ExitReport& report) {
  if (known_.contains(key)) TellEnd(key, report, world_.Delay());
}

void SimProvider::TellEnd(const InstanceKey& key, const proto::ExitReport& report, Duration delay) {
  known_.erase(key);
  const auto tell = [&d = delegate_, imd = imd_, key, report] {
    d.InImd(imd, [key, report](orchestrator::Controller& controller) {
      controller.OnEnded({key.first, key.second}, report);
    });
  };
  world_.After(delay, tell);
  if (twice_ && world_.Chance(30)) world_.After(delay + world_.Delay(), tell);
}

}  // namespace im::simulation
