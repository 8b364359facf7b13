#include "orchestrator/agent/kept_rests.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kPage = 4096;

// Images of process 2, whose memory is: one page at 0x10000, a page that is not kept at
// 0x20000, two pages at 0x30000.
class KeptRestsTest : public testing::Test {
 protected:
  KeptRestsTest() {
    directory_ = testing::TempDir() + "/restsXXXXXX";
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    proto::CriuPagemapHead head;
    head.set_pages_id(7);
    std::string image(8, 'm');
    Append(image, head.SerializeAsString());
    Append(image, Entry(0x10000, 1, 4));
    Append(image, Entry(0x20000, 1, 2));
    Append(image, Entry(0x30000, 2, 4));
    std::ofstream(directory_ + "/pagemap-2.img") << image;
    std::ofstream(directory_ + "/pages-7.img") << std::string(3 * kPage, '\0');
  }
  ~KeptRestsTest() override { std::filesystem::remove_all(directory_); }

  static std::string Entry(uint64_t address, uint64_t pages, uint32_t flags) {
    proto::CriuPagemapEntry entry;
    entry.set_vaddr(address);
    entry.set_nr_pages(pages);
    entry.set_flags(flags);
    return entry.SerializeAsString();
  }
  static void Append(std::string& image, const std::string& message) {
    const uint32_t size = static_cast<uint32_t>(message.size());
    image.append(reinterpret_cast<const char*>(&size), sizeof(size));
    image += message;
  }
  void Put(uint64_t offset, int64_t first, int64_t second) {
    std::fstream file(directory_ + "/pages-7.img", std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char*>(&first), sizeof(first));
    file.write(reinterpret_cast<const char*>(&second), sizeof(second));
  }
  std::pair<int64_t, int64_t> Get(uint64_t offset) {
    std::ifstream file(directory_ + "/pages-7.img");
    int64_t words[2] = {-1, -1};
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(reinterpret_cast<char*>(words), sizeof(words));
    return {words[0], words[1]};
  }
  void Shorten(uint64_t address, int64_t unit_ns, Duration away, uint32_t process = 2) {
    proto::CheckpointManifest manifest;
    proto::KeptRest& rest = *manifest.add_rests();
    rest.set_process(process);
    rest.set_address(address);
    rest.set_unit_ns(unit_ns);
    ShortenKeptRests(directory_, manifest.rests(), away);
  }

  std::string directory_;
};

TEST_F(KeptRestsTest, TheTimeAwayIsTakenOffWhereThePageIs) {
  Put(16, 60, 500'000'000);                // 0x10010, a timespec
  Put(2 * kPage + 0x20, 60, 500'000);      // 0x31020, a timeval, behind a page that is not there
  Shorten(0x10010, 1, seconds(20) + milliseconds(600));
  Shorten(0x31020, 1000, seconds(20) + milliseconds(600));
  EXPECT_EQ(Get(16), std::pair(int64_t{39}, int64_t{900'000'000}));
  EXPECT_EQ(Get(2 * kPage + 0x20), std::pair(int64_t{39}, int64_t{900'000}));
}

TEST_F(KeptRestsTest, AWaitThatIsOverHasNoRest) {
  Put(0, 5, 0);
  Shorten(0x10000, 1, seconds(6));
  EXPECT_EQ(Get(0), std::pair(int64_t{0}, int64_t{0}));
}

TEST_F(KeptRestsTest, WhatIsNotThereOrNoTimeStaysAsItIs) {
  Put(0, 5, 2'000'000'000);  // no fraction of a second
  Put(kPage, 5, 0);
  Shorten(0x10000, 1, seconds(1));
  Shorten(0x20000, 1, seconds(1));
  Shorten(0x40000, 1, seconds(1));
  Shorten(0x10ff8, 1, seconds(1));  // over the end
  Shorten(0x30000, 1, seconds(1), 3);
  EXPECT_EQ(Get(0), std::pair(int64_t{5}, int64_t{2'000'000'000}));
  EXPECT_EQ(Get(kPage), std::pair(int64_t{5}, int64_t{0}));
}

}  // namespace
}  // namespace im::agent
