// The whole of imd's core in virtual time: see virtual_cluster.h.

#include "orchestrator/controller.h"

#include <gtest/gtest.h>

#include <chrono>

#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kYaml[] = R"(
name: test
network: {cidr: 10.77.0.0/16}
defaults:
  idle: {after: 1s, release_after: 10s}
  start_timeout: 8s
hosts:
  a: {command: [a]}
  b: {command: [b]}
  c: {command: [c], restart: always}
)";

class ControllerTest : public testing::Test {
 protected:
  ControllerTest() : cluster_(kYaml) {}

  VirtualInstance& Up(const std::string& host) {
    EXPECT_TRUE(cluster_.Wake(host).ok());
    EXPECT_TRUE(cluster_.RunUntil([&] { return Is(host, HostState::kRunning); }));
    return *cluster_.Find(host);
  }
  bool Is(const std::string& host, HostState state) { return cluster_.StateOf(host) == state; }
  VirtualInstance& Instance(const std::string& host) { return *cluster_.Find(host); }
  uint64_t GatewayBytes() { return cluster_.controller().gateway().forwarded_bytes(); }
  // `from` connects to `to`; true when it was answered within `bound`.
  bool Connects(const std::string& from, const std::string& to,
                Duration bound = milliseconds(500)) {
    VirtualInstance& client = Instance(from);
    const size_t before = client.syn_acks;
    client.SendSyn(cluster_.AddressOf(to), ++port_);
    return cluster_.RunUntil([&] { return client.syn_acks > before; }, bound);
  }
  bool BecomeDirect(const std::string& a, const std::string& b) {
    return cluster_.RunUntil([&] {
      return Instance(a).Direct(cluster_.AddressOf(b)) && Instance(b).Direct(cluster_.AddressOf(a));
    });
  }

  // What happened, for a test that failed.
  void TearDown() override {
    if (!HasFailure() || !cluster_.imd_runs()) return;
    for (const proto::Event& event : cluster_.controller().events().Newest({}, 0)) {
      printf("%s  %.6f s\n", EventLine(event, 2).c_str(),
             static_cast<double>(event.unix_nanos() % 1'000'000'000'000) * 1e-9);
    }
  }

  VirtualCluster cluster_;
  uint16_t port_ = 10'000;
};

TEST_F(ControllerTest, a_syn_from_the_gateway_starts_the_host_and_is_answered) {
  const Instant begin = cluster_.Now();
  cluster_.SendFromStack(BuildTcp({*IpAddress::Parse("10.77.0.1"), 5000},
                                  {cluster_.AddressOf("a"), 80},
                                  {.sequence = 1, .flags = kTcpSyn, .window = 1000}));
  EXPECT_TRUE(Is("a", HostState::kStarting));
  ASSERT_TRUE(cluster_.RunUntil([&] { return !cluster_.stack_inbox.empty(); }));
  EXPECT_EQ(ParseIp(cluster_.stack_inbox[0])->tcp_flags, kTcpSyn | kTcpAck);
  EXPECT_EQ(cluster_.starts, 1);
  // 2 ms of the start, five ways of 50 us.
  EXPECT_LT(cluster_.Now() - begin, milliseconds(3));
  EXPECT_EQ(Instance("a").syns, 1u);
}

TEST_F(ControllerTest, a_first_packet_starts_its_host_and_the_next_go_directly) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 2);
  ASSERT_TRUE(BecomeDirect("a", "b"));
  const uint64_t before = GatewayBytes();
  EXPECT_GT(before, 0u);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Connects("a", "b"));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Connects("b", "a"));
  EXPECT_EQ(GatewayBytes(), before);
  EXPECT_EQ(Instance("b").syns, 21u);
}

