#include "bench/report_keeper.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace im::bench {
namespace {

// Of `samples` measurements, all of the same value.
Report Of(size_t samples) {
  Report report;
  report.rows.push_back({"race", "speed", "hare", "m/s",
                         Samples(std::vector<double>(samples, static_cast<double>(samples)))});
  return report;
}

TEST(ReportKeeperTest, TheLastIsGiven) {
  auto keeper = ReportKeeper::Create();
  ASSERT_TRUE(keeper.ok()) << keeper.status();
  EXPECT_FALSE(keeper->Last().has_value());
  for (size_t samples = 1; samples <= 5; ++samples) {
    ASSERT_TRUE(keeper->Keep(Of(samples)).ok());
    const auto last = keeper->Last();
    ASSERT_TRUE(last.has_value());
    EXPECT_EQ(last->rows[0].samples.count(), samples);
  }
}

TEST(ReportKeeperTest, WhoIsKilledWhileItWritesLeavesAWholeOne) {
  for (int round = 0; round < 50; ++round) {
    auto keeper = ReportKeeper::Create();
    ASSERT_TRUE(keeper.ok()) << keeper.status();
    int kept[2];
    ASSERT_EQ(pipe(kept), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (size_t samples = 10'000;; ++samples) {
        if (!keeper->Keep(Of(samples)).ok() || write(kept[1], "k", 1) != 1) _exit(1);
      }
    }
    char one;
    for (int i = 0; i <= round % 5; ++i) ASSERT_EQ(read(kept[0], &one, 1), 1);
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    const auto last = keeper->Last();
    ASSERT_TRUE(last.has_value());
    const Samples& samples = last->rows[0].samples;
    EXPECT_EQ(static_cast<double>(samples.count()), samples.Max());
    close(kept[0]);
    close(kept[1]);
  }
}

}  // namespace
}  // namespace im::bench
