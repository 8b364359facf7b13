#include "orchestrator/names/name_index.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/agent.pb.h"

namespace im::names {
namespace {

// Fields 1 (hosts) and 2 (replicas) of proto::NameTable, wire type 2
// (length-delimited).
constexpr uint32_t kHostsTag = 1 << 3 | 2, kReplicasTag = 2 << 3 | 2;

bool IsAddress(absl::string_view bytes) { return bytes.size() == 4 || bytes.size() == 16; }

IpAddress AddressOf(absl::string_view bytes) {
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

void NameIndex::DecodeOnce() {
  if (decoded_) return;
  decoded_ = true;
  // One record at a time: the whole message as objects would cost ten times
  // the memory of what is kept.
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(encoded_.data()),
                                            static_cast<int>(encoded_.size()));
  proto::HostName host;
  proto::ReplicaNames replicas;
  for (uint32_t tag; (tag = in.ReadTag()) == kHostsTag || tag == kReplicasTag;) {
    uint32_t size = 0;
    if (!in.ReadVarint32(&size)) break;
    const int offset = in.CurrentPosition();
    if (size > encoded_.size() - offset) break;
    google::protobuf::MessageLite& record =
        tag == kHostsTag ? static_cast<google::protobuf::MessageLite&>(host) : replicas;
    record.Clear();
    if (!record.ParseFromArray(encoded_.data() + offset, static_cast<int>(size))) break;
    in.Skip(static_cast<int>(size));
    if (tag == kHostsTag) {
      AddHost(host.name(), host.address());
    } else {
      AddReplicas(replicas.prefix(), replicas.first(), replicas.first_address(), replicas.count());
    }
  }
  std::string().swap(encoded_);
  Sort();
}

void NameIndex::AddHost(absl::string_view name, absl::string_view address) {
  if (!IsAddress(address) || name.empty() || name.size() > kHostNameBytesMax) return;
  Entry entry;
  entry.name_offset = static_cast<uint32_t>(names_.size());
  entry.name_size = static_cast<uint32_t>(name.size());
  entry.address = AddressOf(address);
  names_ += absl::AsciiStrToLower(name);
  by_name_.push_back(entry);
}

void NameIndex::AddReplicas(absl::string_view prefix, uint32_t first, absl::string_view address,
                            uint32_t count) {
  // "-" and ten digits follow it.
  if (address.size() != 4 || prefix.empty() || prefix.size() > kHostNameBytesMax - 11) return;
  const uint32_t first_address = AddressOf(address).v4();
  // Numbers and addresses are 32 bits long.
  if (count == 0 || count - 1 > UINT32_MAX - first || count - 1 > UINT32_MAX - first_address) return;
  replicas_.push_back({absl::AsciiStrToLower(prefix), first, first_address, count});
}

void NameIndex::Sort() {
  names_.shrink_to_fit();
  by_name_.shrink_to_fit();
  std::stable_sort(by_name_.begin(), by_name_.end(),
                   [this](const Entry& a, const Entry& b) { return NameOf(a) < NameOf(b); });
  by_address_.resize(by_name_.size());
  for (uint32_t i = 0; i < by_address_.size(); ++i) by_address_[i] = i;
  // The name that was told first is the host's own.
  std::sort(by_address_.begin(), by_address_.end(), [this](uint32_t a, uint32_t b) {
    return std::tie(by_name_[a].address, by_name_[a].name_offset) <
           std::tie(by_name_[b].address, by_name_[b].name_offset);
  });
  std::sort(replicas_.begin(), replicas_.end(), [](const Replicas& a, const Replicas& b) {
    return std::tie(a.prefix, a.first) < std::tie(b.prefix, b.first);
  });
}

std::optional<IpAddress> NameIndex::FindReplica(absl::string_view name) const {
  const size_t dash = name.rfind('-');
  uint32_t number = 0;
  // Not "zk-01": each name is written in one way.
  if (dash == absl::string_view::npos || !absl::SimpleAtoi(name.substr(dash + 1), &number) ||
      absl::StrCat(number) != name.substr(dash + 1))
    return std::nullopt;
  const std::pair<absl::string_view, uint32_t> wanted(name.substr(0, dash), number);
  // The last that does not begin behind it.
  auto at = std::upper_bound(replicas_.begin(), replicas_.end(), wanted,
                             [](const auto& key, const Replicas& replicas) {
                               return key < std::pair<absl::string_view, uint32_t>(
                                                replicas.prefix, replicas.first);
                             });
  if (at == replicas_.begin()) return std::nullopt;
  --at;
  if (at->prefix != wanted.first || number - at->first >= at->count) return std::nullopt;
  return IpAddress::V4(at->first_address + (number - at->first));
}

absl::string_view NameIndex::NameOf(const Entry& entry) const {
  return absl::string_view(names_).substr(entry.name_offset, entry.name_size);
}

std::optional<IpAddress> NameIndex::Find(absl::string_view name) {
  const std::optional<IpAddress> address = FindInTable(name);
  return address || passing_ == nullptr ? address : passing_->Find(name);
}

bool NameIndex::IsPassing(absl::string_view name) {
  return passing_ != nullptr && !FindInTable(name) && passing_->Find(name).has_value();
}

std::optional<IpAddress> NameIndex::FindInTable(absl::string_view name) {
  DecodeOnce();
  auto at = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](const Entry& entry, absl::string_view wanted) { return NameOf(entry) < wanted; });
  if (at == by_name_.end() || NameOf(*at) != name) return FindReplica(name);
  return at->address;
}

std::string NameIndex::FindName(const IpAddress& address) {
  DecodeOnce();
  if (address.is_v4()) {
    for (const Replicas& replicas : replicas_) {
      const uint32_t index = address.v4() - replicas.first_address;
      if (index < replicas.count) return absl::StrCat(replicas.prefix, "-", replicas.first + index);
    }
  }
  auto at = std::lower_bound(by_address_.begin(), by_address_.end(), address,
                             [this](uint32_t i, const IpAddress& wanted) {
                               return by_name_[i].address < wanted;
                             });
  if (at == by_address_.end() || by_name_[*at].address != address)
    return passing_ == nullptr ? std::string() : passing_->FindName(address);
  return std::string(NameOf(by_name_[*at]));
}

size_t NameIndex::size() {
  DecodeOnce();
  size_t size = by_name_.size();
  for (const Replicas& replicas : replicas_) size += replicas.count;
  return size;
}

}  // namespace im::names
