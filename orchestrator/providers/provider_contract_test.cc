// The contract of provider.h: one set of cases that every provider must pass.
// A new provider is a line in Providers().
//
// This program is its own agent: started with --start-fd, it does what the
// request's command says, as im-agent would with a program (StandIn).

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/event_loop.h"
#include "orchestrator/provider.h"
#include "orchestrator/providers/agent_process.h"
#include "orchestrator/providers/process_provider.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr Duration kDeadline = seconds(30);

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// ---- the agent --------------------------------------------------------------

[[noreturn]] void EndWith(const proto::StartRequest& request, proto::ExitReport::Reason reason,
                          int exit_code) {
  proto::ExitReport report;
  report.set_reason(reason);
  report.set_exit_code(exit_code);
  report.set_message(absl::StrCat("names: ", request.name_table()));
  std::ofstream(request.instance_dir() + "/exit") << report.SerializeAsString();
  _exit(0);
}

[[noreturn]] void StandIn() {
  proto::StartRequest request;
  if (!request.ParseFromFileDescriptor(3)) _exit(2);
  const std::string& program = request.program().argv(0);
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigprocmask(SIG_BLOCK, &stop, nullptr);
  std::ofstream(request.instance_dir() + "/ready") << "yes";
  if (program == "exits") EndWith(request, proto::ExitReport::EXITED, 7);
  if (program == "says nothing") _exit(5);
  if (program == "says nonsense") {
    std::ofstream(request.instance_dir() + "/exit") << "\xff\xff\xff";
    _exit(6);
  }
  int signal = 0;
  while (program == "stubborn") pause();
  while (sigwait(&stop, &signal) != 0) {
  }
  EndWith(request, proto::ExitReport::RELEASED, 0);
}

class AgentInstead final : public testing::Environment {
 public:
  void SetUp() override {
    if (ReadFile("/proc/self/cmdline").find("--start-fd") != std::string::npos) StandIn();
  }
};
[[maybe_unused]] const testing::Environment* const kAgentInstead =
    testing::AddGlobalTestEnvironment(new AgentInstead);

// ---- the providers ----------------------------------------------------------

struct ProviderCase {
  std::string name;
  std::function<std::unique_ptr<Provider>(EventLoop&, const std::string& agent_path,
                                          Provider::Delegate&)>
      make;
  // Destroys a running instance behind the provider's back.
  std::function<void(const InstanceHandle&)> destroy;
};

std::vector<ProviderCase> Providers() {
  return {{"Process",
           [](EventLoop& loop, const std::string& agent_path, Provider::Delegate& delegate) {
             return std::make_unique<ProcessProvider>(loop, agent_path, delegate);
           },
           [](const InstanceHandle& handle) {
             kill(static_cast<pid_t>(handle.agent_pid), SIGKILL);
           }}};
}

struct Recorder final : Provider::Delegate {
  void OnStarted(const InstanceId& id, const InstanceHandle& handle) override {
    EXPECT_FALSE(within_call);
    started.emplace_back(id, handle);
  }
  void OnEnded(const InstanceId& id, const proto::ExitReport& report) override {
    EXPECT_FALSE(within_call);
    ended.emplace_back(id, report);
  }
  bool within_call = false;
  std::vector<std::pair<InstanceId, InstanceHandle>> started;
  std::vector<std::pair<InstanceId, proto::ExitReport>> ended;
};

