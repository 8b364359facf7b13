#include "orchestrator/cli/guest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace im::orchestrator::cli {
namespace {

// A shell script stands in for im-agent.
class GuestTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = (std::filesystem::temp_directory_path() / "im-guest-XXXXXX").string();
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Script(const std::string& body) {
    const std::string path = directory_ + "/agent";
    std::ofstream(path) << "#!/bin/sh\n" << body;
    chmod(path.c_str(), 0755);
    return path;
  }

  std::string directory_;
  SignalRelay signals_;
};

TEST_F(GuestTest, TheProgramIsAsItWouldBeWithoutUs) {
  setenv("IM_GUEST_TEST", "a=b", 1);
  proto::Program program;
  ASSERT_TRUE(FillGuestProgram({"ls", "-l"}, program).ok());
  EXPECT_THAT(program.argv(), testing::ElementsAre("ls", "-l"));
  EXPECT_EQ(program.environment().at("IM_GUEST_TEST"), "a=b");
  EXPECT_EQ(program.uid(), geteuid());
  EXPECT_EQ(program.working_dir(), std::filesystem::current_path().string());
}

TEST_F(GuestTest, TheAgentReadsTheRequestAndItsCodeIsOurs) {
  proto::StartRequest request;
  request.set_host("run-1");
  const auto pid = StartGuestAgent(Script("cat <&3 > " + directory_ + "/got\necho $* > " +
                                          directory_ + "/args\nexit 7\n"),
                                   request, signals_);
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(WaitForGuest(*pid, signals_), 7);
  std::ifstream got(directory_ + "/got");
  proto::StartRequest parsed;
  ASSERT_TRUE(parsed.ParseFromIstream(&got));
  EXPECT_EQ(parsed.host(), "run-1");
  std::string arguments;
  std::getline(std::ifstream(directory_ + "/args"), arguments);
  EXPECT_EQ(arguments, "--start-fd 3");
}

TEST_F(GuestTest, SignalsArePassedOn) {
  // The script tells this process when it is ready for SIGTERM.
  const auto pid = StartGuestAgent(
      Script("trap 'exit 9' TERM\nkill -TERM $PPID\nwhile :; do sleep 0.01; done\n"), {},
      signals_);
  ASSERT_TRUE(pid.ok());
  EXPECT_EQ(WaitForGuest(*pid, signals_), 9);
}

TEST_F(GuestTest, AnAgentThatIsKilledCounts) {
  const auto pid = StartGuestAgent(Script("kill -KILL $$\n"), {}, signals_);
  ASSERT_TRUE(pid.ok());
  EXPECT_EQ(WaitForGuest(*pid, signals_), 128 + SIGKILL);
}

TEST_F(GuestTest, AnAgentThatIsNotThereIsNamed) {
  EXPECT_THAT(std::string(StartGuestAgent("/no/such/agent", {}, signals_).status().message()),
              testing::HasSubstr("run /no/such/agent: No such file or directory"));
}

}  // namespace
}  // namespace im::orchestrator::cli
