// HostTable: all hosts, found by id, name and address; the only place where a
// state is written.
//
// A host that never ran costs its row (about 200 bytes with both indexes); its
// History is allocated at the first wake. Policies are shared between equal
// hosts. Single-threaded: the loop's thread.

#ifndef IM_ORCHESTRATOR_HOST_TABLE_H_
#define IM_ORCHESTRATOR_HOST_TABLE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "orchestrator/host.h"

namespace im::orchestrator {

struct HostConfig {
  std::string name;
  IpAddress address;
  HostPolicy policy;
  // Joined by `im run`: its program is started by someone else, so packets
  // and wakes never start it, and it is removed when it ended.
  bool guest = false;
};

// What is remembered of a host that ran at least once, for `im ps`, `im why`.
struct History {
  Cause cause;             // of the last wake
  std::string cause_text;  // in words, while its sender still had a name
  enum class WakeKind : uint8_t { kNone, kCold, kThaw, kRestore };
  WakeKind wake_kind = WakeKind::kNone;
  Duration wake_duration{0};  // of the last wake
  uint64_t starts = 0;        // cold ones, failed ones too
  uint64_t thaws = 0;
  std::string last_error;     // of the last failed start or unexpected end
};

// One change of state, as delegates, the event log and `im events` get it.
struct Transition {
  HostId host = kNoHost;
  HostState from = HostState::kImaginary;
  HostState to = HostState::kImaginary;
  uint64_t incarnation = 0;  // of the instance concerned
  // Why: of a wake, the cause; else kUnknown, and `reason` says it.
  Cause cause;
  std::string reason;     // "idle for 10m", "exec nginxx: No such file or directory"
  bool error = false;     // `reason` is a failure
  Duration duration{0};   // how long the wake (cold or thaw) took; else 0
  Instant at;
};

class HostTable {
 public:
  struct Host {
    std::string name;
    IpAddress address;
    HostState state = HostState::kImaginary;
    bool guest = false;
    bool removed = false;
    uint32_t policy = 0;       // index
    uint64_t incarnation = 0;  // of the current or last instance; 0: none yet
    Instant since;             // of the state
    std::unique_ptr<History> history;
  };
  // A host that is woken when another one is.
  struct Follower {
    HostId host;
    Cause::Kind kind;  // kWakeWith or kDependsOn
  };

  // At most so many hosts, guests included: what a network of /12 has addresses for.
  static constexpr size_t kHostsMax = 1 << 20;

  // Addresses are of IPv4; who asks for one of IPv6 means its host.
  HostTable() = default;
  HostTable(const HostTable&) = delete;
  HostTable& operator=(const HostTable&) = delete;

  // AlreadyExists: name or address taken. ResourceExhausted: kHostsMax.
  absl::StatusOr<HostId> Add(const HostConfig& config, Instant now);
  // Preconditions: a guest that is Imaginary.
  void RemoveGuest(HostId id);

  // `follower` is woken whenever `leader` is, and (kWakeWith) not released
  // while the leader is up.
  void AddFollower(HostId leader, HostId follower, Cause::Kind kind);
  const std::vector<Follower>& followers(HostId leader) const;
  // Whom `follower` follows by wake_with.
  const std::vector<HostId>& leaders(HostId follower) const;

  // What must hold before a host is started (activator_needs.cc).
  struct Need {
    enum class Kind : uint8_t {
      kUp,         // it runs, or is paused
      kCompleted,  // its program has ended with exit code 0, once
    };
    HostId host;
    Kind kind;
  };
  // Preconditions: no host needs itself, directly or by others.
  void AddNeed(HostId host, const Need& need);
  const std::vector<Need>& needs(HostId host) const;
  // Who has a need of `host`.
  const std::vector<HostId>& needed_by(HostId host) const;

  // They are suspended, released and woken together. At most one such group
  // for a host. Preconditions: two at least.
  void AddGroup(std::string name, std::vector<HostId> members);
  struct Group {
    std::string name;
    std::vector<HostId> members;
  };
  const std::vector<Group>& groups() const { return groups_; }
  // The index in groups(); nullopt: it is in none.
  std::optional<uint32_t> GroupOf(HostId id) const;

  // IPv4 alone by default.
  void SetDualStack(const DualStack& dual_stack) { dual_stack_ = dual_stack; }
  // By what hosts are known here (DualStack::Plain).
  IpAddress Plain(const IpAddress& address) const { return dual_stack_.Plain(address); }

  std::optional<HostId> FindByName(absl::string_view name) const;
  std::optional<HostId> FindByAddress(const IpAddress& address) const;
  bool Contains(HostId id) const { return id < hosts_.size() && !hosts_[id].removed; }
  // Preconditions: Contains(id). The reference is good until RemoveGuest(id).
  const Host& operator[](HostId id) const;
  const HostPolicy& policy(HostId id) const { return policies_[(*this)[id].policy]; }

  // The name of the host or peer with this address, or the address as text.
  std::string NameOf(const IpAddress& address) const;
  // What is no host, and has an address of the network (peers.h).
  void NamePeer(const IpAddress& address, std::string name) { peers_[address] = std::move(name); }
  void ForgetPeer(const IpAddress& address) { peers_.erase(address); }
  // Empty: no peer has it.
  std::string PeerAt(const IpAddress& address) const;
  std::optional<IpAddress> FindPeer(absl::string_view name) const;

  size_t size() const { return by_name_.size(); }
  // In order of Add. `f` must not add or remove hosts.
  template <typename F>
  void ForEach(F f) const {
    for (HostId id = 0; id < hosts_.size(); ++id)
      if (!hosts_[id].removed) f(id, hosts_[id]);
  }
  // The same from `id` on, until `f` returns false.
  template <typename F>
  void ForEachFrom(HostId id, F f) const {
    for (; id < hosts_.size(); ++id)
      if (!hosts_[id].removed && !f(id, hosts_[id])) return;
  }
  size_t count(HostState state) const { return counts_[static_cast<size_t>(state)]; }

  // Activator alone calls these. Takes the edge transition.from (filled in
  // here) → transition.to; dies if the table has no such edge.
  void Apply(Transition& transition);
  void AddThaws(HostId id, uint64_t thaws);
  void RecordError(HostId id, absl::string_view error);

 private:
  uint32_t InternPolicy(const HostPolicy& policy);
  History& MutableHistory(HostId id);
  void SetCause(HostId id, const Cause& cause);

  std::deque<Host> hosts_;  // stable addresses: by_name_'s keys point in
  std::deque<HostId> free_;  // removed guests' rows; the oldest is reused first
  std::vector<HostPolicy> policies_;
  absl::flat_hash_map<absl::string_view, HostId> by_name_;
  absl::flat_hash_map<IpAddress, HostId> by_address_;
  DualStack dual_stack_;
  absl::flat_hash_map<IpAddress, std::string> peers_;
  absl::flat_hash_map<HostId, std::vector<Follower>> followers_;
  absl::flat_hash_map<HostId, std::vector<HostId>> leaders_;
  absl::flat_hash_map<HostId, std::vector<Need>> needs_;
  absl::flat_hash_map<HostId, std::vector<HostId>> needed_by_;
  std::vector<Group> groups_;
  absl::flat_hash_map<HostId, uint32_t> group_of_;
  size_t counts_[kHostStates] = {};
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HOST_TABLE_H_
