#include "orchestrator/host_program.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "orchestrator/image/image_accounts.h"
#include "orchestrator/image/image_store.h"

namespace im::orchestrator {
namespace {

// Entries of passwd and group are read into buffers of this size; a group with
// thousands of members needs the larger part of it.
constexpr size_t kAccountBufferBytes = 256 << 10;
constexpr int kSupplementaryGroupsMax = 256;
constexpr char kDefaultHome[] = "/";

struct Account {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string name;  // empty: a number that no account has
  std::string home = kDefaultHome;
};

std::optional<Account> FindAccount(const std::string& name, std::optional<uint32_t> uid) {
  std::vector<char> buffer(kAccountBufferBytes);
  passwd entry{};
  passwd* found = nullptr;
  if (uid) {
    getpwuid_r(*uid, &entry, buffer.data(), buffer.size(), &found);
  } else {
    getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  }
  if (found == nullptr) return std::nullopt;
  return Account{found->pw_uid, found->pw_gid, found->pw_name,
                 found->pw_dir != nullptr && *found->pw_dir != '\0' ? found->pw_dir : kDefaultHome};
}

absl::StatusOr<uint32_t> FindGroup(const std::string& name) {
  uint32_t number = 0;
  if (absl::SimpleAtoi(name, &number)) return number;
  std::vector<char> buffer(kAccountBufferBytes);
  group entry{};
  group* found = nullptr;
  getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) {
    return absl::NotFoundError(absl::StrCat("group ", name, " does not exist on this machine"));
  }
  return found->gr_gid;
}

// "", "name", "10", "name:group", "10:10".
absl::StatusOr<Account> ResolveUser(const std::string& user) {
  Account account;
  const size_t colon = user.find(':');
  const std::string name = user.substr(0, colon);
  uint32_t number = 0;
  if (user.empty()) {
    number = geteuid();
    account = FindAccount("", number).value_or(Account{number, getegid(), "", kDefaultHome});
    account.gid = getegid();
  } else if (absl::SimpleAtoi(name, &number)) {
    account = FindAccount("", number).value_or(Account{number, number, "", kDefaultHome});
  } else if (const auto found = FindAccount(name, std::nullopt)) {
    account = *found;
  } else {
    return absl::NotFoundError(absl::StrCat("user ", name, " does not exist on this machine"));
  }
  if (colon != std::string::npos) {
    IM_ASSIGN_OR_RETURN(account.gid, FindGroup(user.substr(colon + 1)));
  }
  if (geteuid() != 0 && (account.uid != geteuid() || account.gid != getegid())) {
    return absl::PermissionDeniedError(
        absl::StrCat("running as user ", user, " needs root"));
  }
  return account;
}

void AddSupplementaryGroups(const Account& account, proto::Program& program) {
  if (account.name.empty() || geteuid() != 0) return;
  gid_t groups[kSupplementaryGroupsMax];
  int count = kSupplementaryGroupsMax;
  getgrouplist(account.name.c_str(), account.gid, groups, &count);
  for (int i = 0; i < count && i < kSupplementaryGroupsMax; ++i) {
    if (groups[i] != account.gid) program.add_supplementary_gids(groups[i]);
  }
}

// The volume's directory; made, and given to the program's user, when new.
absl::StatusOr<std::string> MakeVolume(const ClusterSpec& cluster, const std::string& name,
                                       const Account& account) {
  std::error_code error;
  std::filesystem::create_directories(cluster.volumes_directory, error);
  if (error) {
    return absl::UnknownError(
        absl::StrCat("make directory ", cluster.volumes_directory, ": ", error.message()));
  }
  const std::string path = absl::StrCat(cluster.volumes_directory, "/", name);
  if (mkdir(path.c_str(), 0755) == 0) {
    if (geteuid() == 0 && chown(path.c_str(), account.uid, account.gid) != 0) {
      return ErrnoStatus(absl::StrCat("change the owner of ", path));
    }
  } else if (errno != EEXIST) {
    return ErrnoStatus(absl::StrCat("make directory ", path));
  }
  return path;
}

absl::Status AddMounts(const ClusterSpec& cluster, const HostSpec& host, const Account& account,
                       proto::Program& program) {
  for (const MountSpec& spec : host.mounts) {
    proto::Mount& mount = *program.add_mounts();
    mount.set_target(spec.target);
    mount.set_read_only(spec.read_only);
    if (spec.kind == MountSpec::Kind::kBind) {
      if (access(spec.source.c_str(), F_OK) != 0) {
        return ErrnoStatus(absl::StrCat("volume ", spec.source, ":", spec.target));
      }
      mount.set_source(spec.source);
    } else if (spec.kind == MountSpec::Kind::kVolume) {
      IM_ASSIGN_OR_RETURN(*mount.mutable_source(), MakeVolume(cluster, spec.source, account));
      mount.set_volume(true);
    }
  }
  return absl::OkStatus();
}

// The image and its user, with the groups.
absl::StatusOr<Account> FillImage(const ClusterSpec& cluster, const HostSpec& host,
                                  proto::Program& program) {
  IM_ASSIGN_OR_RETURN(const FileDescriptor lock, LockImage(host.image_tree));
  IM_ASSIGN_OR_RETURN(const ImageAccount found, FindImageAccount(host.image_tree, host.user));
  const std::string layers = LayersDirectory(cluster);
  std::error_code error;
  std::filesystem::create_directories(layers, error);
  if (error) return ErrnoStatus(absl::StrCat("make directory ", layers), error.value());
  // Files in it may have set-user-ID bits.
  if (chmod(layers.c_str(), 0700) != 0) return ErrnoStatus(absl::StrCat("chmod ", layers));
  program.mutable_image()->set_tree(host.image_tree);
  program.mutable_image()->set_layer(absl::StrCat(layers, "/", host.name));
  for (const uint32_t group : found.groups) program.add_supplementary_gids(group);
  return Account{found.uid, found.gid, "", found.home};
}

uint32_t Milliseconds(Duration duration) {
  return static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

void FillHealthcheck(const HealthcheckSpec& check, proto::Healthcheck& out) {
  for (const std::string& word : check.argv) out.add_argv(word);
  out.set_interval_ms(Milliseconds(check.interval));
  out.set_timeout_ms(Milliseconds(check.timeout));
  out.set_retries(check.retries);
  out.set_start_period_ms(Milliseconds(check.start_period));
  if (check.start_interval) out.set_start_interval_ms(Milliseconds(*check.start_interval));
}

}  // namespace

std::string LayersDirectory(const ClusterSpec& cluster) {
  return cluster.data_directory + "/layers";
}

absl::Status FillProgram(const ClusterSpec& cluster, const HostSpec& host,
                         proto::Program& program) {
  program.Clear();
  Account account;
  if (host.image_tree.empty()) {
    IM_ASSIGN_OR_RETURN(account, ResolveUser(host.user));
    AddSupplementaryGroups(account, program);
  } else {
    IM_ASSIGN_OR_RETURN(account, FillImage(cluster, host, program));
  }
  for (const std::string& word : host.argv) program.add_argv(word);
  auto& environment = *program.mutable_environment();
  environment["PATH"] = kDefaultPath;
  environment["HOME"] = account.home;
  environment["HOSTNAME"] = host.hostname;
  for (const auto& [name, value] : host.environment) environment[name] = value;
  program.set_working_dir(host.working_dir);
  program.set_uid(account.uid);
  program.set_gid(account.gid);
  program.set_stop_signal(host.stop_signal);
  program.set_stop_grace_ms(Milliseconds(host.stop_grace_period));
  program.set_mem_limit_bytes(host.mem_limit_bytes);
  program.set_cpus(host.cpus);
  for (const auto& [name, value] : host.ulimits) (*program.mutable_ulimits())[name] = value;
  return AddMounts(cluster, host, account, program);
}

absl::Status FillStartRequest(const ClusterSpec& cluster, const HostSpec& host,
                              proto::StartRequest& request) {
  request.set_cluster(cluster.name);
  request.set_host(host.name);
  request.set_gateway_address(cluster.gateway.ToBytes());
  request.set_address(host.address.ToBytes());
  request.set_prefix_length(static_cast<uint32_t>(cluster.network.length()));
  if (cluster.dual_stack.on())
    request.set_network6(cluster.dual_stack.network().address().ToBytes());
  request.set_domain(cluster.domain);
  request.set_hostname(host.hostname);
  request.set_attach(host.attach == AttachMode::kNetstack ? proto::ATTACH_NETSTACK
                                                          : proto::ATTACH_TUN);
  proto::IdlePolicy& idle = *request.mutable_idle();
  idle.set_after_ms(Milliseconds(host.idle.after));
  idle.set_cpu_below_permille(host.idle.cpu_below_permille);
  idle.set_busy_file(host.idle.busy_file);
  idle.set_timers(host.idle.timers == TimersMode::kAuto    ? proto::IdlePolicy::TIMERS_AUTO
                  : host.idle.timers == TimersMode::kHonor ? proto::IdlePolicy::TIMERS_HONOR
                                                           : proto::IdlePolicy::TIMERS_IGNORE);
  idle.set_timer_horizon_ms(Milliseconds(host.idle.timer_horizon));
  if (host.idle.tick_max) idle.set_tick_max_ms(Milliseconds(*host.idle.tick_max));
  idle.set_below_bytes_per_s(host.idle.below_bytes_per_s);
  for (const uint16_t port : host.idle.ignore_ports) idle.add_ignore_ports(port);
  for (const IpPrefix& from : host.idle.ignore_from) idle.add_ignore_from(from.ToString());
  idle.set_reclaim(host.idle.reclaim);
  const IdleMode mode = host.min_running ? IdleMode::kNever : host.idle.mode;
  idle.set_mode(mode == IdleMode::kQuiet           ? proto::IdlePolicy::QUIET
                : mode == IdleMode::kNoConnections ? proto::IdlePolicy::NO_CONNECTIONS
                                                   : proto::IdlePolicy::NEVER);
  request.set_start_timeout_ms(Milliseconds(host.start_timeout));
  if (host.healthcheck) FillHealthcheck(*host.healthcheck, *request.mutable_healthcheck());
  request.set_log_bytes_max(host.logging.max_size_bytes);
  request.set_log_files_max(host.logging.files_max);
  return Annotate(FillProgram(cluster, host, *request.mutable_program()),
                  absl::StrCat("host ", host.name));
}

void FillNameTable(const ClusterSpec& cluster, proto::NameTable& table) {
  absl::flat_hash_set<std::string> seen;
  const auto add = [&](const std::string& name, const IpAddress& address) {
    if (!seen.insert(name).second) return;
    proto::HostName& entry = *table.add_hosts();
    entry.set_name(name);
    entry.set_address(address.ToBytes());
  };
  proto::ReplicaNames* replicas = nullptr;  // that may go on
  uint32_t next_address = 0;
  for (const HostSpec& host : cluster.hosts) {
    if (host.name == host.service || !host.address.is_v4()) {
      add(host.name, host.address);
      continue;
    }
    if (replicas == nullptr || replicas->prefix() != host.service ||
        host.address.v4() != next_address ||
        host.name != absl::StrCat(host.service, "-", replicas->first() + replicas->count())) {
      uint32_t number = 0;
      if (!absl::SimpleAtoi(host.name.substr(host.service.size() + 1), &number)) {
        add(host.name, host.address);
        continue;
      }
      replicas = table.add_replicas();
      replicas->set_prefix(host.service);
      replicas->set_first(number);
      replicas->set_first_address(host.address.ToBytes());
      next_address = host.address.v4();
    }
    replicas->set_count(replicas->count() + 1);
    ++next_address;
  }
  // What stands for several hosts leads to the first of them.
  for (const HostSpec& host : cluster.hosts) {
    add(host.service, host.address);
    for (const std::string& alias : host.aliases) add(alias, host.address);
  }
}

}  // namespace im::orchestrator
