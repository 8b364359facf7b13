// The Activator with a delegate that writes down what it is told, and time that
// moves by hand: for activator_*_test.cc.

#ifndef IM_ORCHESTRATOR_ACTIVATOR_FIXTURE_H_
#define IM_ORCHESTRATOR_ACTIVATOR_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/activator.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {

// Writes down what it is told, as text.
class ActivatorRecorder final : public Activator::Delegate {
 public:
  explicit ActivatorRecorder(const HostTable& table) : table_(table) {}

  void StartInstance(HostId host, uint64_t incarnation, const Cause&) override {
    calls.push_back(absl::StrCat("start ", name(host), "#", incarnation));
  }
  void SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal, const Cause&) override {
    calls.push_back(absl::StrCat("goal ", name(host), "#", incarnation, " ", Text(GoalName(goal))));
  }
  void Deliver(HostId host, PacketBatch packets) override {
    calls.push_back(absl::StrCat("deliver ", name(host), " ", packets.size()));
  }
  void Refuse(HostId host, PacketBatch packets, absl::string_view reason, bool over) override {
    calls.push_back(absl::StrCat("refuse ", name(host), " ", packets.size(),
                                 over ? " over: " : ": ", reason));
  }
  void OnWait(HostId host, absl::string_view reason) override {
    calls.push_back(absl::StrCat("wait ", name(host), ": ", reason));
  }
  void OnTransition(const Transition& t) override {
    calls.push_back(absl::StrCat(name(t.host), " ", Text(HostStateName(t.from)), " > ",
                                 Text(HostStateName(t.to))));
    last = t;
  }

  std::vector<std::string> Take() { return std::exchange(calls, {}); }

  std::vector<std::string> calls;
  Transition last;

 private:
  static std::string Text(absl::string_view text) { return std::string(text); }
  std::string name(HostId host) const { return table_[host].name; }

  const HostTable& table_;
};

class ActivatorFixture : public ::testing::Test {
 protected:
  ActivatorFixture() { Make({}); }

  void Make(const Activator::Limits& limits) {
    activator = std::make_unique<Activator>(table, limits, 1, recorder);
  }
  HostId Add(const std::string& name, HostPolicy policy = {}, bool guest = false) {
    return *table.Add({.name = name,
                       .address = TestAddress(static_cast<uint32_t>(table.size()) + 2),
                       .policy = policy,
                       .guest = guest},
                      now);
  }
  Activator::Verdict Send(HostId host, const std::vector<uint8_t>& bytes) {
    TestPacket packet(bytes);
    return activator->OnPacket(host, packet.packet(), packet.view(), now);
  }
  Activator::Verdict SendSyn(HostId host, uint16_t port = 1, uint32_t isn = 1) {
    return Send(host, Syn(port, host, isn));
  }
  void Report(HostId host, Activator::Report::State state, bool acknowledged = false,
              uint64_t thaws = 0) {
    activator->OnInstanceStatus(host, table[host].incarnation,
                                {.state = state,
                                 .goal_acknowledged = acknowledged,
                                 .cause = MakeCause(Cause::Kind::kPing),
                                 .thaw = std::chrono::microseconds(200),
                                 .thaws = thaws},
                                now);
  }
  void End(HostId host, Activator::End::Kind kind, const std::string& message) {
    activator->OnInstanceEnded(host, table[host].incarnation, {kind, message}, now);
  }
  void Advance(Duration by) {
    const Instant end = now + by;
    while (activator->NextDeadline() <= end) {
      now = std::max(now, activator->NextDeadline());
      activator->OnTimer(now);
    }
    now = end;
  }
  // Brings the host into the state, and forgets the calls so far.
  void Bring(HostId host, HostState state) {
    switch (state) {
      case HostState::kImaginary:
        break;
      case HostState::kStarting:
        SendSyn(host, 999);
        break;
      case HostState::kRunning:
        Bring(host, HostState::kStarting);
        Report(host, Activator::Report::State::kRunning);
        break;
      case HostState::kPaused:
        Bring(host, HostState::kRunning);
        Report(host, Activator::Report::State::kPaused);
        break;
      case HostState::kReleasing:
        Bring(host, HostState::kPaused);
        Advance(*table.policy(host).release_after);
        break;
      default:
        FAIL();
    }
    ASSERT_EQ(table[host].state, state);
    recorder.Take();
  }

  HostTable table;
  ActivatorRecorder recorder{table};
  std::unique_ptr<Activator> activator;
  Instant now{std::chrono::seconds(1'000)};
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_ACTIVATOR_FIXTURE_H_