TEST_F(ControllerTest, an_idle_host_is_released_and_started_anew) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  const uint64_t incarnation = Instance("b").id().incarnation;
  Instance("b").Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kPaused); }));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kReleasing); }, seconds(11)));
  // Nobody knows it any more before its agent is asked.
  ASSERT_TRUE(cluster_.RunUntil([&] { return Instance("b").releases_asked > 0; }));
  EXPECT_FALSE(Instance("a").Direct(cluster_.AddressOf("b")));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kImaginary); }, seconds(1)));
  EXPECT_EQ(cluster_.Find("b"), nullptr);

  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_GT(Instance("b").id().incarnation, incarnation);
  ASSERT_TRUE(BecomeDirect("a", "b"));
  const uint64_t before = GatewayBytes();
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(GatewayBytes(), before);
}

TEST_F(ControllerTest, the_release_deadline_runs_from_the_pause) {
  Up("a");
  Instance("a").Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kPaused); }));
  const Instant paused = cluster_.Now();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kReleasing); }));
  EXPECT_EQ(cluster_.Now() - paused, seconds(10));
}

TEST_F(ControllerTest, a_packet_before_the_agent_is_asked_cancels_the_release) {
  Up("a");
  Up("c");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  VirtualInstance* const b = cluster_.Find("b");
  b->Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kReleasing); }, seconds(11)));
  EXPECT_EQ(b->releases_asked, 0);
  EXPECT_TRUE(Connects("c", "b"));
  EXPECT_EQ(cluster_.Find("b"), b);
  EXPECT_EQ(b->releases_asked, 0);
  EXPECT_TRUE(Is("b", HostState::kRunning));
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 3);
}

TEST_F(ControllerTest, a_packet_after_the_agent_was_asked_starts_the_host_anew) {
  Up("a");
  Up("b").Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] {
    return cluster_.Find("b")->agent().status().state() == proto::InstanceStatus::RELEASING;
  }, seconds(11)));
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 3);
}

TEST_F(ControllerTest, one_that_ends_is_introduced_to_nobody_though_its_release_was_called_off) {
  for (const char* host : {"a", "c"}) Up(host);
  cluster_.behaviour["b"].stop = milliseconds(300);
  VirtualInstance& b = Up("b");
  b.Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] {
    return b.agent().status().state() == proto::InstanceStatus::RELEASING;
  }, seconds(11)));
  // A packet for it calls the release off, too late; then it speaks to `a`.
  Instance("c").SendSyn(b.address(), 1);
  const int starts = cluster_.starts;
  b.SendSyn(cluster_.AddressOf("a"), 1);
  ASSERT_TRUE(cluster_.RunUntil([&] { return Instance("a").syns == 1; }));
  EXPECT_FALSE(cluster_.RunUntil(
      [&] { return Instance("a").Direct(b.address()) || cluster_.starts > starts; },
      milliseconds(200)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.starts > starts; }));
  EXPECT_TRUE(Connects("a", "b"));
}

TEST_F(ControllerTest, a_refused_release_leaves_all_as_it_was) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  VirtualInstance* const b = cluster_.Find("b");
  b->refuse_release = true;
  b->Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return b->releases_asked == 1; }, seconds(11)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kRunning); }));
  EXPECT_EQ(cluster_.Find("b"), b);
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
}

TEST_F(ControllerTest, after_a_refused_release_a_suspend_is_no_release) {
  Up("b");
  VirtualInstance* const b = cluster_.Find("b");
  b->refuse_release = true;
  b->Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return b->releases_asked == 1; }, seconds(11)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kRunning); }));
  b->refuse_release = false;
  ASSERT_TRUE(cluster_.controller().Suspend(cluster_.Id("b")).ok());
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kPaused); }));
  EXPECT_FALSE(cluster_.RunUntil([&] { return b->releases_asked > 1; }, seconds(5)));
}

TEST_F(ControllerTest, a_killed_instance_starts_again_on_the_next_packet) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  cluster_.RunFor(seconds(20));  // long enough to be no failed start
  cluster_.KillInstance("b");
  cluster_.RunFor(milliseconds(1));  // what is sent before is lost, and repeated by its sender
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 3);
  ASSERT_TRUE(BecomeDirect("a", "b"));
}

