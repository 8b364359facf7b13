#include "orchestrator/image/image_import.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

extern char** environ;

namespace im::orchestrator {
namespace {

using Json = nlohmann::json;

constexpr size_t kReadBytes = 256 << 10;
constexpr int kIndexDepthMax = 4;  // an index may name indexes
constexpr size_t kLayersMax = 512;
constexpr size_t kSha256HexBytes = 64;
// Of an archive that is an image in another format than a root file system.
constexpr absl::string_view kMarks[] = {"oci-layout", "manifest.json"};

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

// ---- files of an image, as they were packed -------------------------------------------

// What `source` has, whoever made it.
class Package {
 public:
  static absl::StatusOr<Package> Open(const std::string& directory) {
    IM_ASSIGN_OR_RETURN(SafeTree tree, SafeTree::Open(directory));
    return Package(std::move(tree));
  }

  bool Has(const std::string& path) const { return OpenFile(path).ok(); }

  absl::StatusOr<FileDescriptor> OpenFile(const std::string& path) const {
    IM_ASSIGN_OR_RETURN(const std::string normal, SafeTree::Normal(path));
    IM_ASSIGN_OR_RETURN(FileDescriptor file,
                        tree_.OpenFile(normal, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    struct stat info;
    if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
      return Bad(absl::StrCat(path, " is no file"));
    return file;
  }

  absl::StatusOr<Json> ReadJson(const std::string& path) const {
    IM_ASSIGN_OR_RETURN(const FileDescriptor file, OpenFile(path));
    IM_ASSIGN_OR_RETURN(const std::string text, ReadAll(file.get(), path));
    Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) return Bad(absl::StrCat(path, " is no JSON"));
    return json;
  }

  static absl::StatusOr<std::string> ReadAll(int file, const std::string& path) {
    std::string text(kImageJsonBytesMax + 1, '\0');
    size_t size = 0;
    while (size < text.size()) {
      const ssize_t n = read(file, text.data() + size, text.size() - size);
      if (n < 0) return ErrnoStatus(absl::StrCat("read ", path));
      if (n == 0) break;
      size += static_cast<size_t>(n);
    }
    if (size > kImageJsonBytesMax) return Bad(absl::StrCat(path, " is too large"));
    text.resize(size);
    return text;
  }

 private:
  explicit Package(SafeTree tree) : tree_(std::move(tree)) {}
  SafeTree tree_;
};

// The whole file's, and where it stands is its beginning again.
absl::Status CheckDigest(int file, absl::string_view hex, const std::string& path) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::string buffer(kReadBytes, '\0');
  while (true) {
    const ssize_t n = read(file, buffer.data(), buffer.size());
    if (n < 0) return ErrnoStatus(absl::StrCat("read ", path));
    if (n == 0) break;
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(n));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  const std::string found = absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), size));
  if (found != hex) return Bad(absl::StrCat(path, " is damaged: its SHA-256 is ", found));
  if (lseek(file, 0, SEEK_SET) != 0) return ErrnoStatus(absl::StrCat("seek ", path));
  return absl::OkStatus();
}

// "sha256:HEX" → blobs/sha256/HEX, its digest checked.
absl::StatusOr<FileDescriptor> OpenBlob(const Package& package, const std::string& digest) {
  absl::string_view hex = digest;
  if (!absl::ConsumePrefix(&hex, "sha256:") || hex.size() != kSha256HexBytes ||
      hex.find_first_not_of("0123456789abcdef") != absl::string_view::npos) {
    return Bad(absl::StrCat("the digest \"", digest, "\" is not of SHA-256"));
  }
  const std::string path = absl::StrCat("blobs/sha256/", hex);
  IM_ASSIGN_OR_RETURN(FileDescriptor file, package.OpenFile(path));
  IM_RETURN_IF_ERROR(CheckDigest(file.get(), hex, path));
  return file;
}

absl::StatusOr<Json> ReadBlobJson(const Package& package, const std::string& digest) {
  IM_ASSIGN_OR_RETURN(const FileDescriptor file, OpenBlob(package, digest));
  IM_ASSIGN_OR_RETURN(const std::string text, Package::ReadAll(file.get(), digest));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Bad(absl::StrCat(digest, " is no JSON object"));
  return json;
}

