// Seeds (seeds.h) through cluster_simulation.h. A failure prints its seed, also where a
// check of ours ends the program. IM_SIM_TRACE=1: with all that happens. IM_SIM_DISK=0:
// hosts do not go to disk.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "tests/simulation/cluster_simulation.h"
#include "tests/simulation/seeds.h"

namespace im::simulation {
namespace {

// In memory where that is a place: thousands of seeds write many small files.
std::string Directory() {
  constexpr char kInMemory[] = "/dev/shm";
  const std::string in = access(kInMemory, W_OK) == 0 ? kInMemory : testing::TempDir();
  return absl::StrCat(in, "/im-simulation-", getpid());
}

// Of the seed that runs, for who is aborted.
char seed_text[64];
extern "C" void PrintSeed(int) {
  (void)!write(STDERR_FILENO, seed_text, strlen(seed_text));
  signal(SIGABRT, SIG_DFL);
}

class ClusterSimulationTest : public testing::Test {
 protected:
  ClusterSimulationTest() : directory_(Directory()) {
    std::filesystem::create_directories(directory_ + "/hosts");
    InitLog("simulation", LogLevel::kSilent);
    signal(SIGABRT, PrintSeed);
  }
  ~ClusterSimulationTest() override {
    signal(SIGABRT, SIG_DFL);
    std::filesystem::remove_all(directory_);
  }
  bool Run(uint64_t seed, ClusterSimulation::Reached& reached, bool disk = true) {
    snprintf(seed_text, sizeof(seed_text), "IM_SIM_SEED=%llu aborted\n",
             static_cast<unsigned long long>(seed));
    ClusterSimulation simulation(seed, directory_, FromEnvironment("IM_SIM_TRACE", 0) != 0,
                                 disk && FromEnvironment("IM_SIM_DISK", 1) != 0);
    simulation.RunAll();
    if (simulation.failed())
      ADD_FAILURE() << "IM_SIM_SEED=" << seed << ": " << simulation.failure();
    reached.Add(simulation.reached());
    return !simulation.failed();
  }

  const std::string directory_;
};

TEST_F(ClusterSimulationTest, HoldsItsPromisesForEverySeed) {
  ClusterSimulation::Reached reached;
  const Seeds to_run = SeedsToRun(FromEnvironment("IM_SLOW_FACTOR", 1) > 1 ? 300 : 10'000);
  const uint64_t seeds = to_run.count;
  uint64_t failures_left = FromEnvironment("IM_SIM_FAILURES", 1);
  for (uint64_t seed = to_run.first; seed < to_run.first + seeds; ++seed) {
    if (!Run(seed, reached) && --failures_left == 0) return;
  }
  if (to_run.one) return;
  std::cout << seeds << " seeds: " << reached.answered << " calls answered, " << reached.refused
            << " refused; " << reached.starts << " starts, " << reached.thaws << " thaws, "
            << reached.releases_cancelled << " releases cancelled, " << reached.group_sleeps
            << " sleeps of groups, " << reached.missed_beats << " beats missed, "
            << reached.restless_groups << " members restless; " << reached.imd_deaths << " deaths of imd, "
            << reached.agent_deaths << " of agents; " << reached.lost << " messages lost; "
            << reached.checkpoints << " checkpoints, " << reached.restores << " restores, "
            << reached.said << " things said on connections, " << reached.keepalives
            << " keepalives to disk, " << reached.moves << " moves, " << reached.renewals
            << " renewals, " << reached.started_again << " started again by the next imd; "
            << reached.needs
            << " starts after others, " << reached.jobs << " after a job, " << reached.overdue
            << " jobs too old; " << reached.group_disk
            << " times groups on disk; over IPv6 " << reached.answered6 << " answered ("
            << reached.within6 << " within the cluster), " << reached.refused6 << " refused, "
            << reached.said6 << " said, " << reached.keepalives6 << " keepalives, "
            << reached.datagrams6 << " datagrams, " << reached.unreachable6 << " unreachable\n";
  // The simulation is no good if it does not reach these.
  EXPECT_GT(reached.answered, seeds);
  EXPECT_GT(reached.refused, seeds / 10);
  EXPECT_GT(reached.imd_deaths, seeds / 10);
  EXPECT_GT(reached.agent_deaths, seeds / 10);
  EXPECT_GT(reached.releases_cancelled, seeds / 100);
  EXPECT_GT(reached.group_sleeps, seeds / 10);
  EXPECT_GT(reached.checkpoints, seeds / 2);
  EXPECT_GT(reached.restores, seeds / 2);
  EXPECT_GT(reached.said, seeds / 2);
  EXPECT_GT(reached.keepalives, seeds / 20);
  EXPECT_GT(reached.moves, seeds / 10);
  EXPECT_GT(reached.renewals, seeds / 2);
  EXPECT_GT(reached.needs, seeds / 10);
  EXPECT_GT(reached.jobs, seeds / 10);
  EXPECT_GE(reached.overdue, seeds / 10'000);
  EXPECT_GE(reached.started_again, seeds / 10'000);
  EXPECT_GT(reached.group_disk, seeds / 10);
  EXPECT_GT(reached.answered6, seeds / 4);
  EXPECT_GT(reached.within6, seeds / 10);
  EXPECT_GT(reached.refused6, seeds / 40);
  EXPECT_GT(reached.said6, seeds / 10);
  EXPECT_GT(reached.keepalives6, seeds / 100);
  EXPECT_GT(reached.datagrams6, seeds / 100);
  EXPECT_GT(reached.unreachable6, seeds / 100);
  // What groups do not promise, but nearly always do.
  EXPECT_LE(reached.missed_beats, reached.group_sleeps / 200 + 1);
  EXPECT_LE(reached.restless_groups, seeds / 100 + 1);
}

// Of the first 300,000 where hosts did not go to disk: copies of a packet of which one
// was refused while another was held, and a group whose members fell asleep slowly.
TEST_F(ClusterSimulationTest, HoldsItsPromisesForSeedsThatFailed) {
  ClusterSimulation::Reached reached;
  for (const uint64_t seed : {91'971, 109'655, 148'236, 195'016, 260'466})
    Run(seed, reached, /*disk=*/false);
}

// Of the first 1,000,000 with all: a SYN under way while max_lifetime ended its host, and a
// restored member of a group that heard that it may run no sooner than that it is to go.
TEST_F(ClusterSimulationTest, HoldsItsPromisesForSeedsThatFailedWithDisks) {
  ClusterSimulation::Reached reached;
  for (const uint64_t seed : {769'874, 968'876}) Run(seed, reached);
}

}  // namespace
}  // namespace im::simulation