// Whatever is on its way while a program ends is answered, not lost: by the
// host's own kernel, or by the next instance. Nobody repeats a SYN here.
TEST_F(ControllerTest, nothing_is_lost_while_a_program_ends_by_itself) {
  Up("a");
  size_t refused = 0, accepted = 0;
  for (const bool direct : {false, true}) {
    for (int microseconds = 0; microseconds <= 600; microseconds += 50) {
      SCOPED_TRACE(testing::Message() << microseconds << " us" << (direct ? ", directly" : ""));
      EXPECT_TRUE(Connects("a", "b"));
      if (direct) {
        ASSERT_TRUE(BecomeDirect("a", "b"));
      }
      VirtualInstance& a = Instance("a");
      const size_t resets = a.resets, syn_acks = a.syn_acks;
      Instance("b").Exit(7);
      cluster_.RunFor(std::chrono::microseconds(microseconds));
      a.SendSyn(cluster_.AddressOf("b"), ++port_);
      ASSERT_TRUE(cluster_.RunUntil(
          [&] { return a.resets > resets || a.syn_acks > syn_acks; }, seconds(7)));
      refused += a.resets - resets;
      accepted += a.syn_acks - syn_acks;
      ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kImaginary) ||
                                                 Is("b", HostState::kRunning); }));
      cluster_.RunFor(seconds(40));  // the failure is forgotten
    }
  }
  EXPECT_GT(refused, 0u);
  EXPECT_GT(accepted, 0u);
}

TEST_F(ControllerTest, a_program_that_ends_by_itself_has_failed) {
  VirtualInstance& c = Up("c");  // restart: always
  c.Exit(7);
  ASSERT_TRUE(cluster_.RunUntil(
      [&] { return cluster_.starts == 2 && Is("c", HostState::kRunning); }));
  const auto events = cluster_.controller().events().Newest({"c"}, 4);
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].text(), "its program ends");
  EXPECT_EQ(events[1].text(), "exited with status 7");
  EXPECT_TRUE(events[1].error());
}

TEST_F(ControllerTest, a_start_that_fails_is_refused_with_its_reason) {
  Up("a");
  proto::ExitReport report;
  report.set_reason(proto::ExitReport::EXEC_FAILED);
  report.set_message("exec b: No such file or directory");
  cluster_.behaviour["b"].start_fails = report;
  Instance("a").SendSyn(cluster_.AddressOf("b"), 1);
  ASSERT_TRUE(cluster_.RunUntil([&] { return Instance("a").resets == 1; }, milliseconds(100)));
  const auto events = cluster_.controller().events().Newest({"b"}, 1);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_TRUE(events[0].error());
  EXPECT_EQ(events[0].text(), "start failed: exec b: No such file or directory");
}

TEST_F(ControllerTest, a_start_that_never_answers_is_refused_in_time) {
  Up("a");
  cluster_.behaviour["b"].never_answers = true;
  Instance("a").SendSyn(cluster_.AddressOf("b"), 1);
  ASSERT_TRUE(cluster_.RunUntil([&] { return Instance("a").resets == 1; }, milliseconds(8100)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kImaginary); }));
}

TEST_F(ControllerTest, a_user_that_does_not_exist_is_a_failed_start) {
  VirtualCluster cluster(R"(
name: test
network: {cidr: 10.77.0.0/16}
hosts:
  a: {command: [a], user: no-such-user-here}
)");
  EXPECT_TRUE(cluster.Wake("a").ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.StateOf("a") == HostState::kImaginary; }));
  const auto events = cluster.controller().events().Newest({"a"}, 1);
  EXPECT_NE(events[0].text().find("no-such-user-here"), std::string::npos);
}

TEST_F(ControllerTest, suspend_and_wake_by_request) {
  Up("a");
  EXPECT_TRUE(cluster_.controller().Suspend(cluster_.Id("a")).ok());
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kPaused); }, milliseconds(10)));
  EXPECT_TRUE(cluster_.Wake("a").ok());
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kRunning); }, milliseconds(10)));
  EXPECT_TRUE(cluster_.controller().Suspend(cluster_.Id("a")).ok());
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kPaused); }, milliseconds(10)));
  EXPECT_EQ(cluster_.controller().Suspend(cluster_.Id("b")).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ControllerTest, a_packet_thaws_a_paused_host_without_the_orchestrator) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  Instance("b").Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kPaused); }));
  EXPECT_TRUE(Connects("a", "b", milliseconds(1)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kRunning); }));
  EXPECT_EQ(cluster_.controller().hosts()[cluster_.Id("b")].history->thaws, 1u);
}