// A text below `json`, or an empty one, whatever is there.
std::string TextOf(const Json& json, std::initializer_list<const char*> path) {
  const Json* at = &json;
  for (const char* field : path) {
    if (!at->is_object()) return "";
    const auto it = at->find(field);
    if (it == at->end()) return "";
    at = &*it;
  }
  return at->is_string() ? at->get<std::string>() : "";
}

const Json* ListOf(const Json& json, const char* field) {
  if (!json.is_object()) return nullptr;
  const auto it = json.find(field);
  return it != json.end() && it->is_array() ? &*it : nullptr;
}

// ---- one importer for each format --------------------------------------------------------

class Importer {
 public:
  Importer(const std::string& name, const std::string& tree, const LayerUnpacker::Limits& limits)
      : name_(name), tree_(tree), limits_(limits) {}

  absl::Status FromDirectory(const std::string& source);
  absl::Status FromArchive(const std::string& source);

  ImageConfig& config() { return config_; }
  std::vector<std::string>& warnings() { return warnings_; }

 private:
  absl::Status FromPackage(const std::string& directory, bool& known);
  absl::Status FromOciLayout(const Package& package);
  absl::Status FromDockerSave(const Package& package);
  absl::StatusOr<Json> ChooseManifest(const Package& package, const Json& index, int depth);
  absl::Status CopyTree(const std::string& source);
  absl::Status ReadConfig(int file, const std::string& path);
  absl::Status Unpack(std::vector<FileDescriptor> layers, LayerUnpacker::Kind kind);

  const std::string& name_;
  const std::string& tree_;
  const LayerUnpacker::Limits& limits_;
  ImageConfig config_;
  std::vector<std::string> warnings_;
};

absl::Status Importer::Unpack(std::vector<FileDescriptor> layers, LayerUnpacker::Kind kind) {
  if (layers.size() > kLayersMax)
    return Bad(absl::StrCat("the image has more than ", kLayersMax, " layers"));
  IM_ASSIGN_OR_RETURN(SafeTree tree, SafeTree::Open(tree_));
  LayerUnpacker unpacker(std::move(tree), limits_);
  for (const FileDescriptor& layer : layers)
    IM_RETURN_IF_ERROR(unpacker.Unpack(layer.get(), kind));
  if (unpacker.left_out() > 0) {
    warnings_.push_back(absl::StrCat(unpacker.left_out(),
                                     " device files and sockets are left out: a host has a /dev "
                                     "of its own"));
  }
  return absl::OkStatus();
}

