#include "orchestrator/cli/host_view.h"

#include <gtest/gtest.h>

namespace im::orchestrator::cli {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

proto::HostInfo HostOf(const char* name, const char* state) {
  proto::HostInfo host;
  host.set_name(name);
  host.set_state(state);
  host.set_address("10.77.0.2");
  return host;
}

TEST(HostView, TellsHowTheWakeWent) {
  proto::HostInfo host = HostOf("a", "running");
  EXPECT_EQ(TextOfWake(host, Terminal()), "");
  host.set_wake_kind("cold");
  host.set_wake_ns(8'100'000);
  EXPECT_EQ(TextOfWake(host, Terminal()), "cold 8.1ms");
  host.set_wake_kind("thaw");
  host.set_wake_ns(85'000);
  EXPECT_EQ(TextOfWake(host, Terminal()), "thaw 85us");
}

TEST(HostView, TellsWhatComesNext) {
  proto::HostInfo running = HostOf("a", "running");
  running.set_busy("cpu 12%");
  EXPECT_EQ(TextOfNext(running), "busy: cpu 12%");
  running.set_pause_in_ms(3'000);
  EXPECT_EQ(TextOfNext(running), "pauses in 3s");
  proto::HostInfo paused = HostOf("a", "paused");
  paused.set_release_in_ms(540'000);
  EXPECT_EQ(TextOfNext(paused), "released in 9m");
  proto::HostInfo waiting = HostOf("a", "paused");
  waiting.set_timer_in_ms(42'000);
  EXPECT_EQ(TextOfNext(waiting), "timer in 42s");
  proto::HostInfo starting = HostOf("a", "starting");
  starting.set_held_packets(1);
  EXPECT_EQ(TextOfNext(starting), "1 packet held");
  proto::HostInfo failed = HostOf("a", "imaginary");
  EXPECT_EQ(TextOfNext(failed), "");
  failed.set_last_error("exec nope: No such file");
  EXPECT_EQ(TextOfNext(failed), "exec nope: No such file");
  failed.set_retry_in_ms(2'000);
  EXPECT_EQ(TextOfNext(failed), "exec nope: No such file; not again for 2s");
}

TEST(HostView, TellsForHowLong) {
  proto::HostInfo host = HostOf("a", "running");
  EXPECT_EQ(TextSince(host, 100 * kSecond), "");
  host.set_state_since_unix_nanos(10 * kSecond + 1);
  EXPECT_EQ(TextSince(host, 100 * kSecond), "1m29s");
  EXPECT_EQ(TextSince(host, 5 * kSecond), "");  // the clock was set back
}

TEST(HostView, MakesTheTableOfPs) {
  proto::HostInfo web = HostOf("web", "running");
  web.set_cause_text("SYN from app:43512 to :6379");
  web.set_wake_kind("cold");
  web.set_wake_ns(8'100'000);
  web.set_memory_bytes(5 << 20);
  web.set_state_since_unix_nanos(90 * kSecond);
  EXPECT_EQ(HostTable({web, HostOf("db", "imaginary")}, 100 * kSecond, Terminal()),
            "HOST  STATE      SINCE  ADDRESS    LAST WAKE                    TOOK        MEMORY\n"
            "web   running      10s  10.77.0.2  SYN from app:43512 to :6379  cold 8.1ms    5.0M\n"
            "db    imaginary         10.77.0.2\n");
}

TEST(HostView, MakesTheTableOfDrops) {
  proto::HostInfo web = HostOf("web", "running");
  const std::vector<proto::HostInfo> quiet = {web, HostOf("db", "imaginary")};
  EXPECT_EQ(DropTable({}, quiet, Terminal()), "");
  (*web.mutable_status()->mutable_drops())["replayed"] = 12;
  (*web.mutable_status()->mutable_drops())["decrypt_failed"] = 3;
  proto::Cluster cluster;
  (*cluster.mutable_drops())["malformed"] = 1;
  EXPECT_EQ(DropTable(cluster, {web, HostOf("db", "imaginary")}, Terminal()),
            "HOST       DROPPED  REASON\n"
            "(gateway)        1  malformed\n"
            "web              3  decrypt_failed\n"
            "web             12  replayed\n");
}

}  // namespace
}  // namespace im::orchestrator::cli