TEST_F(ControllerTest, guests_join_wake_others_and_leave) {
  absl::Status ended;
  const auto reply = cluster_.controller().Join(
      "", "redis-cli", [&](const absl::Status& status) { ended = status; });
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->name(), "run-1");
  VirtualInstance& guest = cluster_.RunGuest(*reply);
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("run-1", HostState::kRunning); }));
  guest.SendSyn(cluster_.AddressOf("b"), 1);
  ASSERT_TRUE(cluster_.RunUntil([&] { return guest.syn_acks == 1; }));
  EXPECT_FALSE(cluster_.controller().Join("b", "", nullptr).ok());

  cluster_.controller().Leave("run-1");
  cluster_.RunFor(milliseconds(10));
  EXPECT_FALSE(cluster_.controller().hosts().FindByName("run-1").has_value());
  EXPECT_TRUE(ended.ok());
  cluster_.EndInstance(guest.id(), {});
  const auto again = cluster_.controller().Join("run-1", "", nullptr);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->address(), reply->address());
}

TEST_F(ControllerTest, shutdown_ends_all_and_says_so) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  absl::Status guest_end;
  const auto reply = cluster_.controller().Join(
      "guest", "", [&](const absl::Status& status) { guest_end = status; });
  cluster_.RunGuest(*reply);
  cluster_.RunFor(milliseconds(10));
  Instance("a").SendSyn(cluster_.AddressOf("c"), 1);  // is starting
  cluster_.RunFor(milliseconds(1));
  bool down = false;
  cluster_.controller().Shutdown("im down", false, [&] { down = true; });
  // The guest's agent ends by itself; its client then leaves.
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.Find("guest") == nullptr; }));
  cluster_.controller().Leave("guest");
  EXPECT_TRUE(cluster_.RunUntil([&] { return down; }, seconds(10)));
  EXPECT_EQ(cluster_.Find("a"), nullptr);
  EXPECT_EQ(cluster_.Find("b"), nullptr);
  EXPECT_EQ(cluster_.Find("c"), nullptr);
  EXPECT_FALSE(cluster_.controller().Join("", "", nullptr).ok());
  cluster_.RunFor(seconds(30));
  EXPECT_EQ(cluster_.Find("c"), nullptr);  // restart: always, but not now
}

// ---- imd killed and started again -------------------------------------------

TEST_F(ControllerTest, a_restarted_orchestrator_takes_its_instances_back) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  Up("c").Pause();
  cluster_.RunFor(seconds(1));
  cluster_.KillImd();
  // They go on talking.
  EXPECT_TRUE(Connects("a", "b", milliseconds(1)));
  cluster_.RunFor(seconds(3));
  EXPECT_TRUE(Connects("b", "a", milliseconds(1)));

  cluster_.StartImd();
  ASSERT_TRUE(cluster_.RunUntil([&] {
    return Is("a", HostState::kRunning) && Is("b", HostState::kRunning) &&
           Is("c", HostState::kPaused);
  }, milliseconds(100)));
  EXPECT_EQ(cluster_.starts, 3);
  EXPECT_TRUE(Connects("a", "b", milliseconds(1)));
  EXPECT_TRUE(Connects("a", "c"));
  EXPECT_EQ(cluster_.starts, 3);
  // And all goes its way: released, forgotten by the others, started anew.
  Instance("b").Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kImaginary); }, seconds(12)));
  EXPECT_FALSE(Instance("a").Direct(cluster_.AddressOf("b")));
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 4);
  ASSERT_TRUE(BecomeDirect("a", "b"));
  // Requests are counted from anew.
  EXPECT_TRUE(cluster_.controller().Suspend(cluster_.Id("a")).ok());
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kPaused); }, milliseconds(10)));
}

