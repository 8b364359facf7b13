// Layers as they should be, and as somebody with bad intentions makes them.

#include "orchestrator/image/layer_unpacker.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "orchestrator/image/test_archive.h"

namespace im::orchestrator {
namespace {

using testing::HasSubstr;

class LayerUnpackerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners need root";
    std::filesystem::create_directory(directory_.path("tree"));
    std::ofstream(directory_.path("outside")) << "untouched";
  }
  TestArchive Make() { return TestArchive(directory_.path("layer.tar")); }
  absl::Status Unpack(LayerUnpacker& unpacker,
                      LayerUnpacker::Kind kind = LayerUnpacker::Kind::kLayer) {
    const FileDescriptor file(open(directory_.path("layer.tar").c_str(), O_RDONLY | O_CLOEXEC));
    return unpacker.Unpack(file.get(), kind);
  }
  LayerUnpacker New(const LayerUnpacker::Limits& limits = {}) {
    return LayerUnpacker(*SafeTree::Open(directory_.path("tree")), limits);
  }
  std::string In(const std::string& path) { return directory_.path("tree/" + path); }
  static std::string Text(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  static bool Exists(const std::string& path) {
    struct stat info;
    return lstat(path.c_str(), &info) == 0;
  }

  TestDirectory directory_;
};

TEST_F(LayerUnpackerTest, KeepsOwnersModesAndLinks) {
  LayerUnpacker unpacker = New();
  Make()
      .Directory("./bin", 0711)
      .File("bin/su", "program", 04755, 7)
      .HardLink("bin/sudo", "bin/su")
      .Symlink("bin/link", "/bin/su")
      .Node("pipe", AE_IFIFO)
      .File("made/on/the/way", "x");
  ASSERT_TRUE(Unpack(unpacker).ok());
  struct stat su;
  ASSERT_EQ(stat(In("bin/su").c_str(), &su), 0);
  EXPECT_EQ(su.st_mode & 07777, 04755u);
  EXPECT_EQ(su.st_uid, 7u);
  EXPECT_EQ(su.st_nlink, 2u);
  EXPECT_EQ(std::filesystem::read_symlink(In("bin/link")), "/bin/su");
  EXPECT_TRUE(std::filesystem::is_fifo(In("pipe")));
  EXPECT_EQ(Text(In("made/on/the/way")), "x");
  ASSERT_EQ(stat(In("bin").c_str(), &su), 0);
  EXPECT_EQ(su.st_mode & 07777, 0711u);
}

TEST_F(LayerUnpackerTest, WhiteoutsTakeAwayWhatLowerLayersHave) {
  LayerUnpacker unpacker = New();
  Make().File("etc/a", "1").File("etc/b", "1").File("opt/old/x", "1").File("opt/y", "1")
      .File("dir/z", "1").File("top", "1");
  ASSERT_TRUE(Unpack(unpacker).ok());
  // The opaque one also behind what the same layer puts there.
  Make().File("etc/.wh.a", "").File("etc/b", "2").File("opt/new", "2")
      .File("opt/deep/in", "2").File("opt/.wh..wh..opq", "").File(".wh.dir", "")
      .File("etc/c", "2").File("etc/.wh.c", "");
  ASSERT_TRUE(Unpack(unpacker).ok());
  EXPECT_FALSE(Exists(In("etc/a")));
  EXPECT_EQ(Text(In("etc/b")), "2");
  EXPECT_EQ(Text(In("etc/c")), "2") << "of the same layer";
  EXPECT_FALSE(Exists(In("opt/old")));
  EXPECT_FALSE(Exists(In("opt/y")));
  EXPECT_EQ(Text(In("opt/new")), "2");
  EXPECT_EQ(Text(In("opt/deep/in")), "2");
  EXPECT_FALSE(Exists(In("dir")));
  EXPECT_TRUE(Exists(In("top")));
  EXPECT_FALSE(Exists(In("opt/.wh..wh..opq")));
}

TEST_F(LayerUnpackerTest, KindsMayChangeFromLayerToLayer) {
  LayerUnpacker unpacker = New();
  Make().File("a/x", "1").File("b", "1").Symlink("c", "a");
  ASSERT_TRUE(Unpack(unpacker).ok());
  Make().File("a", "2").Directory("b").File("b/y", "2").Directory("c").File("c/w", "2");
  ASSERT_TRUE(Unpack(unpacker).ok());
  EXPECT_EQ(Text(In("a")), "2");
  EXPECT_EQ(Text(In("b/y")), "2");
  EXPECT_FALSE(std::filesystem::is_symlink(In("c")));
  EXPECT_EQ(Text(In("c/w")), "2");
}

TEST_F(LayerUnpackerTest, ALinkInAPathIsFollowedInsideTheTree) {
  LayerUnpacker unpacker = New();
  Make().Directory("usr/bin").Symlink("bin", "usr/bin").Symlink("abs", "/usr").File("bin/sh", "1")
      .File("abs/x", "1");
  ASSERT_TRUE(Unpack(unpacker).ok());
  EXPECT_EQ(Text(In("usr/bin/sh")), "1");
  EXPECT_EQ(Text(In("usr/x")), "1");
}

TEST_F(LayerUnpackerTest, NothingLeavesTheTree) {
  const std::string outside = directory_.path("outside");
  const auto refused = [&](absl::string_view what) {
    LayerUnpacker unpacker = New();
    const absl::Status status = Unpack(unpacker);
    EXPECT_EQ(Text(outside), "untouched") << what;
    return !status.ok();
  };
  Make().File("../outside", "evil");
  EXPECT_TRUE(refused("a path with .."));
  Make().File("a/../../outside", "evil");
  EXPECT_TRUE(refused("one in the middle"));
  Make().HardLink("link", "../outside");
  EXPECT_TRUE(refused("a hard link to the outside"));
  Make().HardLink("link", outside);
  EXPECT_TRUE(refused("an absolute one, which means the tree's"));
  Make().Symlink("up", "..").File("up/outside", "evil");
  refused("through a link to ..: stays inside");
  EXPECT_EQ(Text(In("outside")), "evil");
  Make().Symlink("direct", outside).File("direct", "evil");
  EXPECT_FALSE(refused("a file in the place of a link to it"));
  EXPECT_EQ(Text(In("direct")), "evil");
  Make().Symlink("again", outside).HardLink("hard", "again");
  refused("a hard link to a link");
  Make().File(".wh...", "");
  EXPECT_TRUE(refused("a whiteout of .."));
  Make().File(".wh.", "");
  EXPECT_TRUE(refused("a whiteout of nothing"));
  Make().Symlink("out", directory_.path()).File("out/.wh.outside", "");
  refused("a whiteout through a link");
  EXPECT_TRUE(Exists(outside));
  // Absolute paths are the tree's.
  Make().File(outside, "inside");
  EXPECT_FALSE(refused("an absolute path"));
  EXPECT_EQ(Text(In(outside)), "inside");
}

TEST_F(LayerUnpackerTest, DevicesAreLeftOut) {
  LayerUnpacker unpacker = New();
  Make().Node("dev/sda", AE_IFBLK).Node("dev/null", AE_IFCHR).Node("s", AE_IFSOCK).File("x", "1");
  ASSERT_TRUE(Unpack(unpacker).ok());
  EXPECT_FALSE(Exists(In("dev/sda")));
  EXPECT_FALSE(Exists(In("dev/null")));
  EXPECT_GE(unpacker.left_out(), 2u);
  EXPECT_EQ(Text(In("x")), "1");
}

TEST_F(LayerUnpackerTest, LimitsAreKept) {
  Make().File("a", std::string(3000, 'x')).File("b", std::string(3000, 'x'));
  LayerUnpacker small = New({.bytes_max = 4000});
  EXPECT_THAT(std::string(Unpack(small).message()), HasSubstr("b: the image has more than 4000"));
  LayerUnpacker few = New({.entries_max = 1});
  EXPECT_THAT(std::string(Unpack(few).message()), HasSubstr("more than 1 files"));
  LayerUnpacker full = New({.free_bytes_min = uint64_t{1} << 60});
  EXPECT_THAT(std::string(Unpack(full).message()), HasSubstr("too little space"));
}

TEST_F(LayerUnpackerTest, WhatIsNoArchiveIsSaid) {
  std::ofstream(directory_.path("layer.tar")) << std::string(2000, 'x');
  LayerUnpacker unpacker = New();
  EXPECT_THAT(std::string(Unpack(unpacker).message()), HasSubstr("the archive cannot be read"));
  // Cut in the middle of a file.
  Make().File("a", std::string(30'000, 'x'));
  std::filesystem::resize_file(directory_.path("layer.tar"), 12'000);
  EXPECT_FALSE(Unpack(unpacker).ok());
}

}  // namespace
}  // namespace im::orchestrator
