// Introductions: which running instances know each other's key and endpoint.
//
// Goal: two hosts that talk do so directly. They are introduced when the
// gateway forwards a packet between them; from then on each has a /32 for the
// other, which its tunnel uses once a direct session is up. When a host is to
// be released its /32 is withdrawn everywhere first, so that the next packet
// for it comes to the gateway, which holds it and wakes the host.
//
// Level-triggered: for each recipient and each subject there is one newest
// update, with a version that only grows. It is repeated, ever slower, until
// the recipient acknowledges that version. A withdrawal that was acknowledged
// is forgotten, and with it the pair.
//
// Nudges: packets between two introduced hosts should not come by the gateway.
// If they do (their direct session expired, or could never be set up), the
// introduction is repeated with a new version, at growing intervals; the
// agents try a handshake again. Where no direct path exists the gateway simply
// stays the relay.
//
// After a restart of the orchestrator nobody can tell what the instances that
// were taken back had been told. So a withdrawal of one of them (or of one
// that had died meanwhile) goes to all of them.
//
// No IO, no clock. The control channel takes what is due and sends it.

#ifndef IM_ORCHESTRATOR_INTRODUCTIONS_H_
#define IM_ORCHESTRATOR_INTRODUCTIONS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/clock.h"
#include "base/ip_address.h"
#include "proto/agent.pb.h"
#include "tunnel/keys.h"

namespace im::orchestrator {

class Introductions {
 public:
  struct Times {
    // From sending an update to repeating it: first, doubling up to.
    Duration repeat_first = std::chrono::milliseconds(30);
    Duration repeat_max = std::chrono::seconds(2);
    // From one introduction of a pair to the next while its packets still come
    // by the gateway: first, doubling up to. Left in peace for longer than
    // the latter, a pair starts at the former again.
    Duration nudge_first = std::chrono::seconds(5);
    Duration nudge_max = std::chrono::minutes(5);
  };

  // Versions start above `first_version`, which must be above all that were
  // ever used with instances that still live.
  Introductions(const Times& times, uint64_t first_version);

  // The instance runs: it can be told of others, and others of it. `adopted`:
  // it was told of others by an earlier orchestrator.
  void Join(const IpAddress& address, const tunnel::PublicKey& key, bool adopted);
  // Where the instance's tunnel is reached; who knows it is told.
  void SetEndpoint(const IpAddress& address, const Endpoint& endpoint, Instant now);
  // The instance is gone: it knows nobody, and everybody is told. Also for one
  // that was found dead after a restart.
  void Leave(const IpAddress& address, Instant now);
  bool Contains(const IpAddress& address) const { return members_.contains(address); }

  // `recipient` is told that `subject` is gone for good, also if it was told before that it
  // is withdrawn.
  void TellGone(const IpAddress& recipient, const IpAddress& subject, Instant now);

  // A packet went from `a` to `b` by the gateway. Nothing happens unless both
  // are members with known endpoints, of which none is being withdrawn.
  void Introduce(const IpAddress& a, const IpAddress& b, Instant now);

  // Takes `subject` back everywhere, and all others from it: should it go on
  // after all, it must not send on sessions that the others have closed.
  // `done` is called once: from within this or a later call, when all have
  // acknowledged it or `deadline` has come. Until Resume or Leave it is not
  // introduced to anybody.
  void Withdraw(const IpAddress& subject, Instant now, Instant deadline,
                std::function<void()> done);
  // The subject stays after all; `done` is not called any more.
  void Resume(const IpAddress& subject);

  // `recipient` has the update with this version.
  void Acknowledge(const IpAddress& recipient, uint64_t version);

  // ---- for the control channel ----

  // Somebody to whom an update is due at `now`.
  std::optional<IpAddress> NextRecipient(Instant now) const;
  // Appends updates that are due to `recipient`, at most `bytes_max` of them
  // serialized; they will be due again later. False if none was appended.
  bool TakeDue(const IpAddress& recipient, Instant now, size_t bytes_max, proto::ToAgent& message);
  // Of repeats and of withdrawals.
  Instant NextDeadline() const;
  // Ends the withdrawals whose deadline is due.
  void OnTimer(Instant now);

  // How many have `subject`'s introduction or its unacknowledged withdrawal.
  size_t KnownBy(const IpAddress& subject) const;
  bool Knows(const IpAddress& recipient, const IpAddress& subject) const;

 private:
  struct Entry {  // of one recipient, about one subject
    uint64_t version = 0;
    bool withdrawn = false;
    bool gone = false;  // for good
    bool acknowledged = false;
    Instant due = kNever;  // kNever once acknowledged
    Duration interval{0};  // to the next repeat
    Instant introduced_at;
    Duration nudge_interval{0};
  };
  struct Member {
    tunnel::PublicKey key;
    std::optional<Endpoint> endpoint;
    bool adopted = false;
    bool withdrawing = false;
    absl::flat_hash_map<IpAddress, Entry> knows;
    absl::flat_hash_map<uint64_t, IpAddress> by_version;  // unacknowledged ones
    absl::btree_set<std::pair<Instant, IpAddress>> due;   // subjects
  };
  struct Withdrawal {
    Instant deadline;
    std::function<void()> done;
  };

  // Gives the entry a new version, due at `now`.
  void Renew(const IpAddress& recipient, Member& member, const IpAddress& subject, bool withdrawn,
             Instant now);
  void SetDue(const IpAddress& recipient, Member& member, const IpAddress& subject, Entry& entry,
              Instant due);
  void Erase(const IpAddress& recipient, Member& member, const IpAddress& subject);
  void Tell(const IpAddress& recipient, Member& member, const IpAddress& subject, Instant now);
  void WithdrawEverywhere(const IpAddress& subject, Instant now);
  // Calls `done` of those that nobody knows any more and that know nobody.
  void FinishWithdrawals(const std::vector<IpAddress>& subjects);

  const Times times_;
  uint64_t last_version_;
  absl::flat_hash_map<IpAddress, Member> members_;
  absl::flat_hash_map<IpAddress, absl::flat_hash_set<IpAddress>> known_by_;  // no empty ones
  // Subjects of whom adopted members may have been told by an earlier
  // orchestrator.
  absl::flat_hash_set<IpAddress> uncertain_;
  absl::btree_set<std::pair<Instant, IpAddress>> recipients_;  // by their earliest due
  absl::flat_hash_map<IpAddress, Withdrawal> withdrawals_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_INTRODUCTIONS_H_
