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

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> RootsWith(std::map<std::string, std::string> variables,
                                   bool root = false) {
  return StateRoots(
      [&](const char* name) -> const char* {
        const auto it = variables.find(name);
        return it == variables.end() ? nullptr : it->second.c_str();
      },
      root);
}

TEST(StateRoots, AUserHasTheirOwnAndSeesRoots) {
  const std::map<std::string, std::string> user = {{"XDG_RUNTIME_DIR", "/run/user/7"},
                                                   {"HOME", "/home/ann"}};
  EXPECT_THAT(RootsWith(user), ElementsAre("/run/user/7/im", "/run/im"));
  EXPECT_THAT(RootsWith({{"HOME", "/home/ann"}}),
              ElementsAre("/home/ann/.local/state/im", "/run/im"));
  EXPECT_THAT(RootsWith({}), ElementsAre("/run/im"));
  EXPECT_THAT(RootsWith(user, /*root=*/true), ElementsAre("/run/im"));
  for (const bool root : {false, true}) {
    EXPECT_THAT(RootsWith({{"IM_STATE_DIR", "/x"}, {"HOME", "/home/ann"}}, root),
                ElementsAre("/x"));
    EXPECT_EQ(RootsWith({{"IM_STATE_DIR", ""}}, root).back(), "/run/im");
  }
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
  const std::string none = root + "/none";
  EXPECT_THAT(RunningClusters({none, root, root}), ElementsAre("alive"));
  EXPECT_THAT(RunningClusters({none}), testing::IsEmpty());
  EXPECT_EQ(StateDirectory({none, root}, "alive"), root + "/alive");
  EXPECT_EQ(StateDirectory({none, root}, "dead"), none + "/dead");
  EXPECT_EQ(ListenerAt(ApiSocket(root + "/alive")), Listener::kAnswers);
  for (int i = 0; i < 4; ++i) {  // nobody accepts, and more callers come than it has room for
    EXPECT_EQ(ListenerAt(ApiSocket(root + "/alive")), Listener::kAnswers);
  }
  EXPECT_EQ(ListenerAt(ApiSocket(root + "/dead")), Listener::kNone);
  EXPECT_EQ(ListenerAt(root + "/" + std::string(200, 'x')), Listener::kNone);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace im::orchestrator::cli
