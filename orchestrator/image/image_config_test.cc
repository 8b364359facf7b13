#include "orchestrator/image/image_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ImageConfigTest, ReadsWhatImagesSay) {
  const auto config = ParseImageConfig(R"({"architecture": "amd64", "os": "linux", "config": {
      "Env": ["PATH=/bin", "A=b=c"], "Entrypoint": ["/init"], "Cmd": ["serve", "-v"],
      "WorkingDir": "/srv", "User": "app", "StopSignal": "SIGQUIT",
      "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "Labels": {"x": "y"}}, "rootfs": {}})");
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->environment, ElementsAre("PATH=/bin", "A=b=c"));
  EXPECT_THAT(config->entrypoint, ElementsAre("/init"));
  EXPECT_THAT(config->command, ElementsAre("serve", "-v"));
  EXPECT_EQ(config->working_dir, "/srv");
  EXPECT_EQ(config->user, "app");
  EXPECT_EQ(config->stop_signal, "SIGQUIT");
  EXPECT_THAT(config->exposed_ports, ElementsAre("443/tcp", "80/tcp"));
  EXPECT_EQ(*ParseImageConfig(config->ToJson()), *config) << "as it is kept";
  // Nothing need be there, or all of it null.
  EXPECT_EQ(*ParseImageConfig("{}"), ImageConfig());
  EXPECT_EQ(*ParseImageConfig(R"({"config": {"Cmd": null, "Env": null, "User": null}})"),
            ImageConfig());
}

TEST(ImageConfigTest, WhatIsOfAnotherTypeIsAnError) {
  for (const char* json :
       {"", "[]", "null", "{", R"({"config": []})", R"({"config": {"Cmd": "sh"}})",
        R"({"config": {"Env": [1]}})", R"({"config": {"User": 1}})",
        R"({"config": {"ExposedPorts": ["80"]}})", R"({"architecture": {}})"}) {
    EXPECT_FALSE(ParseImageConfig(json).ok()) << json;
  }
  EXPECT_FALSE(ParseImageConfig(std::string(kImageJsonBytesMax + 1, ' ')).ok());
}

TEST(ImageNameTest, NamesAreMadeCanonical) {
  for (const auto& [name, canonical] :
       {std::pair("redis", "redis:latest"), {"redis:7", "redis:7"},
        {"docker.io/library/redis:7", "redis:7"}, {"docker.io/team/web", "team/web:latest"},
        {"localhost:5000/team/web:v1.2", "localhost:5000/team/web:v1.2"},
        {"example.org:5000/web", "example.org:5000/web:latest"}}) {
    EXPECT_EQ(*CanonicalImageName(name), canonical);
  }
  for (const char* name : {"", ":7", "Redis", "a b", "../etc", "a/../b", "/a", "a/", "a:", "a:b:c",
                           "a:-b", "a//b", "a\nb"}) {
    EXPECT_FALSE(CanonicalImageName(name).ok()) << name;
  }
  EXPECT_THAT(std::string(CanonicalImageName("redis@sha256:00").status().message()),
              HasSubstr("by its digest"));
}

}  // namespace
}  // namespace im::orchestrator
