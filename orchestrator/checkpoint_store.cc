#include "orchestrator/checkpoint_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "tunnel/crypto.h"

namespace im::orchestrator {
namespace {

constexpr char kManifest[] = "/manifest";
constexpr absl::string_view kNew = ".new";
constexpr absl::string_view kTrash = ".trash-";

std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace

CheckpointStore::~CheckpointStore() {
  for (int left = *removing_; left > 0; left = *removing_) removing_->wait(left);
}

absl::Status CheckpointStore::MakeDirectory() const {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) return ErrnoStatus(absl::StrCat("make directory ", directory_), error.value());
  if (chmod(directory_.c_str(), 0700) != 0) return ErrnoStatus(absl::StrCat("chmod ", directory_));
  return absl::OkStatus();
}

std::string CheckpointStore::DirectoryOf(absl::string_view host) const {
  return absl::StrCat(directory_, "/", host);
}

std::optional<proto::CheckpointManifest> CheckpointStore::Read(absl::string_view host) const {
  if (directory_.empty()) return std::nullopt;
  const std::string path = DirectoryOf(host) + kManifest;
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  proto::CheckpointManifest manifest;
  if (!file.valid() || !manifest.ParseFromFileDescriptor(file.get()) || manifest.host() != host ||
      manifest.boot_id() != BootId())
    return std::nullopt;
  return manifest;
}

void CheckpointStore::Remove(absl::string_view host) const {
  if (directory_.empty()) return;
  unlink((DirectoryOf(host) + kManifest).c_str());
  Throw(std::string(host));
}

void CheckpointStore::RemoveUnfinished(absl::string_view host) const {
  if (!directory_.empty()) Throw(absl::StrCat(host, kNew));
}

void CheckpointStore::Throw(const std::string& name) const {
  static std::atomic<uint64_t> next = 1;
  const std::string trash =
      absl::StrCat(directory_, "/", kTrash, getpid(), "-", next.fetch_add(1));
  const std::string path = absl::StrCat(directory_, "/", name);
  if (rename(path.c_str(), trash.c_str()) != 0) {
    if (errno != ENOENT) IM_LOG(kWarning, std::string(ErrnoStatus("remove " + path).message()));
    return;
  }
  // To free gigabytes takes longer than a packet should wait. What is left of it
  // when we are killed is removed by the next imd.
  ++*removing_;
  std::thread([trash, removing = removing_] {
    std::error_code error;
    std::filesystem::remove_all(trash, error);
    --*removing;
    removing->notify_all();
  }).detach();
}

void CheckpointStore::ForEach(const std::function<void(const std::string& host)>& visit) const {
  if (directory_.empty()) return;
  std::vector<std::string> hosts;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory_, error), end; !error && it != end;
       it.increment(error)) {
    std::string name = it->path().filename().string();
    if (!absl::StrContains(name, '.')) hosts.push_back(std::move(name));
  }
  std::sort(hosts.begin(), hosts.end());
  for (const std::string& host : hosts) visit(host);
}

void CheckpointStore::RemoveUnfinished(
    const std::function<bool(const std::string& host)>& keep) const {
  if (directory_.empty()) return;
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory_, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    absl::string_view host = name;
    if (absl::StartsWith(name, kTrash) || (absl::ConsumeSuffix(&host, kNew) && !keep(std::string(host))))
      names.push_back(name);
  }
  for (const std::string& name : names) Throw(name);
}

std::string CheckpointFingerprint(const proto::StartRequest& request) {
  proto::StartRequest part;
  *part.mutable_program() = request.program();
  // How it is stopped and limited is the next instance's affair.
  part.mutable_program()->clear_stop_signal();
  part.mutable_program()->clear_stop_grace_ms();
  part.mutable_program()->clear_mem_limit_bytes();
  part.mutable_program()->clear_cpus();
  part.set_cluster(request.cluster());
  part.set_host(request.host());
  part.set_hostname(request.hostname());
  part.set_domain(request.domain());
  part.set_address(request.address());
  part.set_prefix_length(request.prefix_length());
  part.set_network6(request.network6());
  part.set_gateway_address(request.gateway_address());
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream out(&bytes);
    google::protobuf::io::CodedOutputStream coded(&out);
    coded.SetSerializationDeterministic(true);
    part.SerializeToCodedStream(&coded);
  }
  const tunnel::Hash hash =
      tunnel::Blake2s({{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}});
  return std::string(reinterpret_cast<const char*>(hash.data()), hash.size());
}

}  // namespace im::orchestrator
