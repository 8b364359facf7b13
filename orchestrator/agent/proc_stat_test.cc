#include "orchestrator/agent/proc_stat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace im::agent {
namespace {

TEST(ProcStatTest, ReadsTheFields) {
  const auto stat = ParseProcStat(
      "4711 (redis-server) S 12 4711 4711 0 -1 4194560 1000 17 3 0 150 50 0 0 20 0 6 0 1234 "
      "70000000 2048 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n");
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->name, "redis-server");
  EXPECT_EQ(stat->state, 'S');
  EXPECT_EQ(stat->parent, 12);
  EXPECT_EQ(stat->cpu, Duration(200 * 1'000'000'000LL / sysconf(_SC_CLK_TCK)));
  EXPECT_EQ(stat->children_faults, 17u);
  EXPECT_EQ(stat->resident_bytes, 2048u * sysconf(_SC_PAGESIZE));
}

TEST(ProcStatTest, NamesMayContainAnything) {
  const auto stat = ParseProcStat(
      "1 (a) R (b) D 7 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 6 0 1 7 8 9 10 11 12");
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->name, "a) R (b");
  EXPECT_EQ(stat->state, 'D');
  EXPECT_EQ(stat->parent, 7);
}

TEST(ProcStatTest, OtherTextsAreNotRead) {
  for (const char* text : {"", "1", "1 (a", "1 (a) S", ")1(", "1 (a) S x y z", "1 (a) SS 1 2 3 4"})
    EXPECT_FALSE(ParseProcStat(text).has_value()) << text;
}

TEST(ProcStatTest, NamesBecomeText) {
  EXPECT_EQ(PrintableName("a b\xff\x1b[0m"), "a b??[0m");
}

TEST(ProcStatTest, ReadsItself) {
  const auto stat = ReadProcStat(getpid());
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->parent, getppid());
  EXPECT_EQ(stat->state, 'R');
  EXPECT_GT(stat->resident_bytes, 0u);
  const TaskCounts counts = CountTasks({getpid()});
  EXPECT_GE(counts.running, 1);
  EXPECT_FALSE(ReadProcStat(0).has_value());
}

TEST(ProcStatTest, FindsDescendants) {
  int release[2];
  ASSERT_EQ(pipe(release), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(release[1]);
    char byte;
    _exit(read(release[0], &byte, 1) == 0 ? 0 : 1);
  }
  close(release[0]);
  EXPECT_THAT(Descendants(getpid()), testing::Contains(child));
  EXPECT_THAT(Descendants(getpid()), testing::Not(testing::Contains(getpid())));
  EXPECT_THAT(Descendants(child), testing::IsEmpty());
  close(release[1]);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST(ProcStatTest, CountsEstablishedConnectionsToOthers) {
  constexpr char kTcp[] =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
      "   0: 0300004D:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n"
      "   1: 0300004D:0050 0900004D:9C40 01 00000000:00000000 00:00000000 00000000     0\n"
      "   2: 0100007F:0050 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0\n"
      "   3: 0300004D:0050 0900004D:9C41 06 00000000:00000000 00:00000000 00000000     0\n";
  EXPECT_EQ(CountEstablished(kTcp), 1);
  constexpr char kTcp6[] =
      "  sl  local_address                         remote_address                        st\n"
      "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n"
      "   1: 0000000000000000FFFF00000300004D:0050 0000000000000000FFFF00000900004D:9C40 01 0\n"
      "   2: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:9C40 01 0\n"
      "   3: 00000000000000000000000001000000:0050 00000000000000000000000001000000:9C40 01 0\n";
  EXPECT_EQ(CountEstablished(kTcp6), 1);
  EXPECT_EQ(CountEstablished("garbage\n01 01 01\n"), 0);
}

TEST(ProcStatTest, FindsWhoListensOutside) {
  constexpr char kTcp[] =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
      "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
      "   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
      "   2: 0300004D:0051 0900004D:9C40 01 00000000:00000000 00:00000000 00000000\n";
  EXPECT_TRUE(ListensOutside(kTcp, SocketKind::kTcp, 8080));
  EXPECT_FALSE(ListensOutside(kTcp, SocketKind::kTcp, 80)) << "loopback";
  EXPECT_FALSE(ListensOutside(kTcp, SocketKind::kTcp, 81)) << "a connection";
  constexpr char kTcp6[] =
      "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0\n";
  EXPECT_TRUE(ListensOutside(kTcp6, SocketKind::kTcp, 80));
  EXPECT_FALSE(ListensOutside("", SocketKind::kTcp, 80));
  constexpr char kUdp[] =
      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout\n"
      "  291: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0\n"
      "  292: 0300004D:0036 0900004D:9C40 01 00000000:00000000 00:00000000 00000000     0        0\n";
  EXPECT_TRUE(ListensOutside(kUdp, SocketKind::kUdp, 53));
  EXPECT_FALSE(ListensOutside(kUdp, SocketKind::kUdp, 54)) << "it hears one alone";
}

}  // namespace
}  // namespace im::agent
