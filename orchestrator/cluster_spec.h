// ClusterSpec: what a cluster.yaml says, checked, with every default filled in.
//
// ParseClusterSpec reads the text into a tree that knows its lines and columns
// (yaml_tree.h), reads hosts out of it field by field (host_parser.h), gives
// out addresses (address_pool.h), and last checks what concerns several hosts
// at once (spec_checks.h). It never stops at the first mistake: all of them
// are returned, in the order of the file. docs/cluster-yaml.md describes the
// fields.

#ifndef IM_ORCHESTRATOR_CLUSTER_SPEC_H_
#define IM_ORCHESTRATOR_CLUSTER_SPEC_H_

#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "orchestrator/image/image_store.h"

namespace im::orchestrator {

// Largest cluster.yaml: 10,000 hosts of ten lines each fit; what is larger was
// not written by or for people.
inline constexpr size_t kSpecBytesMax = 4 << 20;
// Hosts after `replicas` is expanded: what is asked for of one cluster, and what imd keeps
// in 256 MB.
inline constexpr size_t kHostsMax = 1'000'000;

// 1-based; 0 where there is none (a file that could not be read).
struct SourcePosition {
  int line = 0;
  int column = 0;

  friend auto operator<=>(const SourcePosition&, const SourcePosition&) = default;
};

// One mistake, or one thing that is not honoured.
struct Diagnostic {
  std::string file;
  SourcePosition at;
  std::string message;
  std::string hint;  // what to write instead; may be empty

  // "cluster.yaml:7:5: unknown field \"comand\" (did you mean \"command\"?)"
  std::string ToString() const;
};

// How a host's packets reach its agent. kAuto: SpecSources::auto_attach.
enum class AttachMode { kAuto, kTun, kNetstack };
enum class IdleMode { kQuiet, kNoConnections, kNever };
// What a program's own timers do while it is idle (agent/timer_watch.h).
enum class TimersMode { kAuto, kHonor, kIgnore };
enum class OnRelease { kTerminate, kCheckpoint };
// What follows when a program ends by itself. With kNo the host becomes
// imaginary again: the next packet starts it anew.
enum class RestartPolicy { kNo, kOnFailure, kAlways };

struct IdleSpec {
  IdleMode mode = IdleMode::kQuiet;
  Duration after = std::chrono::seconds(30);
  std::optional<Duration> release_after = std::chrono::minutes(10);  // since the pause; none: never
  uint32_t cpu_below_permille = 20;  // of one core
  std::string busy_file;             // empty: none
  TimersMode timers = TimersMode::kAuto;
  Duration timer_horizon = std::chrono::seconds(1);  // nearer ones prevent a pause
  std::optional<Duration> tick_max;  // none: 10 s, or `after` if that is longer
  // What does not count as use (agent/use_meter.h).
  uint64_t below_bytes_per_s = 0;
  std::vector<uint16_t> ignore_ports;
  std::vector<IpPrefix> ignore_from;
  bool reclaim = false;  // push a paused host's memory out

  friend bool operator==(const IdleSpec&, const IdleSpec&) = default;
};

struct MountSpec {
  enum class Kind { kBind, kVolume, kTmpfs };
  Kind kind = Kind::kBind;
  std::string source;  // kBind: an absolute path; kVolume: the volume's name
  std::string target;  // an absolute path
  bool read_only = false;

  friend bool operator==(const MountSpec&, const MountSpec&) = default;
};

// A port of the machine that leads to one of the host's.
struct PublishedPort {
  Endpoint listen;
  uint16_t target = 0;
  SourcePosition at;

  friend bool operator==(const PublishedPort&, const PublishedPort&) = default;
};

struct LogSpec {
  uint64_t max_size_bytes = 10 << 20;  // rotated beyond
  uint32_t files_max = 3;

  friend bool operator==(const LogSpec&, const LogSpec&) = default;
};

// A command that is run inside a host after each start until it has succeeded once; only
// then is the host up (agent/readiness.h).
struct HealthcheckSpec {
  std::vector<std::string> argv;  // never empty
  Duration interval = std::chrono::seconds(30);  // a failure in each counts
  Duration timeout = std::chrono::seconds(30);   // of one run
  uint32_t retries = 3;                          // so many failures that count end the start
  Duration start_period{0};                      // until then none counts
  std::optional<Duration> start_interval;        // between two runs; none: a short one

  friend bool operator==(const HealthcheckSpec&, const HealthcheckSpec&) = default;
};

// A host that another one needs, and what of it before that one's program begins.
struct DependencySpec {
  enum class Condition : uint8_t {
    kStarted,    // nothing: it is started ahead of need
    kHealthy,    // that it is up
    kCompleted,  // that its program has ended with exit code 0, once in the cluster's life
  };
  std::string host;
  Condition condition = Condition::kStarted;

