#include "tunnel/im_tunnel_options.h"

#include <map>

#include "gtest/gtest.h"

namespace im::tunnel {
namespace {

absl::StatusOr<ImTunnelOptions> Parse(const std::vector<std::string>& arguments,
                                      const std::map<std::string, std::string>& env = {}) {
  return ParseImTunnelOptions(arguments, [&](const char* name) -> const char* {
    const auto it = env.find(name);
    return it == env.end() ? nullptr : it->second.c_str();
  });
}

TEST(ImTunnelOptionsTest, TheNameAloneIsEnough) {
  const auto options = Parse({"wg0"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->interface_name, "wg0");
  EXPECT_FALSE(options->foreground);
  EXPECT_EQ(options->backend, ImTunnelOptions::Backend::kUserspace);
  EXPECT_EQ(options->log_level, LogLevel::kWarning);
  EXPECT_FALSE(options->tun_fd);
  EXPECT_FALSE(options->log_level_set);
}

TEST(ImTunnelOptionsTest, OptionsStandAnywhere) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"-f", "--backend", "auto", "wg0"}, {"wg0", "--backend=auto", "--foreground"}}) {
    const auto options = Parse(arguments);
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_TRUE(options->foreground);
    EXPECT_EQ(options->backend, ImTunnelOptions::Backend::kAuto);
  }
}

TEST(ImTunnelOptionsTest, TheEnvironmentIsRead) {
  const auto options = Parse({"wg0"}, {{"WG_PROCESS_FOREGROUND", "1"},
                                       {"LOG_LEVEL", "verbose"},
                                       {"WG_TUN_FD", "7"},
                                       {"WG_UAPI_FD", "8"}});
  ASSERT_TRUE(options.ok());
  EXPECT_TRUE(options->foreground);
  EXPECT_EQ(options->log_level, LogLevel::kDebug);
  EXPECT_EQ(options->tun_fd, 7);
  EXPECT_EQ(options->uapi_fd, 8);
}

TEST(ImTunnelOptionsTest, ALogLevelOfSomebodyElseIsNoMistake) {
  const auto options = Parse({"wg0"}, {{"LOG_LEVEL", "notice"}});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->log_level, LogLevel::kWarning);
  EXPECT_TRUE(options->log_level_set);
}

TEST(ImTunnelOptionsTest, DropsNeedTheInterfaceToo) {
  const auto options = Parse({"--drops", "wg0"});
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->action, ImTunnelOptions::Action::kDrops);
  EXPECT_EQ(options->interface_name, "wg0");
  EXPECT_FALSE(Parse({"--drops"}).ok());
}

TEST(ImTunnelOptionsTest, HelpAndVersionNeedNothingElse) {
  EXPECT_EQ(Parse({"--help"})->action, ImTunnelOptions::Action::kHelp);
  EXPECT_EQ(Parse({"--version"})->action, ImTunnelOptions::Action::kVersion);
}

TEST(ImTunnelOptionsTest, MistakesAreRefused) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {},
           {""},
           {"wg0", "wg1"},
           {"sixteen-bytes-ab"},
           {"../wg0"},
           {".."},
           {"wg%d"},
           {"w g"},
           {"--backend"},
           {"--backend", "windows", "wg0"},
           {"--frobnicate", "wg0"}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Parse(arguments).status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(Parse({"wg0"}, {{"WG_TUN_FD", "x"}}).status()));
}

}  // namespace
}  // namespace im::tunnel
