#include "orchestrator/providers/process_provider.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/providers/agent_process.h"

namespace im::orchestrator {
namespace {

// A length-delimited field's tag and size, so that a large value can follow
// without a copy. (Fields of one message may come in any order and place.)
std::string FieldPrefix(int number, size_t size) {
  std::string out;
  for (uint64_t value : {static_cast<uint64_t>(number) << 3 | 2, static_cast<uint64_t>(size)}) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
  }
  return out;
}

std::string ExitPath(const std::string& instance_dir) { return instance_dir + "/exit"; }

std::optional<proto::ExitReport> ReadExitReport(const std::string& instance_dir) {
  FileDescriptor file(open(ExitPath(instance_dir).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return std::nullopt;
  std::string bytes(kExitReportBytesMax, '\0');
  const ssize_t n = read(file.get(), bytes.data(), bytes.size());
  if (n < 0) return std::nullopt;
  bytes.resize(static_cast<size_t>(n));
  proto::ExitReport report;
  if (!report.ParseFromString(bytes)) return std::nullopt;
  return report;
}

}  // namespace

std::string DefaultAgentPath() {
  if (const char* path = getenv("IM_AGENT"); path != nullptr && *path != '\0') return path;
  char self[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  if (n <= 0) return "im-agent";
  const std::string path(self, static_cast<size_t>(n));
  return path.substr(0, path.rfind('/') + 1) + "im-agent";
}

ProcessProvider::ProcessProvider(EventLoop& loop, std::string agent_path, Delegate& delegate)
    : loop_(loop),
      agent_path_(std::move(agent_path)),
      delegate_(delegate),
      self_(std::make_shared<ProcessProvider*>(this)) {}

ProcessProvider::~ProcessProvider() { *self_ = nullptr; }

void ProcessProvider::Start(const proto::StartRequest& request, const StartOptions& options) {
  const InstanceId id{request.host(), request.incarnation()};
  auto [it, added] = instances_.try_emplace(id);
  if (!added) return;
  it->second = std::make_unique<Instance>();
  Instance& instance = *it->second;
  instance.instance_dir = request.instance_dir();
  if (absl::Status status = Spawn(request, options, instance); !status.ok()) {
    proto::ExitReport report;
    report.set_reason(proto::ExitReport::SANDBOX_FAILED);
    report.set_message(std::string(status.message()));
    PostEnded(id, std::move(report));
    return;
  }
  Watch(id, instance);
  loop_.Post([self = self_, id] {
    if (*self == nullptr) return;
    if (std::optional<InstanceHandle> handle = (*self)->Describe(id)) {
      (*self)->delegate_.OnStarted(id, *handle);
    }
  });
}

absl::Status ProcessProvider::Spawn(const proto::StartRequest& request,
                                    const StartOptions& options, Instance& instance) {
  // An earlier incarnation's report must not be taken for this one's.
  if (unlink(ExitPath(instance.instance_dir).c_str()) < 0 && errno != ENOENT) {
    return ErrnoStatus(absl::StrCat("remove ", ExitPath(instance.instance_dir)));
  }
  std::string bytes = request.SerializeAsString();
  if (!options.name_table.empty()) {
    bytes += FieldPrefix(proto::StartRequest::kNameTableFieldNumber, options.name_table.size());
  }
  AgentCommand command;
  command.agent_path = agent_path_;
  command.log_path = instance.instance_dir + "/agent.log";
  command.instance_dir = instance.instance_dir;
  command.incarnation = request.incarnation();
  IM_ASSIGN_OR_RETURN(command.start_request, MakeRequestFile(bytes, options.name_table));
  IM_ASSIGN_OR_RETURN(const pid_t pid, SpawnAgent(command));
  // Our child, and nobody else waits for it: the pid is still its own.
  instance.handle.agent_pid = static_cast<uint32_t>(pid);
  instance.handle.agent_start_ticks = StartTicks(pid).value_or(0);
  absl::StatusOr<FileDescriptor> pidfd = OpenPidfd(pid);
  if (!pidfd.ok()) {
    // Out of descriptors, most likely. Without a pidfd we could not tell its
    // end, so it must not go on.
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return pidfd.status();
  }
  instance.pidfd = *std::move(pidfd);
  return absl::OkStatus();
}

void ProcessProvider::Watch(const InstanceId& id, Instance& instance) {
  instance.watch =
      loop_.WatchFd(instance.pidfd.get(), EPOLLIN, [this, id](uint32_t) { Ended(id); });
}

void ProcessProvider::Adopt(const InstanceId& id, const InstanceHandle& handle,
                            const std::string& instance_dir) {
  auto [it, added] = instances_.try_emplace(id);
  if (!added) return;
  it->second = std::make_unique<Instance>();
  Instance& instance = *it->second;
  instance.handle = handle;
  instance.instance_dir = instance_dir;
  if (handle.agent_pid == 0) {
    for (const FoundAgent& agent : FindAgents(instance_dir))
      if (agent.incarnation == id.incarnation && agent.instance_dir == instance_dir)
        instance.handle = HandleOf(static_cast<uint32_t>(agent.pid));
  }
  const pid_t pid = static_cast<pid_t>(instance.handle.agent_pid);
  // First the descriptor, then the look at who it is: what the descriptor
  // stands for cannot change any more.
  absl::StatusOr<FileDescriptor> pidfd =
      pid > 0 ? OpenPidfd(pid) : absl::NotFoundError("no pid was recorded");
  if (pidfd.ok() && StartTicks(pid) == instance.handle.agent_start_ticks) {
    instance.pidfd = *std::move(pidfd);
    Watch(id, instance);
    return;
  }
  proto::ExitReport report = ReadExitReport(instance_dir).value_or(proto::ExitReport());
  if (report.message().empty() && report.reason() == proto::ExitReport::RELEASED) {
    report.set_message("ended while nobody watched it");
  }
  PostEnded(id, std::move(report));
}

void ProcessProvider::EndOthers(const std::string& directory) {
  absl::flat_hash_set<uint64_t> known;  // incarnations are the cluster's
  for (const auto& [id, instance] : instances_) known.insert(id.incarnation);
  std::vector<FileDescriptor> ending;
  for (const FoundAgent& agent : FindAgents(directory)) {
    if (known.contains(agent.incarnation)) continue;
    absl::StatusOr<FileDescriptor> pidfd = OpenPidfd(agent.pid);
    // What the descriptor stands for cannot change any more: is it still that?
    const std::vector<FoundAgent> again = FindAgents(agent.instance_dir);
    if (!pidfd.ok() || std::none_of(again.begin(), again.end(), [&](const FoundAgent& other) {
          return other.pid == agent.pid && other.incarnation == agent.incarnation;
        }))
      continue;
    IM_LOG(kWarning, "an instance in ", agent.instance_dir, " was started and not saved; ended");
    if (SignalPidfd(pidfd->get(), SIGKILL).ok()) ending.push_back(*std::move(pidfd));
  }
  for (const FileDescriptor& pidfd : ending) {
    pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
    constexpr int kWaitMs = std::chrono::duration_cast<std::chrono::milliseconds>(kKillWait).count();
    while (poll(&ended, 1, kWaitMs) < 0 && errno == EINTR) continue;
  }
}

void ProcessProvider::Release(const InstanceId& id, Duration grace, bool force) {
  const auto it = instances_.find(id);
  if (it == instances_.end() || !it->second->pidfd.valid()) return;
  Instance& instance = *it->second;
  if (force) return Kill(id);
  if (std::exchange(instance.released, true)) return;
  (void)SignalPidfd(instance.pidfd.get(), SIGTERM);  // it may have ended: then we shall hear
  instance.kill_timer = loop_.After(grace + kReleaseMargin, [this, id] {
    IM_LOG(kWarning, "agent of ", id.host, " did not end in time; killed");
    Kill(id);
  });
}

void ProcessProvider::Kill(const InstanceId& id) {
  Instance& instance = *instances_.at(id);
  instance.released = true;
  if (std::exchange(instance.killed, true)) return;
  (void)SignalPidfd(instance.pidfd.get(), SIGKILL);
}

void ProcessProvider::Forget(const InstanceId& id) { instances_.erase(id); }

std::optional<InstanceHandle> ProcessProvider::Describe(const InstanceId& id) const {
  const auto it = instances_.find(id);
  if (it == instances_.end() || !it->second->pidfd.valid()) return std::nullopt;
  return it->second->handle;
}

InstanceHandle ProcessProvider::HandleOf(uint32_t agent_pid) const {
  return {agent_pid, StartTicks(static_cast<pid_t>(agent_pid)).value_or(0)};
}

void ProcessProvider::Ended(const InstanceId& id) {
  const auto it = instances_.find(id);
  if (it == instances_.end()) return;
  const std::unique_ptr<Instance> instance = std::move(it->second);
  instances_.erase(it);
  int signal = 0;
  int exit_code = 0;
  const std::string how = ReapAndDescribe(instance->pidfd.get(), &signal, &exit_code);
  std::optional<proto::ExitReport> report = ReadExitReport(instance->instance_dir);
  if (!report.has_value()) {
    report.emplace();
    report->set_reason(instance->released ? proto::ExitReport::RELEASED
                                          : proto::ExitReport::EXITED);
    report->set_signal(signal);
    report->set_exit_code(exit_code);
    report->set_message(how.empty() ? "im-agent ended without a report"
                                    : absl::StrCat("im-agent ", how));
  }
  delegate_.OnEnded(id, *report);
}

void ProcessProvider::PostEnded(const InstanceId& id, proto::ExitReport report) {
  loop_.Post([self = self_, id, report = std::move(report)] {
    if (*self == nullptr || (*self)->instances_.erase(id) == 0) return;
    (*self)->delegate_.OnEnded(id, report);
  });
}

}  // namespace im::orchestrator
