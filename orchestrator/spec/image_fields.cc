// HostParser, third part: the image that a host begins with.

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {
namespace {

// Docker's: 0, by a number, whatever accounts an image has.
constexpr char kImageUser[] = "0:0";

}  // namespace

std::optional<StoredImage> HostParser::ReadImage(MapReader& reader, HostDraft& draft) {
  const YamlNode* node = reader.Get("image");
  if (node == nullptr) return std::nullopt;
  const auto name = ReadText(*node, sink_);
  if (!name) return std::nullopt;
  const bool command = reader.Get("command") != nullptr || reader.Get("entrypoint") != nullptr;
  absl::StatusOr<StoredImage> image =
      sources_.image ? sources_.image(*name) : absl::NotFoundError("no image is imported");
  if (image.ok()) {
    draft.spec.image = image->name;
    draft.spec.image_tree = image->tree;
    draft.image_at = node->at;
    return *std::move(image);
  }
  const std::string what = absl::StrCat("host ", draft.spec.name, ": the image ", *name);
  const std::string hint = absl::StrCat(
      "im image import ", *name, " PATH: an OCI layout, an archive of docker save, a directory or "
      "a tar archive of its files");
  // A name that no image can have here is one of an image that is not there.
  if (!absl::IsNotFound(image.status()) && !absl::IsInvalidArgument(image.status())) {
    sink_.Error(node->at, absl::StrCat(what, ": ", std::string(image.status().message())));
  } else if (command) {
    sink_.Warning(node->at,
                  absl::StrCat(what, " is not imported: the command runs with this machine's own "
                               "files"), hint);
  } else {
    sink_.Error(node->at, absl::StrCat(what, " is not imported"), hint);
  }
  return std::nullopt;
}

// As a container's: `entrypoint` takes the place of the image's and of its Cmd, `command` that
// of its Cmd.
void HostParser::ReadCommands(MapReader& reader, const std::optional<StoredImage>& image,
                              HostSpec& host) {
  const auto read = [&](absl::string_view field, const std::vector<std::string>* otherwise) {
    const YamlNode* node = reader.Get(field);
    if (node == nullptr) {
      if (otherwise != nullptr)
        host.argv.insert(host.argv.end(), otherwise->begin(), otherwise->end());
    } else if (auto words = ReadCommand(*node, sink_)) {
      host.argv.insert(host.argv.end(), words->begin(), words->end());
    } else {
      host.argv.push_back("-");  // one complaint is enough
    }
  };
  const bool own = !image || reader.Get("entrypoint") != nullptr;
  read("entrypoint", own ? nullptr : &image->config.entrypoint);
  read("command", own ? nullptr : &image->config.command);
}

void HostParser::FillFromImage(const StoredImage& image, HostDraft& draft) {
  HostSpec& host = draft.spec;
  for (const std::string& variable : image.config.environment) {
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0) continue;
    host.environment.try_emplace(variable.substr(0, equals), variable.substr(equals + 1));
  }
  if (!draft.working_dir_given) {
    const std::string& directory = image.config.working_dir;
    host.working_dir =
        absl::StartsWith(directory, "/") ? directory : absl::StrCat("/", directory);
  }
  if (host.user.empty()) {
    host.user = image.config.user.empty() ? kImageUser : image.config.user;
  }
  if (draft.stop_signal_given || image.config.stop_signal.empty()) return;
  if (const auto name = SignalName(image.config.stop_signal)) {
    host.stop_signal = *name;
  } else {
    sink_.Warning(*draft.image_at, absl::StrCat("image ", image.name, ": its stop signal ",
                                                image.config.stop_signal,
                                                " is not known here: SIGTERM is used"));
  }
}

}  // namespace im::orchestrator
