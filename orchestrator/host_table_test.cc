#include "orchestrator/host_table.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

const Instant kStart{std::chrono::seconds(100)};

HostConfig Config(const std::string& name, uint32_t n) {
  return {.name = name, .address = TestAddress(n)};
}

TEST(HostTable, FindsByNameAndAddress) {
  HostTable table;
  const HostId web = *table.Add(Config("web", 2), kStart);
  const HostId db = *table.Add(Config("db", 3), kStart);
  EXPECT_EQ(table.FindByName("web"), web);
  EXPECT_EQ(table.FindByAddress(TestAddress(3)), db);
  EXPECT_EQ(table.FindByName("dbx"), std::nullopt);
  EXPECT_EQ(table.FindByAddress(TestAddress(4)), std::nullopt);
  EXPECT_EQ(table.NameOf(TestAddress(2)), "web");
  EXPECT_EQ(table.NameOf(TestAddress(4)), "10.77.0.4");
  EXPECT_EQ(table[db].state, HostState::kImaginary);
  EXPECT_EQ(table.count(HostState::kImaginary), 2u);
}

TEST(HostTable, AnIpv6AddressMeansItsHost) {
  HostTable table;
  const HostId web = *table.Add(Config("web", 2), kStart);
  table.NamePeer(TestAddress(9), "laptop");
  const DualStack dual_stack(*IpPrefix::Parse("fd00:77::/96"));
  const auto v6 = [&](uint32_t n) { return dual_stack.ToV6(TestAddress(n)); };
  EXPECT_EQ(table.FindByAddress(v6(2)), std::nullopt);
  table.SetDualStack(dual_stack);
  EXPECT_EQ(table.FindByAddress(v6(2)), web);
  EXPECT_EQ(table.FindByAddress(v6(3)), std::nullopt);
  EXPECT_EQ(table.NameOf(v6(2)), "web");
  EXPECT_EQ(table.NameOf(v6(9)), "laptop");
  EXPECT_EQ(table.NameOf(v6(3)), "fd00:77::a4d:3");
}

TEST(HostTable, RefusesDuplicates) {
  HostTable table;
  ASSERT_TRUE(table.Add(Config("web", 2), kStart).ok());
  EXPECT_EQ(table.Add(Config("web", 3), kStart).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(table.Add(Config("app", 2), kStart).status().message(),
            "address 10.77.0.2 of app belongs to web");
  EXPECT_EQ(table.size(), 1u);
}

TEST(HostTable, ARemovedGuestLeavesNothingAndItsRowIsUsedAgain) {
  HostTable table;
  ASSERT_TRUE(table.Add(Config("web", 2), kStart).ok());
  HostConfig guest = Config("run-1", 3);
  guest.guest = true;
  const HostId id = *table.Add(guest, kStart);
  table.RemoveGuest(id);
  EXPECT_FALSE(table.Contains(id));
  EXPECT_EQ(table.FindByName("run-1"), std::nullopt);
  EXPECT_EQ(table.FindByAddress(TestAddress(3)), std::nullopt);
  EXPECT_EQ(table.size(), 1u);
  size_t seen = 0;
  table.ForEach([&](HostId, const HostTable::Host&) { ++seen; });
  EXPECT_EQ(seen, 1u);
  guest.name = "run-2";
  EXPECT_EQ(*table.Add(guest, kStart), id);
  EXPECT_EQ(table.FindByName("run-2"), id);
}

TEST(HostTable, AppliesTransitionsAndRemembers) {
  HostTable table;
  const HostId db = *table.Add(Config("db", 2), kStart);
  Transition start;
  start.host = db;
  start.to = HostState::kStarting;
  start.incarnation = 7;
  start.cause = MakeCause(Cause::Kind::kUser);
  start.at = kStart + std::chrono::seconds(1);
  table.Apply(start);
  EXPECT_EQ(start.from, HostState::kImaginary);
  EXPECT_EQ(table[db].incarnation, 7u);
  EXPECT_EQ(table[db].since, start.at);
  EXPECT_EQ(table[db].history->cause.kind, Cause::Kind::kUser);

  Transition up;
  up.host = db;
  up.to = HostState::kRunning;
  up.duration = std::chrono::milliseconds(4);
  up.at = start.at + up.duration;
  table.Apply(up);
  EXPECT_EQ(up.from, HostState::kStarting);
  EXPECT_EQ(up.incarnation, 7u);
  EXPECT_EQ(table[db].history->starts, 1u);
  EXPECT_EQ(table[db].history->wake_kind, History::WakeKind::kCold);
  EXPECT_EQ(table[db].history->wake_duration, std::chrono::milliseconds(4));

  Transition end;
  end.host = db;
  end.to = HostState::kImaginary;
  end.reason = "exited with code 3";
  end.error = true;
  end.at = up.at;
  table.Apply(end);
  EXPECT_EQ(table[db].history->last_error, "exited with code 3");
  EXPECT_EQ(table.count(HostState::kImaginary), 1u);
  EXPECT_EQ(table.count(HostState::kRunning), 0u);

  // A start that fails was one too.
  start.incarnation = 8;
  table.Apply(start);
  table.Apply(end);
  EXPECT_EQ(table[db].history->starts, 2u);
}

TEST(HostTableDeathTest, AnEdgeThatIsNotInTheTableIsABug) {
  HostTable table;
  const HostId db = *table.Add(Config("db", 2), kStart);
  Transition pause;
  pause.host = db;
  pause.to = HostState::kPaused;
  EXPECT_DEATH(table.Apply(pause), "TransitionAllowed");
}

TEST(HostTableDeathTest, AnIncarnationIsNeverUsedTwice) {
  HostTable table;
  const HostId db = *table.Add(Config("db", 2), kStart);
  Transition start;
  start.host = db;
  start.to = HostState::kStarting;
  start.incarnation = 7;
  table.Apply(start);
  Transition end;
  end.host = db;
  end.to = HostState::kImaginary;
  table.Apply(end);
  start.to = HostState::kStarting;
  start.incarnation = 7;
  EXPECT_DEATH(table.Apply(start), "incarnation");
}

TEST(HostTable, AHundredThousandHostsStaySmall) {
  constexpr uint32_t kHosts = 100'000;
  const size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  HostTable table;
  for (uint32_t n = 0; n < kHosts; ++n)
    ASSERT_TRUE(table.Add(Config(absl::StrFormat("service-with-a-name-%06d", n), n), kStart).ok());
  const size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
  EXPECT_EQ(table.FindByName("service-with-a-name-099999"), kHosts - 1);
  // The aim is 1 KB a host. (Sanitizers' allocators report nothing here.)
  EXPECT_LT((after - before) / kHosts, 400u);
  RecordProperty("bytes_per_host", static_cast<int>((after - before) / kHosts));
}

}  // namespace
}  // namespace im::orchestrator