class ProviderContractTest : public testing::TestWithParam<ProviderCase> {
 protected:
  ProviderContractTest() {
    directory_ = (std::filesystem::temp_directory_path() / "im-provider-XXXXXX").string();
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    loop_ = *EventLoop::Create(clock_);
    Renew(std::filesystem::read_symlink("/proc/self/exe").string());
  }
  ~ProviderContractTest() override {
    provider_.reset();
    for (const auto& [id, handle] : recorder_.started) {
      const pid_t pid = static_cast<pid_t>(handle.agent_pid);
      if (pid <= 0 || StartTicks(pid) != handle.agent_start_ticks) continue;
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    std::filesystem::remove_all(directory_);
  }

  // Another provider in the place of the one before.
  void Renew(const std::string& agent_path) {
    provider_.reset();
    provider_ = GetParam().make(*loop_, agent_path, recorder_);
  }
  void Renew() { Renew(std::filesystem::read_symlink("/proc/self/exe").string()); }

  template <typename F>
  void Call(const F& call) {
    recorder_.within_call = true;
    call();
    recorder_.within_call = false;
  }
  std::string DirectoryOf(const std::string& host) { return directory_ + "/" + host; }
  InstanceId Start(const std::string& host, const std::string& program, uint64_t incarnation = 1,
                   const std::string& name_table = "") {
    std::filesystem::create_directory(DirectoryOf(host));
    proto::StartRequest request;
    request.set_host(host);
    request.set_incarnation(incarnation);
    request.set_instance_dir(DirectoryOf(host));
    request.mutable_program()->add_argv(program);
    Call([&] { provider_->Start(request, {.name_table = name_table}); });
    return {host, incarnation};
  }
  void Release(const InstanceId& id, Duration grace, bool force = false) {
    Call([&] { provider_->Release(id, grace, force); });
  }
  bool RunUntil(const std::function<bool()>& done, Duration bound = kDeadline) {
    const Instant end = clock_.Now() + bound;
    while (!done()) {
      if (clock_.Now() >= end) return false;
      loop_->RunOnce(milliseconds(5));
    }
    return true;
  }
  // All that is under way has come.
  void Settle() {
    for (int turn = 0; turn < 5; ++turn) loop_->RunOnce(Duration(0));
  }
  // Each program says so, and is heard once.
  bool AwaitReady(const std::string& host) {
    const std::string file = DirectoryOf(host) + "/ready";
    return RunUntil([&] { return !ReadFile(file).empty() && std::filesystem::remove(file); });
  }
  bool AwaitEnds(size_t count) {
    const bool came = RunUntil([&] { return recorder_.ended.size() >= count; });
    Settle();
    EXPECT_EQ(recorder_.ended.size(), count);
    return came && recorder_.ended.size() == count;
  }
  const proto::ExitReport& LastReport() const { return recorder_.ended.back().second; }
  InstanceHandle HandleOf(const InstanceId& id) {
    EXPECT_TRUE(RunUntil([&] { return !recorder_.started.empty(); }));
    const auto handle = provider_->Describe(id);
    EXPECT_TRUE(handle.has_value());
    return handle.value_or(InstanceHandle{});
  }

  RealClock clock_;
  std::string directory_;
  std::unique_ptr<EventLoop> loop_;
  Recorder recorder_;
  std::unique_ptr<Provider> provider_;
};

TEST_P(ProviderContractTest, AStartIsToldAndThenTheEnd) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  Settle();
  ASSERT_EQ(recorder_.started.size(), 1u);
  EXPECT_EQ(recorder_.started[0].first, id);
  EXPECT_EQ(provider_->Describe(id)->agent_pid, recorder_.started[0].second.agent_pid);
  EXPECT_TRUE(recorder_.ended.empty());
  Release(id, seconds(10));
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(recorder_.ended[0].first, id);
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::RELEASED);
  EXPECT_FALSE(provider_->Describe(id).has_value());
}

TEST_P(ProviderContractTest, AProgramThatEndsByItselfIsReported) {
  Start("web", "exits");
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(LastReport().exit_code(), 7);
}

TEST_P(ProviderContractTest, TheNameTableReachesTheAgent) {
  Start("web", "exits", 1, std::string(100'000, 'n'));
  ASSERT_TRUE(AwaitEnds(1));
  // Reports are read up to a bound; beyond it they are no reports.
  EXPECT_LE(LastReport().ByteSizeLong(), kExitReportBytesMax);
  Start("web", "exits", 2, "db 10.77.0.3");
  ASSERT_TRUE(AwaitEnds(2));
  EXPECT_EQ(LastReport().message(), "names: db 10.77.0.3");
}

TEST_P(ProviderContractTest, WithoutAReportTheWayItEndedIsTheReport) {
  Start("a", "says nothing");
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::EXITED);
  EXPECT_EQ(LastReport().exit_code(), 5);
  EXPECT_THAT(LastReport().message(), HasSubstr("exited with status 5"));
  Start("b", "says nonsense");
  ASSERT_TRUE(AwaitEnds(2));
  EXPECT_EQ(LastReport().exit_code(), 6);
}

TEST_P(ProviderContractTest, AnInstanceThatIsDestroyedIsReported) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  GetParam().destroy(HandleOf(id));
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::EXITED) << "nobody asked for it";
  EXPECT_EQ(LastReport().signal(), SIGKILL);
  EXPECT_THAT(LastReport().message(), HasSubstr("killed by signal 9"));
}

TEST_P(ProviderContractTest, AnEarlierIncarnationsReportIsNotTaken) {
  Start("web", "exits", 1);
  ASSERT_TRUE(AwaitEnds(1));
  Start("web", "says nothing", 2);
  ASSERT_TRUE(AwaitEnds(2));
  EXPECT_EQ(LastReport().exit_code(), 5);
}

