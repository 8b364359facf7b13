#include "orchestrator/cli/daemon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace im::orchestrator::cli {
namespace {

using testing::HasSubstr;

// A shell script stands in for imd.
class DaemonTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = (std::filesystem::temp_directory_path() / "im-daemon-XXXXXX").string();
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  DaemonOptions Script(const std::string& body) {
    DaemonOptions options;
    options.program = directory_ + "/imd";
    std::ofstream(options.program) << "#!/bin/sh\n" << body;
    chmod(options.program.c_str(), 0755);
    options.spec_path = "/spec with space.yaml";
    options.state_directory = directory_ + "/run/shop";
    return options;
  }

  std::string directory_;
};

TEST_F(DaemonTest, IsReadyWhenItSaysSo) {
  const DaemonOptions options = Script("echo \"args: $*\"\necho >&3\nexec sleep 1000\n");
  const auto pid = StartDaemon(options);
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_THAT(DaemonLogTail(options.state_directory),
              HasSubstr("args: --spec /spec with space.yaml --state-dir " +
                        options.state_directory + " --ready-fd 3"));
  EXPECT_FALSE(WaitForExit(*pid, std::chrono::milliseconds(1)));
  kill(*pid, SIGKILL);
  EXPECT_TRUE(WaitForExit(*pid, std::chrono::seconds(30)));
  int status = 0;
  EXPECT_EQ(waitpid(*pid, &status, 0), *pid);
  EXPECT_EQ(HowItEnded(status), "was killed by signal 9");
  EXPECT_TRUE(WaitForExit(*pid, std::chrono::seconds(1)));
}

TEST_F(DaemonTest, TheOneWhoUsedSudoIsTheOwner) {
  DaemonOptions options = Script("echo \"args: $*\"\necho >&3\nexec sleep 1000\n");
  options.owner = 1000;
  const auto pid = StartDaemon(options);
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_THAT(DaemonLogTail(options.state_directory), HasSubstr("--ready-fd 3 --owner 1000"));
  kill(*pid, SIGKILL);
  EXPECT_EQ(waitpid(*pid, nullptr, 0), *pid);
  // Others pass through to the API socket, and read nothing on the way.
  struct stat status{};
  ASSERT_EQ(stat(options.state_directory.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0711u);
  ASSERT_EQ(stat(DaemonLog(options.state_directory).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(SudoUser, IsBelievedOnlyAsRoot) {
  EXPECT_EQ(SudoUser(0, "1000"), 1000u);
  EXPECT_EQ(SudoUser(0, nullptr), std::nullopt);
  EXPECT_EQ(SudoUser(0, "0"), std::nullopt);
  EXPECT_EQ(SudoUser(0, "dev"), std::nullopt);
  EXPECT_EQ(SudoUser(1000, "1000"), std::nullopt);
}

TEST_F(DaemonTest, AFailureShowsTheEndOfItsLog) {
  const auto pid = StartDaemon(Script("echo 'gateway: no port left' >&2\nexit 5\n"));
  EXPECT_THAT(std::string(pid.status().message()),
              HasSubstr("imd ended with exit code 5; the end of " + directory_ +
                        "/run/shop/imd.log:\n  | gateway: no port left"));
}

TEST_F(DaemonTest, AProgramThatIsNotThereIsNamed) {
  DaemonOptions options = Script("");
  options.program += ".gone";
  EXPECT_THAT(std::string(StartDaemon(options).status().message()),
              HasSubstr("imd.gone: No such file or directory"));
}

}  // namespace
}  // namespace im::orchestrator::cli
