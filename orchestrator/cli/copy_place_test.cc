#include "orchestrator/cli/copy_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::orchestrator::cli {
namespace {

using testing::ElementsAre;

CopyPlace Place(const char* text) { return *CopyPlace::Parse(text); }

TEST(CopyPlace, AColonBeforeAnySlashNamesAHost) {
  EXPECT_EQ(Place("web:/etc/hosts").host, "web");
  EXPECT_EQ(Place("web:/etc/hosts").path, "/etc/hosts");
  EXPECT_EQ(Place("web:a:b").path, "a:b");
  EXPECT_EQ(Place("./web:/etc").host, "");
  EXPECT_EQ(Place("./web:/etc").path, "./web:/etc");
  EXPECT_EQ(Place("file").host, "");
  for (const char* bad : {"", "web:", ":/etc"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CopyPlace::Parse(bad).status())) << bad;
  }
}

TEST(CopyPlace, NamesAndDirectories) {
  EXPECT_EQ(*Place("/etc/hosts").Name(), "hosts");
  EXPECT_EQ(Place("/etc/hosts").Directory(), "/etc");
  EXPECT_EQ(*Place("/etc/").Name(), "etc");
  EXPECT_EQ(Place("/etc/").Directory(), "/");
  EXPECT_EQ(*Place("file").Name(), "file");
  EXPECT_EQ(Place("file").Directory(), ".");
  for (const char* nameless : {"/", ".", "..", "a/..", "//"}) {
    EXPECT_FALSE(Place(nameless).Name().ok()) << nameless;
  }
}

TEST(CopyPlace, NoNameIsTakenForAnOption) {
  EXPECT_THAT(PackCommand(Place("-rf"), "-rf"),
              ElementsAre("tar", "-C", ".", "-cf", "-", "--", "./-rf"));
  EXPECT_EQ(UnpackCommand(Place("-rf/"), "x").back(), "./-rf");
}

}  // namespace
}  // namespace im::orchestrator::cli