  friend bool operator==(const DependencySpec&, const DependencySpec&) = default;
};

// One host: a line of the table, after `replicas` is expanded.
struct HostSpec {
  std::string name;                 // "zk-2"
  std::string service;              // the name in the file: "zk"
  std::vector<std::string> aliases;  // further DNS names
  IpAddress address;
  SourcePosition at;                // of the name in the file

  std::string image;       // "redis:7"; empty: it runs with the machine's own files
  std::string image_tree;  // absolute path of the image's files (image/image_store.h)
  std::vector<std::string> argv;                   // entrypoint and command; never empty
  std::map<std::string, std::string> environment;  // env_file merged
  std::string working_dir;                         // absolute; empty: /
  std::string user;  // "", "name", "10", "name:group", "10:10"; with an image: of the image's
  std::string hostname;                            // default: the name
  std::vector<MountSpec> mounts;
  std::vector<PublishedPort> ports;
  AttachMode attach = AttachMode::kTun;  // never kAuto

  std::string stop_signal = "SIGTERM";
  Duration stop_grace_period = std::chrono::seconds(10);
  std::map<std::string, uint64_t> ulimits;  // "nofile" -> 65536; UINT64_MAX: unlimited
  uint64_t mem_limit_bytes = 0;             // 0: none
  double cpus = 0;                          // 0: no limit
  LogSpec logging;

  RestartPolicy restart = RestartPolicy::kNo;
  uint32_t restart_attempts_max = 0;  // of kOnFailure, in a row; 0: no limit
  IdleSpec idle;
  OnRelease on_release = OnRelease::kTerminate;
  std::optional<Duration> checkpoint_expires;  // after it was made
  std::optional<Duration> max_lifetime;  // of an instance
  Duration start_timeout = std::chrono::seconds(30);
  std::optional<HealthcheckSpec> healthcheck;
  bool min_running = false;               // kept running: neither paused nor released
  std::vector<std::string> wake_with;     // hosts: whenever one of them runs, this one does
  std::vector<DependencySpec> depends_on;  // hosts that are started when this one is
  std::string group;                      // empty: none

  friend bool operator==(const HostSpec&, const HostSpec&) = default;
};

// HostList: the hosts, in the order of the file.
//
// Replicas differ in little. A compact list, as the parser makes it, keeps what they
// have in common once, and 12 bytes for each; a host is then made when it is looked at.
// That is why a const list gives hosts by value, and its iterators one after the other
// in the same place: `const HostSpec& host = list[i]` and a loop over it are good for as
// long as their scope, a pointer to a host is not. Changing the list by [] or an iterator
// makes it whole.
class HostList {
 public:
  class const_iterator;
  using value_type = HostSpec;

  size_t size() const { return compact() ? places_.size() : whole_.size(); }
  bool empty() const { return size() == 0; }
  HostSpec operator[](size_t i) const;
  const_iterator begin() const;
  const_iterator end() const;

  HostSpec& operator[](size_t i) { return Whole()[i]; }
  std::vector<HostSpec>::iterator begin() { return Whole().begin(); }
  std::vector<HostSpec>::iterator end() { return Whole().end(); }
  // These keep a compact list compact.
  void push_back(HostSpec host);
  // service-NUMBER, as the last host that was pushed back in all else; it has no address
  // yet. Preconditions: there is such a host, and number > 0.
  void AddReplica(uint32_t number);
  // Preconditions: address.is_v4().
  void SetAddress(size_t i, const IpAddress& address);
  // The host, to be changed without the others that it has fields in common with. Good
  // until the next call.
  HostSpec& Apart(size_t i);

  // Loses nothing, whatever the hosts are.
  void Compact();
  bool compact() const { return whole_.empty(); }

 private:
  struct Place {
    uint32_t base = 0;    // whose other fields it has
    uint32_t number = 0;  // of service-NUMBER; 0: the base itself
    uint32_t address = 0;
  };
  std::vector<HostSpec>& Whole();
  // Preconditions: `host` is a copy of the base.
  void Fill(const Place& place, HostSpec& host) const;

  std::vector<HostSpec> whole_;  // unless compact
  std::vector<HostSpec> bases_;
  std::vector<Place> places_;
  bool may_shrink_ = false;  // bases may be equal
};

class HostList::const_iterator {
 public:
  using difference_type = ptrdiff_t;
  using value_type = HostSpec;
  using reference = const HostSpec&;
  using pointer = const HostSpec*;
  using iterator_category = std::input_iterator_tag;