TEST_P(ProviderContractTest, WithoutAnAgentTheStartFails) {
  Renew("/no/such/agent");
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(recorder_.ended[0].first, id);
  EXPECT_TRUE(recorder_.started.empty());
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::SANDBOX_FAILED);
  EXPECT_THAT(LastReport().message(), HasSubstr("/no/such/agent: No such file"));
  EXPECT_FALSE(provider_->Describe(id).has_value());
}

TEST_P(ProviderContractTest, WithoutItsDirectoryTheStartFails) {
  std::ofstream(DirectoryOf("web")) << "a file, not a directory";
  proto::StartRequest request;
  request.set_host("web");
  request.set_incarnation(1);
  request.set_instance_dir(DirectoryOf("web"));
  Call([&] { provider_->Start(request, {}); });
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::SANDBOX_FAILED);
  EXPECT_THAT(LastReport().message(), HasSubstr(DirectoryOf("web")));
}

TEST_P(ProviderContractTest, WhatIsKnownIsNotStartedAgain) {
  const InstanceId id = Start("web", "waits");
  Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  Settle();
  EXPECT_EQ(recorder_.started.size(), 1u);
  Release(id, seconds(10));
  Release(id, seconds(10));
  ASSERT_TRUE(AwaitEnds(1));
}

TEST_P(ProviderContractTest, WhatIsUnknownIsNotReleased) {
  Release({"nobody", 1}, seconds(1));
  Release({"nobody", 1}, seconds(1), /*force=*/true);
  provider_->Forget({"nobody", 1});
  Settle();
  EXPECT_TRUE(recorder_.ended.empty());
  EXPECT_FALSE(provider_->Describe({"nobody", 1}).has_value());
}

TEST_P(ProviderContractTest, TwoIncarnationsAreTwoInstances) {
  const InstanceId old_one = Start("web", "waits", 1);
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceId new_one = Start("web", "waits", 2);
  ASSERT_TRUE(AwaitReady("web"));
  Release(old_one, seconds(10));
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(recorder_.ended[0].first, old_one);
  EXPECT_TRUE(provider_->Describe(new_one).has_value());
}

TEST_P(ProviderContractTest, WhatDoesNotStopInItsGraceIsDestroyed) {
  const InstanceId id = Start("web", "stubborn");
  ASSERT_TRUE(AwaitReady("web"));
  const Instant before = clock_.Now();
  Release(id, milliseconds(100));
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_GE(clock_.Now() - before, milliseconds(100));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::RELEASED);
  EXPECT_EQ(LastReport().signal(), SIGKILL);
}

TEST_P(ProviderContractTest, ForceDoesNotWaitAndMayFollowARelease) {
  const InstanceId id = Start("web", "stubborn");
  ASSERT_TRUE(AwaitReady("web"));
  const Instant before = clock_.Now();
  Release(id, seconds(600));
  Release(id, Duration(0), /*force=*/true);
  Release(id, Duration(0), /*force=*/true);
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_LT(clock_.Now() - before, seconds(600));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::RELEASED);
}

TEST_P(ProviderContractTest, InstancesOutliveTheProviderAndAreTakenBack) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceHandle handle = HandleOf(id);
  Renew();
  EXPECT_FALSE(provider_->Describe(id).has_value());
  Call([&] { provider_->Adopt(id, handle, DirectoryOf("web")); });
  Call([&] { provider_->Adopt(id, handle, DirectoryOf("web")); });
  Settle();
  EXPECT_TRUE(recorder_.ended.empty());
  ASSERT_TRUE(provider_->Describe(id).has_value());
  EXPECT_EQ(provider_->Describe(id)->agent_pid, handle.agent_pid);
  Start("web", "waits");  // known: a no-op
  Settle();
  EXPECT_EQ(recorder_.started.size(), 1u);
  Release(id, seconds(10));
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(LastReport().reason(), proto::ExitReport::RELEASED);
  EXPECT_THAT(LastReport().message(), HasSubstr("names:")) << "its own report";
}

// Seed 37 of the cluster simulation: an orchestrator that died between a start
// and its saving was followed by one that started a second instance.
TEST_P(ProviderContractTest, OneWhoseHandleWasNotSavedIsTakenBack) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceHandle handle = HandleOf(id);
  Renew();
  Call([&] { provider_->Adopt(id, {}, DirectoryOf("web")); });
  Settle();
  EXPECT_TRUE(recorder_.ended.empty());
  ASSERT_TRUE(provider_->Describe(id).has_value());
  EXPECT_EQ(provider_->Describe(id)->agent_pid, handle.agent_pid);
  Release(id, seconds(10));
  ASSERT_TRUE(AwaitEnds(1));
}

