#include "orchestrator/introductions.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace im::orchestrator {
namespace {

std::string BytesOf(const IpAddress& address) {
  const std::span<const uint8_t> bytes = address.bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace

Introductions::Introductions(const Times& times, uint64_t first_version)
    : times_(times), last_version_(first_version) {}

void Introductions::Join(const IpAddress& address, const tunnel::PublicKey& key, bool adopted) {
  IM_CHECK(!members_.contains(address));
  Member& member = members_[address];
  member.key = key;
  member.adopted = adopted;
  if (adopted) uncertain_.insert(address);
}

void Introductions::SetEndpoint(const IpAddress& address, const Endpoint& endpoint, Instant now) {
  const auto it = members_.find(address);
  if (it == members_.end() || it->second.endpoint == endpoint) return;
  it->second.endpoint = endpoint;
  const auto knowers = known_by_.find(address);
  if (knowers == known_by_.end() || it->second.withdrawing) return;
  for (const IpAddress& recipient : knowers->second) {
    Member& member = members_.at(recipient);
    // One that is still to forget an earlier incarnation is not introduced.
    if (member.knows.at(address).withdrawn) continue;
    Renew(recipient, member, address, /*withdrawn=*/false, now);
  }
}

void Introductions::Leave(const IpAddress& address, Instant now) {
  WithdrawEverywhere(address, now);
  // A withdrawal that somebody waits for goes on: that the instance has ended
  // before all have answered is the same to the one who waits.
  std::vector<IpAddress> subjects = {address};
  if (const auto it = members_.find(address); it != members_.end()) {
    for (const auto& [subject, entry] : it->second.knows) subjects.push_back(subject);
    for (size_t i = 1; i < subjects.size(); ++i) Erase(address, it->second, subjects[i]);
    members_.erase(it);
  }
  FinishWithdrawals(subjects);
}

void Introductions::TellGone(const IpAddress& recipient, const IpAddress& subject, Instant now) {
  const auto it = members_.find(recipient);
  if (it == members_.end()) return;
  Renew(recipient, it->second, subject, /*withdrawn=*/true, now);
  it->second.knows.at(subject).gone = true;
}

void Introductions::Introduce(const IpAddress& a, const IpAddress& b, Instant now) {
  const auto at_a = members_.find(a);
  const auto at_b = members_.find(b);
  if (at_a == members_.end() || at_b == members_.end() || at_a == at_b) return;
  Member& member_a = at_a->second;
  Member& member_b = at_b->second;
  if (member_a.withdrawing || member_b.withdrawing) return;
  if (!member_a.endpoint.has_value() || !member_b.endpoint.has_value()) return;
  Tell(a, member_a, b, now);
  Tell(b, member_b, a, now);
}

void Introductions::Tell(const IpAddress& recipient, Member& member, const IpAddress& subject,
                         Instant now) {
  const auto it = member.knows.find(subject);
  if (it == member.knows.end() || it->second.withdrawn) {
    Renew(recipient, member, subject, /*withdrawn=*/false, now);
    Entry& entry = member.knows.at(subject);
    entry.introduced_at = now;
    entry.nudge_interval = times_.nudge_first;
    return;
  }
  const Entry& known = it->second;
  if (!known.acknowledged || now - known.introduced_at < known.nudge_interval) return;
  const Duration next = now - known.introduced_at > times_.nudge_max
                            ? times_.nudge_first
                            : std::min(2 * known.nudge_interval, times_.nudge_max);
  Renew(recipient, member, subject, /*withdrawn=*/false, now);
  Entry& entry = member.knows.at(subject);
  entry.introduced_at = now;
  entry.nudge_interval = next;
}

void Introductions::Withdraw(const IpAddress& subject, Instant now, Instant deadline,
                             std::function<void()> done) {
  withdrawals_[subject] = {deadline, std::move(done)};
  WithdrawEverywhere(subject, now);
  if (const auto it = members_.find(subject); it != members_.end()) {
    Member& member = it->second;
    member.withdrawing = true;
    std::vector<IpAddress> others;
    for (const auto& [other, entry] : member.knows) {
      if (!entry.withdrawn) others.push_back(other);
    }
    for (const IpAddress& other : others) Renew(subject, member, other, /*withdrawn=*/true, now);
  }
  FinishWithdrawals({subject});
}

void Introductions::Resume(const IpAddress& subject) {
  withdrawals_.erase(subject);
  if (const auto it = members_.find(subject); it != members_.end()) it->second.withdrawing = false;
}

void Introductions::WithdrawEverywhere(const IpAddress& subject, Instant now) {
  std::vector<IpAddress> recipients;
  if (const auto it = known_by_.find(subject); it != known_by_.end()) {
    recipients.assign(it->second.begin(), it->second.end());
  }
  if (uncertain_.erase(subject) > 0) {
    for (const auto& [address, member] : members_) {
      if (member.adopted && address != subject && !member.knows.contains(subject)) {
        recipients.push_back(address);
      }
    }
  }
  for (const IpAddress& recipient : recipients) {
    Member& member = members_.at(recipient);
    const auto entry = member.knows.find(subject);
    if (entry != member.knows.end() && entry->second.withdrawn) continue;
    Renew(recipient, member, subject, /*withdrawn=*/true, now);
  }
}

void Introductions::Acknowledge(const IpAddress& recipient, uint64_t version) {
  const auto it = members_.find(recipient);
  if (it == members_.end()) return;
  Member& member = it->second;
  const auto by_version = member.by_version.find(version);
  if (by_version == member.by_version.end()) return;  // an older one, or repeated
  const IpAddress subject = by_version->second;
  Entry& entry = member.knows.at(subject);
  if (entry.withdrawn) {
    Erase(recipient, member, subject);
    FinishWithdrawals({subject, recipient});
    return;
  }
  member.by_version.erase(by_version);
  entry.acknowledged = true;
  SetDue(recipient, member, subject, entry, kNever);
}

void Introductions::Renew(const IpAddress& recipient, Member& member, const IpAddress& subject,
                          bool withdrawn, Instant now) {
  Entry& entry = member.knows[subject];
  known_by_[subject].insert(recipient);
  member.by_version.erase(entry.version);
  entry.version = ++last_version_;
  member.by_version[entry.version] = subject;
  entry.withdrawn = withdrawn;
  entry.gone = false;
  entry.acknowledged = false;
  entry.interval = times_.repeat_first;
  SetDue(recipient, member, subject, entry, now);
}

void Introductions::Erase(const IpAddress& recipient, Member& member, const IpAddress& subject) {
  Entry& entry = member.knows.at(subject);
  SetDue(recipient, member, subject, entry, kNever);
  member.by_version.erase(entry.version);
  member.knows.erase(subject);
  const auto it = known_by_.find(subject);
  it->second.erase(recipient);
  if (it->second.empty()) known_by_.erase(it);
}

void Introductions::SetDue(const IpAddress& recipient, Member& member, const IpAddress& subject,
                           Entry& entry, Instant due) {
  if (!member.due.empty()) recipients_.erase({member.due.begin()->first, recipient});
  if (entry.due != kNever) member.due.erase({entry.due, subject});
  entry.due = due;
  if (due != kNever) member.due.insert({due, subject});
  if (!member.due.empty()) recipients_.insert({member.due.begin()->first, recipient});
}

void Introductions::FinishWithdrawals(const std::vector<IpAddress>& subjects) {
  std::vector<std::function<void()>> done;
  for (const IpAddress& subject : subjects) {
    const auto it = withdrawals_.find(subject);
    if (it == withdrawals_.end() || known_by_.contains(subject)) continue;
    const auto member = members_.find(subject);
    if (member != members_.end() && !member->second.knows.empty()) continue;
    done.push_back(std::move(it->second.done));
    withdrawals_.erase(it);
  }
  for (const std::function<void()>& f : done) f();
}

std::optional<IpAddress> Introductions::NextRecipient(Instant now) const {
  if (recipients_.empty() || recipients_.begin()->first > now) return std::nullopt;
  return recipients_.begin()->second;
}

bool Introductions::TakeDue(const IpAddress& recipient, Instant now, size_t bytes_max,
                            proto::ToAgent& message) {
  const auto it = members_.find(recipient);
  if (it == members_.end()) return false;
  Member& member = it->second;
  bool appended = false;
  size_t bytes = 0;
  while (!member.due.empty() && member.due.begin()->first <= now) {
    const IpAddress subject = member.due.begin()->second;
    Entry& entry = member.knows.at(subject);
    proto::PeerUpdate update;
    update.set_version(entry.version);
    update.set_address(BytesOf(subject));
    update.set_withdrawn(entry.withdrawn);
    update.set_gone(entry.gone);
    if (!entry.withdrawn) {
      const Member& about = members_.at(subject);  // Leave withdraws at once
      update.set_public_key(std::string(about.key.raw()));
      update.set_endpoint(about.endpoint->ToString());
    }
    constexpr size_t kFieldOverhead = 3;  // tag and length
    const size_t size = update.ByteSizeLong() + kFieldOverhead;
    if (bytes + size > bytes_max) break;
    bytes += size;
    *message.add_peers() = std::move(update);
    SetDue(recipient, member, subject, entry, now + entry.interval);
    entry.interval = std::min(2 * entry.interval, times_.repeat_max);
    appended = true;
  }
  return appended;
}

Instant Introductions::NextDeadline() const {
  Instant next = recipients_.empty() ? kNever : recipients_.begin()->first;
  for (const auto& [subject, withdrawal] : withdrawals_) {
    next = std::min(next, withdrawal.deadline);
  }
  return next;
}

void Introductions::OnTimer(Instant now) {
  std::vector<std::function<void()>> done;
  for (auto it = withdrawals_.begin(); it != withdrawals_.end();) {
    const auto current = it++;
    if (current->second.deadline > now) continue;
    done.push_back(std::move(current->second.done));
    withdrawals_.erase(current);
  }
  for (const std::function<void()>& f : done) f();
}

size_t Introductions::KnownBy(const IpAddress& subject) const {
  const auto it = known_by_.find(subject);
  return it == known_by_.end() ? 0 : it->second.size();
}

bool Introductions::Knows(const IpAddress& recipient, const IpAddress& subject) const {
  const auto it = members_.find(recipient);
  if (it == members_.end()) return false;
  const auto entry = it->second.knows.find(subject);
  return entry != it->second.knows.end() && !entry->second.withdrawn;
}

}  // namespace im::orchestrator