absl::Status Importer::ReadConfig(int file, const std::string& path) {
  IM_ASSIGN_OR_RETURN(const std::string text, Package::ReadAll(file, path));
  IM_ASSIGN_OR_RETURN(config_, ParseImageConfig(text));
  const std::string machine = MachineArchitecture();
  if (!config_.architecture.empty() && config_.architecture != machine) {
    warnings_.push_back(absl::StrCat("the image is for ", config_.architecture,
                                     ", this machine is ", machine, ": its programs will not run"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> Importer::ChooseManifest(const Package& package, const Json& index,
                                              int depth) {
  const Json* manifests = ListOf(index, "manifests");
  if (manifests == nullptr || manifests->empty()) return Bad("index.json names no manifests");
  const std::string machine = MachineArchitecture();
  std::vector<const Json*> fit;
  for (const Json& one : *manifests) {
    const std::string architecture = TextOf(one, {"platform", "architecture"});
    const std::string os = TextOf(one, {"platform", "os"});
    // Attestations are of the platform "unknown".
    if ((architecture.empty() || architecture == machine) && (os.empty() || os == "linux"))
      fit.push_back(&one);
  }
  if (fit.size() > 1) {
    std::vector<const Json*> called;
    for (const Json* one : fit) {
      for (const char* key : {"org.opencontainers.image.ref.name", "io.containerd.image.name"}) {
        const std::string ref = TextOf(*one, {"annotations", key});
        const auto canonical = CanonicalImageName(ref);
        // The former is often a tag alone.
        const bool tag = !ref.empty() && absl::EndsWith(name_, absl::StrCat(":", ref));
        if (tag || (canonical.ok() && *canonical == name_)) {
          called.push_back(one);
          break;
        }
      }
    }
    if (called.size() == 1) fit = called;
  }
  if (fit.size() != 1) {
    return Bad(fit.empty() ? absl::StrCat("there is no image for linux/", machine)
                           : absl::StrCat("there are ", fit.size(), " images, and not one is "
                                          "called ", name_));
  }
  IM_ASSIGN_OR_RETURN(Json chosen, ReadBlobJson(package, TextOf(*fit[0], {"digest"})));
  if (ListOf(chosen, "manifests") == nullptr) return chosen;
  if (depth >= kIndexDepthMax) return Bad("indexes name indexes, too deep");
  return ChooseManifest(package, chosen, depth + 1);
}

absl::Status Importer::FromOciLayout(const Package& package) {
  IM_ASSIGN_OR_RETURN(const Json index, package.ReadJson("index.json"));
  IM_ASSIGN_OR_RETURN(const Json manifest, ChooseManifest(package, index, 0));
  const std::string config = TextOf(manifest, {"config", "digest"});
  const Json* layers = ListOf(manifest, "layers");
  if (layers == nullptr) return Bad("the manifest names no layers");
  IM_ASSIGN_OR_RETURN(const FileDescriptor config_file, OpenBlob(package, config));
  IM_RETURN_IF_ERROR(ReadConfig(config_file.get(), config));
  std::vector<FileDescriptor> files;
  for (const Json& layer : *layers) {
    IM_ASSIGN_OR_RETURN(FileDescriptor file, OpenBlob(package, TextOf(layer, {"digest"})));
    files.push_back(std::move(file));
    if (files.size() > kLayersMax) break;
  }
  return Unpack(std::move(files), LayerUnpacker::Kind::kLayer);
}

absl::Status Importer::FromDockerSave(const Package& package) {
  IM_ASSIGN_OR_RETURN(const Json images, package.ReadJson("manifest.json"));
  if (!images.is_array() || images.empty()) return Bad("manifest.json names no images");
  const Json* chosen = images.size() == 1 ? &images[0] : nullptr;
  std::vector<std::string> tags;
  for (const Json& image : images) {
    const Json* repo_tags = ListOf(image, "RepoTags");
    for (const Json& tag : repo_tags == nullptr ? Json::array() : *repo_tags) {
      if (!tag.is_string()) continue;
      tags.push_back(tag.get<std::string>());
      const auto canonical = CanonicalImageName(tags.back());
      if (chosen == nullptr && canonical.ok() && *canonical == name_) chosen = &image;
    }
  }
  if (chosen == nullptr) {
    return Bad(absl::StrCat("there are ", images.size(), " images, and none is called ", name_,
                            "; they are ", absl::StrJoin(tags, ", ")));
  }
  const std::string config = TextOf(*chosen, {"Config"});
  const Json* layers = ListOf(*chosen, "Layers");
  if (config.empty() || layers == nullptr)
    return Bad("manifest.json names no configuration, or no layers");
  IM_ASSIGN_OR_RETURN(const FileDescriptor config_file, package.OpenFile(config));
  IM_RETURN_IF_ERROR(ReadConfig(config_file.get(), config));
  std::vector<FileDescriptor> files;
  for (const Json& layer : *layers) {
    if (!layer.is_string()) return Bad("manifest.json: a layer's name is no text");
    IM_ASSIGN_OR_RETURN(FileDescriptor file, package.OpenFile(layer.get<std::string>()));
    files.push_back(std::move(file));
    if (files.size() > kLayersMax) break;
  }
  return Unpack(std::move(files), LayerUnpacker::Kind::kLayer);
}

absl::Status Importer::FromPackage(const std::string& directory, bool& known) {
  IM_ASSIGN_OR_RETURN(const Package package, Package::Open(directory));
  known = true;
  // Archives of newer versions of docker save are both, and their names stand here. A root
  // file system may have a file of that name.
  if (package.Has("manifest.json") && !package.Has("etc/passwd")) return FromDockerSave(package);
  if (package.Has("oci-layout") && package.Has("index.json")) return FromOciLayout(package);
  known = false;
  return absl::OkStatus();
}

absl::Status Importer::FromDirectory(const std::string& source) {
  bool known = false;
  IM_RETURN_IF_ERROR(FromPackage(source, known));
  return known ? absl::OkStatus() : CopyTree(source);
}

// By cp(1), which keeps owners, links, holes and attributes, and shares blocks where the file
// system can.
absl::Status Importer::CopyTree(const std::string& source) {
  const std::string from = source + "/.";
  std::string words[] = {"cp", "-a", "-x", "--reflink=auto", "--", from, tree_ + "/"};
  char* argv[8] = {};
  for (size_t i = 0; i < 7; ++i) argv[i] = words[i].data();
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, "cp", nullptr, nullptr, argv, environ);
  if (error != 0) return ErrnoStatus("run cp", error);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return absl::UnknownError(absl::StrCat("cp could not copy ", source));
  return absl::OkStatus();
}

absl::Status Importer::FromArchive(const std::string& source) {
  FileDescriptor file(open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(absl::StrCat("open ", source));
  // What it is stands in its names, anywhere in it.
  bool packed = false;
  {
    const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(),
                                                             archive_read_free);
    archive_read_support_filter_all(reader.get());
    archive_read_support_format_tar(reader.get());
    archive_entry* entry = nullptr;
    int result = archive_read_open_fd(reader.get(), file.get(), kReadBytes);
    if (result != ARCHIVE_OK) {
      return Bad(absl::StrCat(source, " is neither a directory nor a tar archive"));
    }
    while (!packed && (result = archive_read_next_header(reader.get(), &entry)) >= ARCHIVE_WARN &&
           result != ARCHIVE_EOF) {
      const char* path = archive_entry_pathname(entry);
      absl::string_view name = path == nullptr ? "" : path;
      absl::ConsumePrefix(&name, "./");
      for (absl::string_view mark : kMarks) packed = packed || name == mark;
    }
    if (!packed && result != ARCHIVE_EOF)
      return Bad(absl::StrCat(source, " cannot be read as a tar archive"));
  }
  if (lseek(file.get(), 0, SEEK_SET) != 0) return ErrnoStatus(absl::StrCat("seek ", source));
  std::vector<FileDescriptor> files;
  files.push_back(std::move(file));
  if (!packed) return Unpack(std::move(files), LayerUnpacker::Kind::kPlain);
  // Beside the tree, on the same disk.
  const std::string packages = tree_ + ".package";
  std::error_code error;
  std::filesystem::create_directory(packages, error);
  absl::Status status = absl::OkStatus();
  if (error) {
    status = ErrnoStatus(absl::StrCat("make directory ", packages), error.value());
  } else {
    // Not for another import to sweep away.
    const FileDescriptor lock(open(packages.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    flock(lock.get(), LOCK_SH);
    absl::StatusOr<SafeTree> tree = SafeTree::Open(packages);
    status = tree.status();
    if (status.ok()) {
      status = LayerUnpacker(*std::move(tree), limits_)
                   .Unpack(files[0].get(), LayerUnpacker::Kind::kPlain);
    }
    bool known = false;
    if (status.ok()) status = FromPackage(packages, known);
    if (status.ok() && !known) status = Bad(absl::StrCat(source, " lacks the image's index"));
  }
  std::filesystem::remove_all(packages, error);
  return status;
}

uint64_t DiskUse(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(directory, error), end;
       !error && it != end; it.increment(error)) {
    struct stat info;
    if (lstat(it->path().c_str(), &info) == 0 && (info.st_nlink == 1 || S_ISDIR(info.st_mode)))
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace

absl::StatusOr<ImportedImage> ImportImage(const ImageStore& store, const std::string& name,
                                          const std::string& source, int64_t now_unix_s,
                                          const LayerUnpacker::Limits& limits) {
  IM_ASSIGN_OR_RETURN(const std::string canonical, CanonicalImageName(name));
  std::error_code error;
  const auto kind = std::filesystem::status(source, error);
  if (error || !std::filesystem::exists(kind))
    return ErrnoStatus(absl::StrCat("open ", source), error ? error.value() : ENOENT);
  IM_ASSIGN_OR_RETURN(const std::string tree, store.NewTree());
  // So that nobody takes it for one that was left behind.
  const FileDescriptor lock(open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  flock(lock.get(), LOCK_SH);
  Importer importer(canonical, tree, limits);
  const absl::Status status = std::filesystem::is_directory(kind) ? importer.FromDirectory(source)
                                                                  : importer.FromArchive(source);
  if (!status.ok()) {
    store.Discard(tree);
    return Annotate(status, absl::StrCat("image ", canonical));
  }
  ImportedImage imported;
  imported.warnings = std::move(importer.warnings());
  imported.image = {.name = canonical,
                    .tree = tree,
                    .config = std::move(importer.config()),
                    .imported_unix_s = now_unix_s,
                    .bytes = DiskUse(tree),
                    .source = std::filesystem::absolute(source, error).lexically_normal().string()};
  if (absl::Status committed = store.Commit(imported.image); !committed.ok()) {
    store.Discard(imported.image.tree);
    return committed;
  }
  return imported;
}

}  // namespace im::orchestrator
