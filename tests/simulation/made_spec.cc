// The cluster of a seed.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/simulation/cluster_simulation.h"

namespace im::simulation {

using orchestrator::HostSpec;
using std::chrono::milliseconds;
using std::chrono::seconds;

void ClusterSimulation::MakeSpec() {
  Random& random = world_.random();
  spec_.name = "sim";
  spec_.network = *IpPrefix::Parse("10.77.0.0/16");
  spec_.gateway = IpAddress::V4(0x0a4d0001);
  spec_.domain = "sim.im";
  const size_t hosts = 1 + random.Below(5);
  for (size_t i = 0; i < hosts; ++i) {
    HostSpec host;
    host.name = host.service = host.hostname = absl::StrCat("h", i);
    host.address = IpAddress::V4(0x0a4d000au + static_cast<uint32_t>(i));
    host.argv = {"p"};
    host.working_dir = "/";
    host.start_timeout = milliseconds(calm_ ? 4'000 : 1'000 + random.Below(4'000));
    host.stop_grace_period = milliseconds(100 + random.Below(1'000));
    host.idle.after = milliseconds(50 + random.Below(3'000));
    host.idle.release_after.reset();
    if (!world_.Chance(20)) host.idle.release_after = milliseconds(random.Below(8'000));
    if (deaths_ && world_.Chance(25))
      host.restart = static_cast<orchestrator::RestartPolicy>(random.Below(3));
    host.min_running = world_.Chance(5);
    if (i > 0 && world_.Chance(15)) host.wake_with = {absl::StrCat("h", random.Below(i))};
    if (i > 0 && world_.Chance(15)) host.depends_on = {{absl::StrCat("h", random.Below(i))}};
    spec_.hosts.push_back(std::move(host));
  }
  if (hosts > 1 && world_.Chance(35)) {
    shape_ = static_cast<Shape>(random.Below(4));
    orchestrator::GroupSpec group;
    group.name = "g";
    group.suspend_together = true;
    group.heartbeat_bytes_per_s = 100'000;
    const size_t members = 2 + random.Below(hosts - 1);
    const HostSpec first = spec_.hosts[0];
    for (size_t i = 0; i < members; ++i) {
      HostSpec& host = spec_.hosts[i];
      host.group = "g";
      host.min_running = false;
      host.wake_with.clear();
      host.depends_on.clear();
      host.idle = first.idle;
      // Beats come every 100 ms; what is found late is found by the next of them.
      host.idle.after = std::max<Duration>(host.idle.after, milliseconds(500));
      group.hosts.push_back(host.name);
    }
    spec_.groups.push_back(std::move(group));
  }
  const bool group_to_disk = disk_ && world_.Chance(50);
  for (size_t i = 0; disk_ && i < hosts; ++i) {
    HostSpec& host = spec_.hosts[i];
    // Who comes after one that goes to disk waits for it.
    if (calm_) host.start_timeout = seconds(10);
    if (host.group.empty() ? world_.Chance(60) : group_to_disk)
      host.on_release = orchestrator::OnRelease::kCheckpoint;
    if (host.group.empty() && world_.Chance(40)) host.max_lifetime = host.idle.after + seconds(1) + world_.UpTo(seconds(30));
  }
  if (disk_) {
    limits_.timer_on_disk_min = world_.UpTo(seconds(3));
    limits_.move_retry = milliseconds(100) + world_.UpTo(seconds(3));
  }
  limits_.starting_max = 1 + random.Below(4);
  limits_.backoff.first = milliseconds(1 + random.Below(400));
  limits_.backoff.max = seconds(1 + random.Below(10));
  limits_.backoff.forget_after = seconds(30);
  limits_.stable_after = seconds(2);
  limits_.kill_retry_first = milliseconds(50);
  limits_.held.packets_per_host = 4 + random.Below(20);
  limits_.held.packets = 10 + random.Below(60);
}

// Who is tested before it is up, and who is started after others. Drawn beside all else. A
// group has an order of its own.
void ClusterSimulation::MakeNeeds() {
  SeededRandom random(seed_ + kNeedsSeed);
  if (random.Below(2) == 0) return;
  for (size_t i = 0; i < spec_.hosts.size(); ++i) {
    HostSpec& host = spec_.hosts[i];
    if (!host.group.empty()) continue;
    if (random.Below(3) == 0) host.healthcheck.emplace();
    if (i == 0 || random.Below(3) == 0) continue;
    const HostSpec& other = spec_.hosts[random.Below(i)];
    // Who calls waits for all of them, and in a calm world not for a way to disk.
    if (!other.group.empty() || (calm_ && other.on_release == orchestrator::OnRelease::kCheckpoint))
      continue;
    host.depends_on.push_back({other.name, orchestrator::DependencySpec::Condition::kHealthy});
    host.start_timeout = std::max<Duration>(host.start_timeout, seconds(4));
  }
}

// One whose program does something and ends, and others that are started when it has. Drawn
// beside all else.
void ClusterSimulation::MakeJob() {
  SeededRandom random(seed_ + kJobSeed);
  if (spec_.hosts.size() < 2 || random.Below(3) > 0) return;
  const HostId number = static_cast<HostId>(random.Below(spec_.hosts.size() - 1));
  HostSpec& job = spec_.hosts[number];
  if (!job.group.empty() || GoesToDisk(number)) return;
  job_ = number;
  // What must run is not done.
  job.min_running = false;
  job.wake_with.clear();
  if (job.restart == orchestrator::RestartPolicy::kAlways)
    job.restart = orchestrator::RestartPolicy::kOnFailure;
  for (size_t i = 0; i < spec_.hosts.size(); ++i) {
    HostSpec& host = spec_.hosts[i];
    std::erase_if(host.depends_on, [&job](const auto& needed) { return needed.host == job.name; });
    if (i <= number || !host.group.empty() || random.Below(2) > 0) continue;
    host.depends_on.push_back({job.name, orchestrator::DependencySpec::Condition::kCompleted});
    host.start_timeout = std::max<Duration>(host.start_timeout, seconds(6));
  }
  // In a world of deaths its work may take longer.
  if (job.max_lifetime && random.Below(2) == 0)
    job.max_lifetime = milliseconds(700 + random.Below(1'000));
}

// Whether hosts have an address of each family. Drawn beside all else.
void ClusterSimulation::MakeFamilies() {
  if (families_.Below(2) == 0) spec_.dual_stack = DualStack(*IpPrefix::Parse("fd00:77::/96"));
}

}  // namespace im::simulation