TEST_F(ControllerTest, one_that_died_meanwhile_is_forgotten_by_all) {
  Up("a");
  EXPECT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(BecomeDirect("a", "b"));
  cluster_.RunFor(seconds(20));
  cluster_.KillImd();
  cluster_.KillInstance("b");
  cluster_.StartImd();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kImaginary); }, seconds(1)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return !Instance("a").Direct(cluster_.AddressOf("b")); },
                                seconds(1)));
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 3);
}

TEST_F(ControllerTest, a_restart_in_the_middle_of_a_start_starts_nothing_twice) {
  cluster_.behaviour["a"].start = milliseconds(20);
  EXPECT_TRUE(cluster_.Wake("a").ok());
  cluster_.RunFor(milliseconds(5));
  cluster_.KillImd();
  cluster_.RunFor(milliseconds(30));  // its handshakes find nobody
  cluster_.StartImd();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("a", HostState::kRunning); }, seconds(7)));
  EXPECT_EQ(cluster_.starts, 1);
}

TEST_F(ControllerTest, a_guest_outlives_a_restart) {
  const auto reply = cluster_.controller().Join("guest", "", nullptr);
  VirtualInstance& guest = cluster_.RunGuest(*reply);
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("guest", HostState::kRunning); }));
  cluster_.KillImd();
  cluster_.StartImd();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("guest", HostState::kRunning); }));
  guest.SendSyn(cluster_.AddressOf("b"), 1);
  ASSERT_TRUE(cluster_.RunUntil([&] { return guest.syn_acks == 1; }));
  // Its client has lost us: its end is seen by the provider.
  cluster_.EndInstance(InstanceId(guest.id()), {});
  ASSERT_TRUE(cluster_.RunUntil(
      [&] { return !cluster_.controller().hosts().FindByName("guest").has_value(); }));
}

// ---- by seed ----------------------------------------------------------------

// Everything at once over a wire that loses a tenth: whoever connects gets an
// answer in the end, and nothing is ever started twice (VirtualCluster looks).
TEST(ControllerSimulation, every_connection_is_answered_whatever_happens) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(seed);
    VirtualCluster cluster(kYaml, seed);
    cluster.loss = 0.1;
    SeededRandom random(seed);
    const std::vector<std::string> hosts = {"a", "b", "c"};
    uint16_t port = 1000;
    int answered = 0;
    for (int i = 0; i < 150; ++i) {
      const std::string& from = hosts[random.Below(3)];
      const std::string& to = hosts[random.Below(3)];
      switch (random.Below(8)) {
        case 0:
          cluster.KillImd();
          cluster.RunFor(milliseconds(random.Below(300)));
          cluster.StartImd();
          break;
        case 1:
          if (cluster.Find(from) != nullptr && random.Below(3) == 0) cluster.KillInstance(from);
          break;
        case 2:
          if (cluster.Find(from) != nullptr) cluster.Find(from)->Pause();
          break;
        case 3:
          (void)cluster.controller().Release(cluster.Id(from), "im release");
          break;
        case 4:
          cluster.RunFor(milliseconds(random.Below(20'000)));
          break;
        default: {
          if (cluster.Find(from) == nullptr || from == to) {
            (void)cluster.Wake(from);
            break;
          }
          // As a kernel does: the SYN is repeated.
          const InstanceId id = cluster.Find(from)->id();
          ++port;
          bool done = false;
          for (int attempt = 0; attempt < 8 && !done; ++attempt) {
            VirtualInstance* client = cluster.Find(from);
            if (client == nullptr || client->id() != id) break;
            const size_t before = client->syn_acks + client->resets;
            client->SendSyn(cluster.AddressOf(to), port, port);
            done = cluster.RunUntil([&] {
              VirtualInstance* now = cluster.Find(from);
              if (now == nullptr || now->id() != id) return true;
              return now->syn_acks + now->resets > before;
            }, seconds(1 << std::min(attempt, 3)));
          }
          EXPECT_TRUE(done) << from << " to " << to << " in step " << i;
          if (done) ++answered;
        }
      }
      cluster.RunFor(milliseconds(random.Below(50)));
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(answered, 10);
  }
}

}  // namespace
}  // namespace im::orchestrator
