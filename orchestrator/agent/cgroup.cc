#include "orchestrator/agent/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

// The scheduler's period for cpu limits, the kernel's default.
constexpr int64_t kCpuPeriodUs = 100'000;
// SIGSTOP races with fork: the tree is walked until no new process shows.
constexpr int kStopRoundsMax = 20;
// Waits for killed processes of a stale group, in steps of 1 ms.
constexpr int kStaleWaitsMax = 100;

absl::Status WriteControlFile(const std::string& path, absl::string_view text) {
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) < 0)
    return ErrnoStatus(absl::StrCat("write ", path));
  return absl::OkStatus();
}

// A name that is one component of a path.
std::string Component(absl::string_view name) {
  std::string component(name);
  std::replace(component.begin(), component.end(), '/', '_');
  return component.empty() || component[0] == '.' ? "_" + component : component;
}

// "usage_usec 1234" of cpu.stat.
int64_t FieldOf(absl::string_view text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    int64_t value = 0;
    if (absl::ConsumePrefix(&line, key) && absl::ConsumePrefix(&line, " ") &&
        absl::SimpleAtoi(line, &value))
      return value;
  }
  return 0;
}

std::vector<pid_t> ReadProcs(const std::string& directory) {
  std::vector<pid_t> pids;
  for (absl::string_view line : absl::StrSplit(ReadSmallFile(directory + "/cgroup.procs"), '\n')) {
    pid_t pid = 0;
    if (absl::SimpleAtoi(line, &pid) && pid > 0) pids.push_back(pid);
  }
  return pids;
}

void KillGroup(const std::string& directory) {
  if (!WriteControlFile(directory + "/cgroup.kill", "1").ok()) {
    // Frozen processes of version 1 take no signal.
    WriteControlFile(directory + "/freezer.state", "THAWED").IgnoreError();
    for (pid_t pid : ReadProcs(directory)) kill(pid, SIGKILL);
  }
  for (int i = 0; i < kStaleWaitsMax && rmdir(directory.c_str()) != 0 && errno == EBUSY; ++i)
    usleep(1000);
}

}  // namespace

