#include "orchestrator/cli/cluster_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "base/file_descriptor.h"

namespace im::orchestrator::cli {
namespace {

using testing::HasSubstr;

std::string RootWith(std::map<std::string, std::string> variables) {
  return StateRoot([&](const char* name) -> const char* {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  });
}

TEST(StateRoot, IsOneForAllUsers) {
  EXPECT_EQ(RootWith({}), "/run/im");
  EXPECT_EQ(RootWith({{"XDG_RUNTIME_DIR", "/run/user/7"}}), "/run/im");
  EXPECT_EQ(RootWith({{"IM_STATE_DIR", ""}}), "/run/im");
  EXPECT_EQ(RootWith({{"IM_STATE_DIR", "/x"}}), "/x");
}

TEST(ChooseCluster, TheNearestWordDecides) {
  EXPECT_EQ(*ChooseCluster({.option = "a", .variable = "b", .running = {"c"}}), "a");
  EXPECT_EQ(*ChooseCluster({.variable = "b", .running = {"c"}}), "b");
  EXPECT_EQ(*ChooseCluster({.running = {"c"}, .in_directory = "d"}), "c");
  EXPECT_EQ(*ChooseCluster({.running = {"c", "d"}, .in_directory = "d"}), "d");
  EXPECT_EQ(*ChooseCluster({.in_directory = "d"}), "d");
}

TEST(ChooseCluster, WhatIsUnclearIsSaid) {
  const auto several = ChooseCluster({.running = {"a", "b"}, .in_directory = "c"});
  EXPECT_EQ(several.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(several.status().message()), HasSubstr("a, b; say which one with -c"));
  const auto none = ChooseCluster({});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("im up CLUSTER.YAML"));
}

TEST(ChooseCluster, ANameDoesNotLeadElsewhere) {
  for (const char* name : {"../shop", "a/b", "/etc", ".", "..", "Shop"}) {
    EXPECT_EQ(ChooseCluster({.option = name}).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ChooseCluster({.variable = name}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(RunningClusters, AreThoseWhoseSocketAnswers) {
  std::string root = (std::filesystem::temp_directory_path() / "im-cli-XXXXXX").string();
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  for (const char* name : {"alive", "dead", "empty"}) {
    std::filesystem::create_directory(root + "/" + name);
  }
  const auto listen_at = [&](const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  };
  const FileDescriptor alive = listen_at(ApiSocket(root + "/alive"));
  listen_at(ApiSocket(root + "/dead")).Reset();  // the file stays
  EXPECT_THAT(RunningClusters(root), testing::ElementsAre("alive"));
  EXPECT_THAT(RunningClusters(root + "/none"), testing::IsEmpty());
  EXPECT_EQ(ListenerAt(ApiSocket(root + "/alive")), Listener::kAnswers);
  EXPECT_EQ(ListenerAt(ApiSocket(root + "/dead")), Listener::kNone);
  EXPECT_EQ(ListenerAt(root + "/" + std::string(200, 'x')), Listener::kNone);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace im::orchestrator::cli
