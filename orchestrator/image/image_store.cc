#include "orchestrator/image/image_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace im::orchestrator {
namespace {

using Json = nlohmann::json;

constexpr char kNewTree[] = "/trees/.new-";
constexpr char kNewTreePattern[] = "/trees/.new-XXXXXX";

// A file's name: what is no letter, digit, ".", "_" or "-" in hexadecimal.
std::string Escape(absl::string_view name) {
  std::string out;
  for (const char c : name) {
    if (absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-') {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<uint8_t>(c));
    }
  }
  return out;
}

absl::Status MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    return ErrnoStatus(absl::StrCat("make directory ", path));
  return absl::OkStatus();
}

bool IsUsed(const std::string& tree) {
  const FileDescriptor fd(open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd.valid() && flock(fd.get(), LOCK_EX | LOCK_NB) != 0;
}

}  // namespace

std::string ImageRoot(const std::string& data_root) { return data_root + "/.images"; }

absl::StatusOr<FileDescriptor> LockImage(const std::string& tree) {
  FileDescriptor fd(open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open the image's files in ", tree));
  if (flock(fd.get(), LOCK_SH | LOCK_NB) != 0 || access(tree.c_str(), F_OK) != 0)
    return absl::NotFoundError(absl::StrCat("the image in ", tree, " is being removed"));
  return fd;
}

std::string ImageStore::RefPath(const std::string& name) const {
  return absl::StrCat(root_, "/refs/", Escape(name), ".json");
}

absl::StatusOr<StoredImage> ImageStore::ReadRef(const std::string& path) const {
  std::ifstream file(path, std::ios::binary);
  if (!file) return ErrnoStatus(absl::StrCat("open ", path));
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto text_of = [&](const char* field) {
    const auto it = root.find(field);
    return it != root.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const auto number_of = [&](const char* field) {
    const auto it = root.find(field);
    return it != root.end() && it->is_number() ? it->get<int64_t>() : 0;
  };
  if (!root.is_object() || text_of("name").empty() || text_of("tree").empty())
    return absl::DataLossError(absl::StrCat(path, " is damaged: remove it and import anew"));
  StoredImage image;
  image.name = text_of("name");
  image.tree = absl::StrCat(root_, "/trees/", text_of("tree"));
  image.imported_unix_s = number_of("imported_unix_s");
  image.bytes = static_cast<uint64_t>(number_of("bytes"));
  image.source = text_of("source");
  IM_ASSIGN_OR_RETURN(image.config, ParseImageConfig(text));
  return image;
}

absl::StatusOr<StoredImage> ImageStore::Find(const std::string& name) const {
  IM_ASSIGN_OR_RETURN(const std::string canonical, CanonicalImageName(name));
  const std::string path = RefPath(canonical);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    if (error && error.value() != ENOENT) return ErrnoStatus("look into " + root_, error.value());
    return absl::NotFoundError(absl::StrCat("there is no image ", canonical));
  }
  return ReadRef(path);
}

absl::StatusOr<std::vector<StoredImage>> ImageStore::List() const {
  std::vector<StoredImage> images;
  std::error_code error;
  for (std::filesystem::directory_iterator it(root_ + "/refs", error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".json") continue;
    IM_ASSIGN_OR_RETURN(StoredImage image, ReadRef(it->path().string()));
    images.push_back(std::move(image));
  }
  if (error && error.value() != ENOENT) return ErrnoStatus("look into " + root_, error.value());
  std::sort(images.begin(), images.end(),
            [](const StoredImage& a, const StoredImage& b) { return a.name < b.name; });
  return images;
}

absl::StatusOr<std::string> ImageStore::NewTree() const {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(root_).parent_path(), error);
  if (error) return ErrnoStatus(absl::StrCat("make directory ", root_), error.value());
  IM_RETURN_IF_ERROR(MakeDirectory(root_, 0700));
  IM_RETURN_IF_ERROR(MakeDirectory(root_ + "/refs", 0700));
  IM_RETURN_IF_ERROR(MakeDirectory(root_ + "/trees", 0700));
  std::string tree = root_ + kNewTreePattern;
  if (mkdtemp(tree.data()) == nullptr) return ErrnoStatus(absl::StrCat("make directory ", tree));
  if (chmod(tree.c_str(), 0755) != 0) return ErrnoStatus(absl::StrCat("chmod ", tree));
  return tree;
}

void ImageStore::Discard(const std::string& tree) const {
  std::error_code ignored;
  std::filesystem::remove_all(tree, ignored);
}

absl::Status ImageStore::Commit(StoredImage& image) const {
  const std::string number = image.tree.substr((root_ + kNewTree).size());
  const std::string tree = absl::StrCat(Escape(image.name), "~", number);
  const std::string path = absl::StrCat(root_, "/trees/", tree);
  if (rename(image.tree.c_str(), path.c_str()) != 0)
    return ErrnoStatus(absl::StrCat("rename ", image.tree, " to ", path));
  image.tree = path;
  Json ref = Json::parse(image.config.ToJson());
  ref["name"] = image.name;
  ref["tree"] = tree;
  ref["imported_unix_s"] = image.imported_unix_s;
  ref["bytes"] = image.bytes;
  ref["source"] = image.source;
  const std::string ref_path = RefPath(image.name);
  const std::string next = ref_path + ".new";
  std::ofstream file(next, std::ios::trunc | std::ios::binary);
  file << ref.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  file.close();
  if (!file || rename(next.c_str(), ref_path.c_str()) != 0)
    return ErrnoStatus(absl::StrCat("write ", ref_path));
  Sweep();
  return absl::OkStatus();
}

absl::Status ImageStore::Remove(const std::string& name) const {
  IM_ASSIGN_OR_RETURN(const StoredImage image, Find(name));
  if (IsUsed(image.tree)) {
    return absl::FailedPreconditionError(absl::StrCat(
        image.name, " is in use by a cluster that is up; im down ends it"));
  }
  if (unlink(RefPath(image.name).c_str()) != 0)
    return ErrnoStatus(absl::StrCat("remove ", RefPath(image.name)));
  Sweep();
  return absl::OkStatus();
}

void ImageStore::Sweep() const {
  const auto images = List();
  if (!images.ok()) return;  // a ref that cannot be read may name any tree
  std::set<std::string> named;
  for (const StoredImage& image : *images) named.insert(image.tree);
  std::error_code error;
  for (std::filesystem::directory_iterator it(root_ + "/trees", error), end; !error && it != end;
       it.increment(error)) {
    const std::string tree = it->path().string();
    // Imports under way hold a lock as well.
    if (!named.contains(tree) && !IsUsed(tree)) Discard(tree);
  }
}

}  // namespace im::orchestrator
