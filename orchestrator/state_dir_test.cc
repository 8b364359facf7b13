#include "orchestrator/state_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/event_loop.h"
#include "orchestrator/api_server.h"
#include "orchestrator/fake_api_backend.h"

namespace im::orchestrator {
namespace {

using testing::HasSubstr;

class StateDirTest : public testing::Test {
 protected:
  StateDirTest() {
    base_ = (std::filesystem::temp_directory_path() / "im-state-XXXXXX").string();
    EXPECT_NE(mkdtemp(base_.data()), nullptr);
    path_ = base_ + "/run/shop";
  }
  ~StateDirTest() override { std::filesystem::remove_all(base_); }

  std::string base_;
  std::string path_;
};

TEST_F(StateDirTest, MakesWhatIsMissing) {
  const auto state_dir = StateDir::Open(path_ + "/../shop/");
  ASSERT_TRUE(state_dir.ok()) << state_dir.status();
  EXPECT_TRUE(std::filesystem::is_directory(path_ + "/hosts"));
  EXPECT_TRUE(std::filesystem::equivalent(state_dir->path(), path_));
  EXPECT_THAT(state_dir->api_socket(), testing::StartsWith("/"));
}

TEST_F(StateDirTest, TheSecondImdOfAClusterIsToldWhoTheFirstIs) {
  auto first = StateDir::Open(path_);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = StateDir::Open(path_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(absl::StrCat("pid ", getpid())));
  EXPECT_TRUE(StateDir::Open(base_ + "/run/other").ok()) << "another cluster's";
  first = absl::CancelledError("closed");
  EXPECT_TRUE(StateDir::Open(path_).ok());
}

TEST_F(StateDirTest, AnImdThatWasKilledHoldsNothing) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const auto held = StateDir::Open(path_);
    const char ok = held.ok() ? 'y' : 'n';
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    while (true) pause();
  }
  char ok = 'n';
  ASSERT_EQ(read(ready[0], &ok, 1), 1);
  ASSERT_EQ(ok, 'y');
  EXPECT_THAT(std::string(StateDir::Open(path_).status().message()),
              HasSubstr(absl::StrCat("pid ", pid)));
  kill(pid, SIGKILL);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(StateDir::Open(path_).ok());
}

TEST_F(StateDirTest, EachThatHeldItHasANumberOfItsOwnInAFileOfOneLength) {
  const auto size = [&] { return std::filesystem::file_size(path_ + "/lock"); };
  ASSERT_EQ(StateDir::Open(path_)->life(), 1u);
  const auto first_size = size();
  for (uint64_t life = 2; life < 12; ++life) {
    ASSERT_EQ(StateDir::Open(path_)->life(), life);
    EXPECT_EQ(size(), first_size) << "a full disk has no room for more";
  }
  std::ofstream(path_ + "/lock") << "4711\n";
  EXPECT_EQ(StateDir::Open(path_)->life(), 1u) << "of an imd that did not count";
}

TEST_F(StateDirTest, WhatIsInTheWayIsNamed) {
  std::filesystem::create_directories(base_ + "/run");
  std::ofstream(path_) << "a file";
  EXPECT_THAT(std::string(StateDir::Open(path_).status().message()), HasSubstr(path_));
}

TEST_F(StateDirTest, AStaleSocketIsReplacedAndALiveOneIsNot) {
  const auto state_dir = StateDir::Open(path_);
  ASSERT_TRUE(state_dir.ok()) << state_dir.status();
  const std::string path = state_dir->api_socket();
  const auto listen_at_path = [&] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    FileDescriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener.get(), 1), 0);
    return listener;
  };
  const RealClock clock;
  const auto loop = *EventLoop::Create(clock);
  FakeApiBackend backend;
  FileDescriptor other = listen_at_path();
  EXPECT_EQ(ApiServer::Start({.socket_path = path}, *loop, backend).status().code(),
            absl::StatusCode::kAlreadyExists);
  other.Reset();
  ASSERT_TRUE(std::filesystem::exists(path)) << "as one that was killed leaves it";
  const auto server = ApiServer::Start({.socket_path = path}, *loop, backend);
  EXPECT_TRUE(server.ok()) << server.status();
}

}  // namespace
}  // namespace im::orchestrator
