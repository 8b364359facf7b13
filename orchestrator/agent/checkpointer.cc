#include "orchestrator/agent/checkpointer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/agent/criu_images.h"
#include "orchestrator/agent/kept_polls.h"
#include "orchestrator/agent/kept_rests.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/sandbox_init.h"

namespace im::agent {
namespace {

constexpr char kManifest[] = "/manifest";
constexpr char kDumpLog[] = "dump.log";
constexpr char kRestoreLog[] = "restore.log";
// Of files that were deleted and are still open: these are copied.
constexpr char kDeletedFilesMax[] = "64M";

std::string BootId() {
  return std::string(
      absl::StripSuffix(ReadSmallFile("/proc/sys/kernel/random/boot_id"), "\n"));
}

int64_t MonotonicNs() { return RealClock().Now().time_since_epoch().count(); }

std::string PipeName(uint64_t inode) { return absl::StrCat("pipe:[", inode, "]"); }

void AddCommon(proto::CriuOrder& order, const char* log) {
  for (const char* word :
       {"--images-dir", "/proc/self/fd/10", "--log-file", log, "-v1", "--tcp-established",
        "--manage-cgroups=ignore", "--file-locks"})
    order.add_arguments(word);
  static_assert(kCriuFirstFd == 10);
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? ErrnoStatus(absl::StrCat("remove ", path), error.value()) : absl::OkStatus();
}

absl::Status WriteFile(const std::string& path, absl::string_view bytes) {
  const FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("write ", path));
  while (!bytes.empty()) {
    const ssize_t n = write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ErrnoStatus(absl::StrCat("write ", path), n < 0 ? errno : ENOSPC);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// What a run of CRIU said, in words; `log` is its log file.
std::string ErrorOf(int wait_status, const std::string& error, const std::string& log) {
  if (!error.empty()) return error;
  if (WIFSIGNALED(wait_status)) return absl::StrCat("killed by signal ", WTERMSIG(wait_status));
  const std::string first = FirstErrorOf(ReadSmallFile(log));
  return first.empty() ? absl::StrCat("exit code ", WEXITSTATUS(wait_status)) : first;
}

}  // namespace

std::string FirstErrorOf(absl::string_view log) {
  for (absl::string_view line : absl::StrSplit(log, '\n')) {
    // "(00.020401) Error (criu/files-reg.c:1790): Can't lookup mount=24 for fd=0"
    const size_t begin = line.find("Error (");
    // (It raises its own limits where it may.)
    if (begin == absl::string_view::npos || absl::StrContains(line, "rlimit: ")) continue;
    const size_t text = line.find("): ", begin);
    return std::string(
        absl::StripAsciiWhitespace(line.substr(text == absl::string_view::npos ? begin : text + 3)));
  }
  return "";
}

absl::StatusOr<FileDescriptor> Checkpointer::OpenDirectory(const std::string& path) const {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open ", path));
  return fd;
}

// ---- dump ----

absl::Status Checkpointer::BeginDump(pid_t program, uint64_t output_pipe) {
  if (cgroup_.freezer() == Cgroup::Freezer::kSignals)
    return absl::FailedPreconditionError("there is no cgroup freezer");
  IM_ASSIGN_OR_RETURN(numbers_, CheckForDump(sandbox_.init(), program, cgroup_.Processes()));
  output_pipe_ = output_pipe;
  IM_RETURN_IF_ERROR(RemoveAll(new_directory()));
  if (mkdir(new_directory().c_str(), 0700) != 0)
    return ErrnoStatus(absl::StrCat("make directory ", new_directory()));
  IM_ASSIGN_OR_RETURN(const FileDescriptor images, OpenDirectory(new_directory()));

  proto::CriuOrder order;
  order.add_arguments(request_.checkpointing().criu());
  order.add_arguments("dump");
  AddCommon(order, kDumpLog);
  order.add_arguments("--tree");
  order.add_arguments(absl::StrCat(numbers_.root));
  order.set_real_uid(numbers_.uid);
  order.set_real_gid(numbers_.gid);
  order.add_arguments("--leave-running");
  order.add_arguments("--network-lock");
  order.add_arguments("skip");
  order.add_arguments("--freeze-cgroup");
  order.add_arguments(cgroup_.freezer_directory());
  order.add_arguments("--ghost-limit");
  order.add_arguments(kDeletedFilesMax);
  if (output_pipe != 0) {
    order.add_arguments("--external");
    order.add_arguments(PipeName(output_pipe));
  }
  const int fds[] = {images.get()};
  IM_RETURN_IF_ERROR(sandbox_.RunCriu(order, fds));
  dumping_ = true;
  return absl::OkStatus();
}

absl::Status Checkpointer::OnDumpEnded(int wait_status, const std::string& error) {
  dumping_ = false;
  if (wait_status == 0) return absl::OkStatus();
  const std::string log = absl::StrCat(new_directory(), "/", kDumpLog);
  const std::string text = absl::StrCat("CRIU: ", ErrorOf(wait_status, error, log));
  if (WIFSIGNALED(wait_status)) return absl::DataLossError(text);
  KeepLog(log);
  Discard();
  return absl::FailedPreconditionError(text);
}

void Checkpointer::Discard() {
  if (absl::Status removed = RemoveAll(new_directory()); !removed.ok())
    IM_LOG(kWarning, std::string(removed.message()));
}

absl::Status Checkpointer::Prepare(proto::CheckpointManifest& manifest) {
  manifest.set_host(request_.host());
  manifest.set_address(request_.address());
  manifest.set_fingerprint(request_.checkpointing().fingerprint());
  manifest.set_boot_id(BootId());
  manifest.set_made_at_ns(MonotonicNs());
  manifest.set_root_pid(numbers_.root);
  manifest.set_pid_max(numbers_.highest);
  manifest.set_output_pipe(output_pipe_);
  for (proto::KeptConnection& connection : ReadConnections(new_directory()))
    *manifest.add_connections() = std::move(connection);
  for (proto::KeptRest& rest : RestsToKeep(cgroup_.Processes()))
    *manifest.add_rests() = std::move(rest);
  absl::Status status = WriteFile(new_directory() + kManifest, manifest.SerializeAsString());
  if (!status.ok()) Discard();
  return status;
}

absl::Status Checkpointer::Commit(proto::CheckpointManifest& manifest) {
  IM_RETURN_IF_ERROR(Prepare(manifest));
  // One that was used up may be left, in parts.
  absl::Status status = RemoveAll(directory());
  if (status.ok() && rename(new_directory().c_str(), directory().c_str()) != 0)
    status = ErrnoStatus(absl::StrCat("rename ", new_directory(), " to ", directory()));
  if (!status.ok()) Discard();
  return status;
}

// ---- restore ----

absl::StatusOr<proto::CheckpointManifest> Checkpointer::Read(const proto::StartRequest& request) {
  const std::string path = absl::StrCat(request.checkpointing().directory(), kManifest);
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open ", path));
  proto::CheckpointManifest manifest;
  if (!manifest.ParseFromFileDescriptor(fd.get()))
    return absl::NotFoundError(absl::StrCat(path, " is damaged"));
  if (manifest.host() != request.host() || manifest.address() != request.address() ||
      manifest.boot_id() != BootId())
    return absl::NotFoundError(absl::StrCat(path, " is of another host, or of an earlier boot"));
  return manifest;
}

absl::Status Checkpointer::BeginRestore(const proto::CheckpointManifest& manifest, int output) {
  IM_ASSIGN_OR_RETURN(const FileDescriptor images, OpenDirectory(directory()));
  proto::CriuOrder order;
  order.set_restore(true);
  order.set_root_pid(manifest.root_pid());
  order.set_first_pid(manifest.pid_max());
  order.set_last_pid(manifest.pid_max());
  order.add_arguments(request_.checkpointing().criu());
  order.add_arguments("restore");
  AddCommon(order, kRestoreLog);
  order.add_arguments("--restore-detached");
  if (request_.has_group()) order.add_arguments("--leave-stopped");
  std::vector<int> fds = {images.get()};
  if (output >= 0 && manifest.output_pipe() != 0) {
    fds.push_back(output);
    order.add_arguments("--inherit-fd");
    order.add_arguments(
        absl::StrCat("fd[", kCriuFirstFd + 1, "]:", PipeName(manifest.output_pipe())));
  }
  const std::string path = directory() + kManifest;
  if (unlink(path.c_str()) != 0) return ErrnoStatus(absl::StrCat("remove ", path));
  const Duration away(MonotonicNs() - manifest.paused_at_ns());
  ShortenKeptRests(directory(), manifest.rests(), away);
  ContinuePolls(directory(), away);
  return sandbox_.RunCriu(order, fds);
}

std::string Checkpointer::RestoreError(int wait_status, const std::string& error) const {
  const std::string log = absl::StrCat(directory(), "/", kRestoreLog);
  const std::string text = absl::StrCat("CRIU: ", ErrorOf(wait_status, error, log));
  KeepLog(log);
  return text;
}

// For who wants to know more: its directory goes.
void Checkpointer::KeepLog(const std::string& log) const {
  WriteFile(absl::StrCat(request_.instance_dir(), "/criu.log"), ReadSmallFile(log)).IgnoreError();
}

}  // namespace im::agent
