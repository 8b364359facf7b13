#include "orchestrator/cli/copy_place.h"

#include "absl/strings/str_cat.h"

namespace im::orchestrator::cli {
namespace {

// $1: the name in the archive, $2: the destination.
constexpr char kUnpack[] = R"(
if [ -d "$2" ]; then exec tar -C "$2" --no-same-owner -xf -; fi
made=$(mktemp -d "$(dirname -- "$2")/.im-cp.XXXXXX") || exit 1
tar -C "$made" --no-same-owner -xf - && mv -f -- "$made/$1" "$2"
result=$?
rm -rf -- "$made"
exit $result
)";

std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// tar and mv take what begins with "-" for an option.
std::string NoOption(std::string path) {
  return !path.empty() && path[0] == '-' ? absl::StrCat("./", path) : path;
}

}  // namespace

absl::StatusOr<CopyPlace> CopyPlace::Parse(absl::string_view text) {
  CopyPlace place;
  const size_t colon = text.find(':');
  const size_t slash = text.find('/');
  if (colon != absl::string_view::npos && colon < slash) {
    place.host = std::string(text.substr(0, colon));
    text.remove_prefix(colon + 1);
    if (place.host.empty()) return absl::InvalidArgumentError("a host's name is missing before :");
  }
  place.path = std::string(text);
  if (place.path.empty()) {
    return absl::InvalidArgumentError(
        place.host.empty() ? "a path is empty"
                           : absl::StrCat(place.host, ": expected HOST:PATH"));
  }
  return place;
}

absl::StatusOr<std::string> CopyPlace::Name() const {
  const std::string trimmed = WithoutSlashes(path);
  const std::string name = trimmed.substr(trimmed.rfind('/') + 1);
  if (name.empty() || name == "." || name == "..") {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no name that its copy could have; write it in full"));
  }
  return name;
}

std::string CopyPlace::Directory() const {
  const std::string trimmed = WithoutSlashes(path);
  const size_t slash = trimmed.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : trimmed.substr(0, slash);
}

std::vector<std::string> PackCommand(const CopyPlace& from, const std::string& name) {
  return {"tar", "-C", NoOption(from.Directory()), "-cf", "-", "--", NoOption(name)};
}

std::vector<std::string> UnpackCommand(const CopyPlace& to, const std::string& name) {
  return {"sh", "-c", kUnpack, "sh", name, NoOption(WithoutSlashes(to.path))};
}

}  // namespace im::orchestrator::cli