  const_iterator(const HostList& list, size_t at) : list_(&list), at_(at) {}
  const HostSpec& operator*() const;
  const HostSpec* operator->() const { return &**this; }
  const_iterator& operator++() {
    ++at_;
    return *this;
  }
  friend bool operator==(const const_iterator& a, const const_iterator& b) { return a.at_ == b.at_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  const HostList* list_;
  size_t at_;
  mutable HostSpec made_;
  mutable uint32_t made_of_ = kNone;  // the base
};

// Hosts of a group with suspend: together. Its members are told of each other,
// and each tells with whom it exchanges beats, in one datagram.
inline constexpr size_t kTogetherMax = 64;

struct GroupSpec {
  std::string name;
  bool suspend_together = false;
  // Of a member's traffic with the others; no more is its heartbeat.
  uint32_t heartbeat_bytes_per_s = 8 << 10;
  std::vector<std::string> hosts;
  SourcePosition at;
};

struct LimitsSpec {
  uint32_t max_starting = 32;  // starts in flight at once; further ones queue
  // Of the machine's available memory; a start that would take of it waits.
  uint64_t min_free_memory_bytes = 64 << 20;
};

// MTU of hosts' interfaces, in bytes. The most: what the largest datagram
// carries; what a path between two hosts carries is found out (tunnel/path_mtu.h).
inline constexpr uint32_t kHostMtuMin = 1280;
inline constexpr uint32_t kHostMtuMax = 65475;

// This machine alone, where all hosts are.
inline constexpr Endpoint kDefaultListen{IpAddress::V4(0x7f000001), 0};
// Of network.listen without one: WireGuard's usual one.
inline constexpr uint16_t kDefaultListenPort = 51820;

struct ClusterSpec {
  std::string name;
  IpPrefix network;   // IPv4
  DualStack dual_stack;  // of hosts' IPv6 addresses, if they have any
  IpAddress gateway;  // the network's first address
  std::string domain;  // "shop.im"
  AttachMode attach = AttachMode::kAuto;  // of hosts that say nothing else
  uint32_t mtu = kHostMtuMax;
  // Where the gateway's tunnel listens. Port 0: any, but a cluster with peers keeps its own.
  Endpoint listen = kDefaultListen;
  std::string provider = "process";
  std::string path;               // of the file, as given
  std::string base_directory;     // what relative paths are relative to; absolute
  std::string data_directory;     // what outlives the cluster's being up; made when used
  std::string volumes_directory;  // of named volumes, in it; made when one is used
  std::string checkpoints_directory;  // in it; made when a host may go to disk
  HostList hosts;
  std::vector<GroupSpec> groups;
  LimitsSpec limits;

  std::optional<HostSpec> FindHost(absl::string_view host) const;
};

// Where all clusters' data and images are: $IM_DATA_DIR, else /var/lib/im for root, and
// $XDG_DATA_HOME/im or ~/.local/share/im for others. Absolute.
std::string DataRoot(
    const std::function<std::optional<std::string>(const std::string& name)>& variable);

// What a spec's meaning depends on besides its text: env_file, .env, ${VARIABLES} and what
// this machine permits.
struct SpecSources {
  std::function<absl::StatusOr<std::string>(const std::string& path)> read_file;
  std::function<std::optional<std::string>(const std::string& name)> variable;
  // NotFound: it is not imported. Null: no image is.
  std::function<absl::StatusOr<StoredImage>(const std::string& name)> image;
  AttachMode auto_attach = AttachMode::kTun;  // what `attach: auto` is; never kAuto
  // Why no host can go to disk on this machine; nullopt: they can. Called once at most,
  // if the spec asks for it. Empty: nobody knows.
  std::function<std::optional<std::string>()> no_checkpoints;

  // The file system and the process's environment.
  static SpecSources Real();
};

struct ParsedClusterSpec {
  std::optional<ClusterSpec> spec;  // if there are no errors
  std::vector<Diagnostic> errors;
  std::vector<Diagnostic> warnings;  // what is read but not honoured
};

// `file` stands in the diagnostics. Never fails in another way than by
// diagnostics, whatever the bytes are.
ParsedClusterSpec ParseClusterSpec(absl::string_view text, const std::string& file,
                                   const std::string& base_directory,
                                   const SpecSources& sources = SpecSources::Real());

// The same for a file on disk. A file that cannot be read is an error too.
ParsedClusterSpec LoadClusterSpec(const std::string& path,
                                  const SpecSources& sources = SpecSources::Real());

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CLUSTER_SPEC_H_
