// im image: root file systems for hosts, out of images of containers.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <clocale>
#include <cstdio>
#include <ctime>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/json.h"
#include "orchestrator/cli/table.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/image/image_import.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

ImageStore OurStore() { return ImageStore(ImageRoot(DataRoot(SpecSources::Real().variable))); }

std::string TextsJson(const std::vector<std::string>& texts) {
  return absl::StrCat("[", absl::StrJoin(texts, ",", [](std::string* out, const auto& text) {
                        absl::StrAppend(out, JsonString(text));
                      }), "]");
}

std::string ImageJson(const StoredImage& image) {
  return absl::StrCat(
      "{\"name\":", JsonString(image.name), ",\"bytes\":", image.bytes,
      ",\"imported_unix_s\":", image.imported_unix_s, ",\"source\":", JsonString(image.source),
      ",\"tree\":", JsonString(image.tree), ",\"entrypoint\":", TextsJson(image.config.entrypoint),
      ",\"command\":", TextsJson(image.config.command),
      ",\"environment\":", TextsJson(image.config.environment),
      ",\"working_dir\":", JsonString(image.config.working_dir),
      ",\"user\":", JsonString(image.config.user),
      ",\"stop_signal\":", JsonString(image.config.stop_signal),
      ",\"exposed_ports\":", TextsJson(image.config.exposed_ports),
      ",\"architecture\":", JsonString(image.config.architecture), "}");
}

std::string LocalTime(int64_t unix_s) {
  const time_t time = unix_s;
  tm parts{};
  char text[32];
  localtime_r(&time, &parts);
  return std::string(text, strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &parts));
}

struct ImportOptions {
  std::string name;
  std::string source;
  bool json = false;
};

int RunImport(const ImportOptions& options) {
  if (geteuid() != 0) {
    PrintError("an image's files belong to several users, which needs root; run this with sudo");
    return kExitNotPermitted;
  }
  // Names in archives may be of any characters.
  std::setlocale(LC_CTYPE, "C.UTF-8");
  const auto imported =
      ImportImage(OurStore(), options.name, options.source, static_cast<int64_t>(time(nullptr)));
  if (!imported.ok()) return Fail(imported.status());
  for (const std::string& warning : imported->warnings)
    PrintError(absl::StrCat("warning: ", warning));
  const StoredImage& image = imported->image;
  if (options.json) {
    std::puts(ImageJson(image).c_str());
    return kExitOk;
  }
  std::vector<std::string> words = image.config.entrypoint;
  words.insert(words.end(), image.config.command.begin(), image.config.command.end());
  std::puts(absl::StrCat(image.name, ", ", FormatSize(image.bytes),
                         words.empty() ? "; it names no command, so hosts have to"
                                       : absl::StrCat("; runs ", absl::StrJoin(words, " ")))
                .c_str());
  return kExitOk;
}

int RunList(const Context& context, bool json) {
  const auto images = OurStore().List();
  if (!images.ok()) return Fail(images.status());
  if (json) {
    std::vector<std::string> items;
    for (const StoredImage& image : *images) items.push_back(ImageJson(image));
    std::puts(absl::StrCat("{\"images\":[", absl::StrJoin(items, ","), "]}").c_str());
    return kExitOk;
  }
  if (images->empty()) {
    std::puts("no images; im image import NAME PATH imports one");
    return kExitOk;
  }
  Table table({{"IMAGE"}, {"SIZE", Table::Align::kRight}, {"IMPORTED"}, {"FROM"}});
  for (const StoredImage& image : *images) {
    table.Add({image.name, FormatSize(image.bytes), LocalTime(image.imported_unix_s),
               image.source});
  }
  std::fputs(table.ToString(context.terminal).c_str(), stdout);
  return kExitOk;
}

int RunRemove(const std::vector<std::string>& names) {
  int code = kExitOk;
  for (const std::string& name : names) {
    const absl::Status status = OurStore().Remove(name);
    if (!status.ok()) code = Fail(status);
  }
  return code;
}

}  // namespace

void AddImage(CLI::App& app, Context& context) {
  CLI::App* image = app.add_subcommand("image", "Import images of containers for hosts to run");
  image->require_subcommand(1);

  CLI::App* add = image->add_subcommand("import", "Make an image out of files");
  auto import = std::make_shared<ImportOptions>();
  add->add_option("NAME", import->name, "What `image:` calls it: redis, redis:7, team/web:1")
      ->required();
  add->add_option("FILE", import->source,
                  "An OCI image layout (a directory, or a tar archive of one), an archive of\n"
                  "docker save, a directory with a root file system, or a tar archive of one,\n"
                  "compressed or not")
      ->required();
  add->add_flag("--json", import->json, "Print what was imported as JSON");
  add->callback([&context, import] { context.run = [import] { return RunImport(*import); }; });

  CLI::App* list = image->add_subcommand("list", "Show the images of this machine");
  auto json = std::make_shared<bool>(false);
  list->add_flag("--json", *json, "As JSON: {images}");
  list->callback([&context, json] {
    context.run = [&context, json] { return RunList(context, *json); };
  });

  CLI::App* remove = image->add_subcommand("remove", "Remove images that no cluster uses");
  auto names = std::make_shared<std::vector<std::string>>();
  remove->add_option("NAME", *names, "The images")->required();
  remove->callback([&context, names] { context.run = [names] { return RunRemove(*names); }; });

  image->footer(
      "A host with `image: NAME` runs in the image's files, under a layer of its own for what it\n"
      "writes. On a machine with Docker:\n"
      "  docker save redis:7 -o redis.tar; im image import redis:7 redis.tar\n"
      "with skopeo:\n"
      "  skopeo copy docker://redis:7 oci:redis; im image import redis:7 redis\n"
      "Images are kept in /var/lib/im/.images ($IM_DATA_DIR replaces /var/lib/im).");
}

}  // namespace im::orchestrator::cli
