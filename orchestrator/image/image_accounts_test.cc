#include "orchestrator/image/image_accounts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "orchestrator/image/test_archive.h"

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ImageAccountsTest : public testing::Test {
 protected:
  ImageAccountsTest() {
    std::filesystem::create_directory(tree_.path("etc"));
    std::ofstream(tree_.path("etc/passwd"))
        << "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1001::/srv:\nodd:x:no:1::/:\n";
    std::ofstream(tree_.path("etc/group")) << "root:x:0:\napps:x:1001:app\nextra:x:7:root,app\n";
  }
  ImageAccount Find(const std::string& user) {
    const auto account = FindImageAccount(tree_.path(), user);
    EXPECT_TRUE(account.ok()) << account.status();
    return account.value_or(ImageAccount());
  }
  TestDirectory tree_;
};

TEST_F(ImageAccountsTest, AreTheImagesOwn) {
  const ImageAccount app = Find("app");
  EXPECT_EQ(app.uid, 1000u);
  EXPECT_EQ(app.gid, 1001u);
  EXPECT_EQ(app.home, "/srv");
  EXPECT_THAT(app.groups, ElementsAre(7u));
  EXPECT_EQ(Find("1000").gid, 1001u);
  const ImageAccount in_group = Find("app:extra");
  EXPECT_EQ(in_group.gid, 7u);
  EXPECT_THAT(in_group.groups, IsEmpty());
  EXPECT_EQ(Find("0:0").home, "/root");
  EXPECT_EQ(Find("5:6").gid, 6u) << "numbers need not be there";
  for (const char* user : {"nobody", "app:nobody", "odd"})
    EXPECT_THAT(std::string(FindImageAccount(tree_.path(), user).status().message()),
                HasSubstr("the image has no"));
}

TEST_F(ImageAccountsTest, ALinkDoesNotLeadToTheMachines) {
  std::filesystem::remove(tree_.path("etc/passwd"));
  std::filesystem::create_symlink("/etc/passwd-of-nobody", tree_.path("etc/passwd"));
  EXPECT_FALSE(FindImageAccount(tree_.path(), "root").ok());
  std::filesystem::remove(tree_.path("etc/passwd"));
  std::filesystem::create_symlink("../../../../../../etc/passwd", tree_.path("etc/passwd"));
  EXPECT_FALSE(FindImageAccount(tree_.path(), "root").ok());
}

}  // namespace
}  // namespace im::orchestrator