TEST_P(ProviderContractTest, OnesThatNobodySavedAreEndedAndOthersLeftAlone) {
  const InstanceId saved = Start("web", "waits", 1);
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceHandle handle = HandleOf(saved);
  Start("db", "stubborn", 2);
  ASSERT_TRUE(AwaitReady("db"));
  Settle();
  ASSERT_EQ(recorder_.started.size(), 2u);
  const pid_t lost = static_cast<pid_t>(recorder_.started[1].second.agent_pid);
  Renew();
  Call([&] { provider_->Adopt(saved, handle, DirectoryOf("web")); });
  Call([&] { provider_->EndOthers(directory_ + "/else"); });
  EXPECT_EQ(waitpid(lost, nullptr, WNOHANG), 0) << "of another cluster";
  Call([&] { provider_->EndOthers(directory_); });
  int status = 0;
  EXPECT_EQ(waitpid(lost, &status, WNOHANG), lost);
  EXPECT_TRUE(WIFSIGNALED(status));
  Settle();
  EXPECT_TRUE(recorder_.ended.empty());
  EXPECT_TRUE(provider_->Describe(saved).has_value());
}

TEST_P(ProviderContractTest, OneThatEndedMeanwhileIsReportedWhenItIsAdopted) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceHandle handle = HandleOf(id);
  Renew();
  const pid_t pid = static_cast<pid_t>(handle.agent_pid);
  kill(pid, SIGTERM);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  Call([&] { provider_->Adopt(id, handle, DirectoryOf("web")); });
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(recorder_.ended[0].first, id);
  EXPECT_THAT(LastReport().message(), HasSubstr("names:"));
}

TEST_P(ProviderContractTest, OneWhosePlaceAnotherTookIsReportedAndTheOtherLeftAlone) {
  const InstanceId other = Start("other", "waits");
  ASSERT_TRUE(AwaitReady("other"));
  InstanceHandle handle = HandleOf(other);
  --handle.agent_start_ticks;  // the pid was used again
  const InstanceId lost{"lost", 9};
  Call([&] { provider_->Adopt(lost, handle, DirectoryOf("lost")); });
  ASSERT_TRUE(AwaitEnds(1));
  EXPECT_EQ(recorder_.ended[0].first, lost);
  EXPECT_THAT(LastReport().message(), HasSubstr("nobody watched"));
  Release(lost, Duration(0), /*force=*/true);
  Settle();
  EXPECT_EQ(StartTicks(static_cast<pid_t>(handle.agent_pid)), handle.agent_start_ticks + 1);
}

TEST_P(ProviderContractTest, WhatIsForgottenIsNotReportedAndLivesOn) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceHandle handle = HandleOf(id);
  provider_->Forget(id);
  EXPECT_FALSE(provider_->Describe(id).has_value());
  Settle();
  EXPECT_EQ(StartTicks(static_cast<pid_t>(handle.agent_pid)), handle.agent_start_ticks);
  kill(static_cast<pid_t>(handle.agent_pid), SIGKILL);
  waitpid(static_cast<pid_t>(handle.agent_pid), nullptr, 0);
  Settle();
  EXPECT_TRUE(recorder_.ended.empty());
}

TEST_P(ProviderContractTest, WhatWasUnderWayFindsNobodyAfterItsEnd) {
  Renew("/no/such/agent");
  Start("web", "waits");
  provider_.reset();
  Settle();
  EXPECT_TRUE(recorder_.started.empty());
  EXPECT_TRUE(recorder_.ended.empty());
}

TEST_P(ProviderContractTest, AnAgentThatSomebodyElseStartedCanBeAdopted) {
  const InstanceId id = Start("web", "waits");
  ASSERT_TRUE(AwaitReady("web"));
  const InstanceHandle handle = HandleOf(id);
  provider_->Forget(id);
  const InstanceHandle found = provider_->HandleOf(handle.agent_pid);
  EXPECT_EQ(found.agent_start_ticks, handle.agent_start_ticks);
  Call([&] { provider_->Adopt(id, found, DirectoryOf("web")); });
  Release(id, seconds(10));
  ASSERT_TRUE(AwaitEnds(1));
}

INSTANTIATE_TEST_SUITE_P(Providers, ProviderContractTest, testing::ValuesIn(Providers()),
                         [](const auto& provider) { return provider.param.name; });

}  // namespace
}  // namespace im::orchestrator
