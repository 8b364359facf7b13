// Tar archives for tests, good ones and others.

#ifndef IM_ORCHESTRATOR_IMAGE_TEST_ARCHIVE_H_
#define IM_ORCHESTRATOR_IMAGE_TEST_ARCHIVE_H_

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"

namespace im::orchestrator {

class TestDirectory {
 public:
  TestDirectory() {
    std::string pattern = "/var/tmp/im-image-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TestDirectory() { std::filesystem::remove_all(path_); }
  std::string path(absl::string_view name = "") const {
    return name.empty() ? path_ : path_ + "/" + std::string(name);
  }

 private:
  std::string path_;
};

class TestArchive {
 public:
  explicit TestArchive(const std::string& path, bool gzip = false) : writer_(archive_write_new()) {
    archive_write_set_format_pax_restricted(writer_);
    if (gzip) archive_write_add_filter_gzip(writer_);
    archive_write_open_filename(writer_, path.c_str());
  }
  ~TestArchive() { archive_write_free(writer_); }

  TestArchive& File(const std::string& path, const std::string& text, int mode = 0644,
                    int uid = 0) {
    return Add(path, AE_IFREG, mode, uid, "", "", text);
  }
  TestArchive& Directory(const std::string& path, int mode = 0755) {
    return Add(path, AE_IFDIR, mode, 0, "", "", "");
  }
  TestArchive& Symlink(const std::string& path, const std::string& target) {
    return Add(path, AE_IFLNK, 0777, 0, target, "", "");
  }
  TestArchive& HardLink(const std::string& path, const std::string& target) {
    return Add(path, AE_IFREG, 0644, 0, "", target, "");
  }
  TestArchive& Node(const std::string& path, unsigned type) {
    return Add(path, type, 0666, 0, "", "", "");
  }

 private:
  TestArchive& Add(const std::string& path, unsigned type, int mode, int uid,
                   const std::string& symlink, const std::string& hard_link,
                   const std::string& text) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, path.c_str());
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, static_cast<mode_t>(mode));
    archive_entry_set_uid(entry, uid);
    archive_entry_set_size(entry, static_cast<la_int64_t>(text.size()));
    if (!symlink.empty()) archive_entry_set_symlink(entry, symlink.c_str());
    if (!hard_link.empty()) archive_entry_set_hardlink(entry, hard_link.c_str());
    archive_write_header(writer_, entry);
    if (!text.empty()) archive_write_data(writer_, text.data(), text.size());
    archive_entry_free(entry);
    return *this;
  }
  archive* writer_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_TEST_ARCHIVE_H_