std::unique_ptr<Cgroup> Cgroup::Create(const Options& options, const CgroupLayout& layout) {
  std::unique_ptr<Cgroup> group(new Cgroup());
  group->options_ = options;
  if (layout.v2) {
    const std::string directory = group->MakeDirectory(*layout.v2);
    if (!directory.empty()) {
      group->state_ = FileDescriptor(open((directory + "/cgroup.freeze").c_str(),
                                          O_RDWR | O_CLOEXEC));
      group->directory_fd_ =
          FileDescriptor(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (group->state_.valid() && group->directory_fd_.valid()) {
        group->freezer_ = Freezer::kVersion2;
        group->freezer_directory_ = directory;
      } else {
        group->directory_fd_.Reset();
      }
    }
  }
  auto v1 = layout.v1.find("freezer");
  if (group->freezer_ == Freezer::kSignals && v1 != layout.v1.end()) {
    const std::string directory = group->MakeDirectory(v1->second);
    group->state_ =
        FileDescriptor(open((directory + "/freezer.state").c_str(), O_RDWR | O_CLOEXEC));
    FileDescriptor join(open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (group->state_.valid() && join.valid()) {
      group->freezer_ = Freezer::kVersion1;
      group->freezer_directory_ = directory;
      group->joins_.push_back(std::move(join));
    }
  }
  // A group that was there already may have been left frozen.
  if (group->freezer_ != Freezer::kSignals) group->Thaw().IgnoreError();
  group->SetLimits(layout);
  return group;
}

Cgroup::~Cgroup() { Remove(); }

std::string Cgroup::MakeDirectory(const CgroupLayout::Hierarchy& hierarchy) {
  for (const std::string& base : {hierarchy.root, hierarchy.own}) {
    const std::string top = base + "/im";
    const std::string cluster = absl::StrCat(top, "/", Component(options_.cluster));
    const std::string group =
        absl::StrCat(cluster, "/", Component(options_.host), ".", options_.incarnation);
    // Another agent may remove an empty directory between two steps: again.
    for (int i = 0; i < 3; ++i) {
      mkdir(top.c_str(), 0755);
      mkdir(cluster.c_str(), 0755);
      if (mkdir(group.c_str(), 0755) == 0 || errno == EEXIST) {
        directories_.push_back(group);
        return group;
      }
      if (errno != ENOENT) break;
    }
  }
  return "";
}

void Cgroup::SetLimits(const CgroupLayout& layout) {
  if (options_.mem_limit_bytes == 0 && options_.cpus <= 0 && !options_.reclaim) return;
  if (layout.v2 && freezer_ == Freezer::kVersion2 && SetVersion2Limits(*layout.v2)) return;
  if (options_.mem_limit_bytes > 0)
    SetVersion1Limit(layout, "memory", "memory.limit_in_bytes",
                     absl::StrCat(options_.mem_limit_bytes));
  if (options_.cpus > 0)
    SetVersion1Limit(layout, "cpu", "cpu.cfs_quota_us",
                     absl::StrCat(static_cast<int64_t>(options_.cpus * kCpuPeriodUs)));
}

bool Cgroup::SetVersion2Limits(const CgroupLayout::Hierarchy& v2) {
  const std::string controllers = ReadSmallFile(v2.root + "/cgroup.controllers");
  const std::vector<absl::string_view> known =
      absl::StrSplit(controllers, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  const bool memory = options_.mem_limit_bytes > 0 || options_.reclaim;
  for (const char* controller : {"memory", "cpu"}) {
    const bool wanted = controller == absl::string_view("cpu") ? options_.cpus > 0 : memory;
    if (!wanted || std::find(known.begin(), known.end(), controller) == known.end()) continue;
    // Every group on the way down passes the controller on.
    const std::string cluster =
        freezer_directory_.substr(0, freezer_directory_.rfind('/'));
    const std::string top = cluster.substr(0, cluster.rfind('/'));
    for (const std::string& above : {top.substr(0, top.rfind('/')), top, cluster})
      WriteControlFile(above + "/cgroup.subtree_control", absl::StrCat("+", controller)).IgnoreError();
  }
  bool all_set = true;
  if (options_.mem_limit_bytes > 0) {
    all_set &= WriteControlFile(freezer_directory_ + "/memory.max",
                         absl::StrCat(options_.mem_limit_bytes)).ok();
  }
  if (options_.cpus > 0) {
    all_set &= WriteControlFile(freezer_directory_ + "/cpu.max",
                         absl::StrCat(static_cast<int64_t>(options_.cpus * kCpuPeriodUs), " ",
                                      kCpuPeriodUs)).ok();
  }
  return all_set;
}

void Cgroup::SetVersion1Limit(const CgroupLayout& layout, const std::string& controller,
                              const std::string& file, const std::string& value) {
  auto hierarchy = layout.v1.find(controller);
  if (hierarchy == layout.v1.end()) {
    notes_.push_back(absl::StrCat("no ", controller, " limit: the machine has no cgroup controller"
                                  " for it that may be used"));
    return;
  }
  const std::string directory = MakeDirectory(hierarchy->second);
  const absl::Status status = WriteControlFile(absl::StrCat(directory, "/", file), value);
  FileDescriptor join(open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!status.ok() || !join.valid()) {
    notes_.push_back(absl::StrCat("no ", controller, " limit: ", std::string(status.message())));
    return;
  }
  joins_.push_back(std::move(join));
  if (controller == "memory") memory_directory_ = directory;
}

std::vector<int> Cgroup::join_fds() const {
  std::vector<int> fds;
  for (const FileDescriptor& fd : joins_) fds.push_back(fd.get());
  return fds;
}

absl::Status Cgroup::Freeze() {
  switch (freezer_) {
    case Freezer::kVersion2:
      if (pwrite(state_.get(), "1", 1, 0) != 1) return ErrnoStatus("write cgroup.freeze");
      return absl::OkStatus();
    case Freezer::kVersion1:
      if (pwrite(state_.get(), "FROZEN", 6, 0) != 6) return ErrnoStatus("write freezer.state");
      return absl::OkStatus();
    case Freezer::kSignals:
      return SignalAll(SIGSTOP);
  }
  return absl::OkStatus();
}

absl::Status Cgroup::Thaw() {
  switch (freezer_) {
    case Freezer::kVersion2:
      if (pwrite(state_.get(), "0", 1, 0) != 1) return ErrnoStatus("write cgroup.freeze");
      return absl::OkStatus();
    case Freezer::kVersion1:
      if (pwrite(state_.get(), "THAWED", 6, 0) != 6) return ErrnoStatus("write freezer.state");
      return absl::OkStatus();
    case Freezer::kSignals:
      return SignalAll(SIGCONT);
  }
  return absl::OkStatus();
}

void Cgroup::Continue() {
  for (const pid_t pid : Processes()) kill(pid, SIGCONT);
}

void Cgroup::KillFrozen() {
  for (const pid_t pid : Processes()) kill(pid, SIGKILL);
  // Of version 1 they end now.
  Thaw().IgnoreError();
}

absl::Status Cgroup::SignalAll(int signal) {
  if (init_ <= 0) return absl::FailedPreconditionError("nothing to freeze: no process was started");
  std::vector<pid_t> signalled;
  for (int round = 0; round < kStopRoundsMax; ++round) {
    bool found_new = false;
    for (pid_t pid : Descendants(init_)) {
      if (std::find(signalled.begin(), signalled.end(), pid) != signalled.end()) continue;
      found_new = true;
      signalled.push_back(pid);
      if (kill(pid, signal) != 0 && errno != ESRCH)
        return ErrnoStatus(absl::StrCat("signal process ", pid));
    }
    if (!found_new || signal == SIGCONT) break;
  }
  return absl::OkStatus();
}

Duration Cgroup::CpuTime() const {
  if (freezer_ == Freezer::kVersion2)
    return std::chrono::microseconds(
        FieldOf(ReadSmallFile(freezer_directory_ + "/cpu.stat"), "usage_usec"));
  Duration sum{0};
  for (pid_t pid : Processes())
    if (const auto stat = ReadProcStat(pid)) sum += stat->cpu;
  return sum;
}

uint64_t Cgroup::MemoryBytes() const {
  uint64_t bytes = 0;
  if (freezer_ == Freezer::kVersion2 &&
      absl::SimpleAtoi(ReadSmallFile(freezer_directory_ + "/memory.current"), &bytes))
    return bytes;
  if (!memory_directory_.empty() &&
      absl::SimpleAtoi(ReadSmallFile(memory_directory_ + "/memory.usage_in_bytes"), &bytes))
    return bytes;
  bytes = 0;
  for (pid_t pid : Processes())
    if (const auto stat = ReadProcStat(pid)) bytes += stat->resident_bytes;
  return bytes;
}

std::string Cgroup::ReclaimFile() const {
  if (freezer_ != Freezer::kVersion2) return "";
  std::string file = freezer_directory_ + "/memory.reclaim";
  return access(file.c_str(), W_OK) == 0 ? file : "";
}

std::vector<pid_t> Cgroup::Processes() const {
  if (freezer_ != Freezer::kSignals) return ReadProcs(freezer_directory_);
  return init_ > 0 ? Descendants(init_) : std::vector<pid_t>();
}

// With the directories above it that are now empty.
void Cgroup::RemoveDirectory(const std::string& directory) {
  rmdir(directory.c_str());
  const std::string cluster = directory.substr(0, directory.rfind('/'));
  if (rmdir(cluster.c_str()) == 0) rmdir(cluster.substr(0, cluster.rfind('/')).c_str());
}

void Cgroup::Remove() {
  for (const std::string& directory : directories_) RemoveDirectory(directory);
  directories_.clear();
}

void Cgroup::RemoveStale() {
  const std::string prefix = Component(options_.host) + ".";
  for (const std::string& own : directories_) {
    const std::string cluster = own.substr(0, own.rfind('/'));
    DIR* dir = opendir(cluster.c_str());
    if (dir == nullptr) continue;
    std::vector<std::string> stale;
    while (const dirent* entry = readdir(dir)) {
      absl::string_view name = entry->d_name;
      uint64_t incarnation = 0;
      if (absl::ConsumePrefix(&name, prefix) && absl::SimpleAtoi(name, &incarnation) &&
          incarnation < options_.incarnation)
        stale.push_back(absl::StrCat(cluster, "/", entry->d_name));
    }
    closedir(dir);
    for (const std::string& directory : stale) KillGroup(directory);
  }
}

}  // namespace im::agent
