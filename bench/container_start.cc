#include "bench/container_start.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/confinement.h"

namespace im::bench {
namespace {

nlohmann::json ReadOnlyMount(const std::string& place) {
  return {{"destination", place},
          {"type", "bind"},
          {"source", std::filesystem::canonical(place).string()},
          {"options", {"rbind", "ro"}}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ContainerStart>> ContainerStart::Prepare(const std::string& runtime,
                                                                        const std::string& bin,
                                                                        int port) {
  std::unique_ptr<ContainerStart> container(new ContainerStart());
  container->runtime_ = runtime;
  container->id_ = absl::StrCat(ConfinedClusterPrefix(), runtime);
  container->folder_ = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
  if (mkdtemp(container->folder_.data()) == nullptr) {
    return ErrnoStatus("a directory " + container->folder_);
  }
  IM_RETURN_IF_ERROR(container->WriteBundle(bin, port));
  return container;
}

ContainerStart::~ContainerStart() {
  Remove().IgnoreError();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

absl::Status ContainerStart::WriteBundle(const std::string& bin, int port) {
  nlohmann::json mounts = {
      {{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}},
      // The bundle's own file system has no devices.
      {{"destination", "/dev"}, {"type", "tmpfs"}, {"source", "tmpfs"}, {"options", {"mode=755"}}},
      ReadOnlyMount(bin)};
  // The C library's, wherever it is here.
  for (const char* place : {"/lib", "/lib64"}) {
    if (std::filesystem::exists(place)) mounts.push_back(ReadOnlyMount(place));
  }
  const nlohmann::json config = {
      {"ociVersion", "1.0.2"},
      {"process",
       {{"user", {{"uid", 0}, {"gid", 0}}},
        {"args", {bin + "/im-peer", "serve", "--echo", absl::StrCat(port)}},
        {"env", {"PATH=/usr/bin"}},
        {"cwd", "/"}}},
      {"root", {{"path", "root"}}},
      {"mounts", mounts},
      {"linux",
       {{"namespaces",
         {{{"type", "pid"}}, {{"type", "mount"}}, {{"type", "ipc"}}, {{"type", "uts"}}}},
        // Below what the end of a run removes (confinement.h).
        {"cgroupsPath", "/im/" + id_}}}};
  std::error_code error;
  std::filesystem::create_directories(folder_ + "/root", error);
  std::ofstream file(folder_ + "/config.json");
  if (error || !(file << config.dump(1)).flush()) {
    return absl::InternalError("cannot write a container's bundle at " + folder_);
  }
  return absl::OkStatus();
}

absl::StatusOr<Process> ContainerStart::Start() {
  return Process::Start({.argv = {runtime_, "--root", folder_ + "/state", "run", "--bundle",
                                  folder_, id_},
                         .discard_output = true});
}

absl::Status ContainerStart::Remove() {
  return RunCommand({runtime_, "--root", folder_ + "/state", "delete", "--force", id_}).status();
}

}  // namespace im::bench
