#include "orchestrator/agent/name_index.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "proto/agent.pb.h"

namespace im::agent {
namespace {

// Field 1 (hosts) of proto::NameTable, wire type 2 (length-delimited).
constexpr uint32_t kHostsTag = 1 << 3 | 2;

}  // namespace

void NameIndex::DecodeOnce() {
  if (decoded_) return;
  decoded_ = true;
  // One record at a time: the whole message as objects would cost ten times
  // the memory of what is kept.
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(encoded_.data()),
                                            static_cast<int>(encoded_.size()));
  proto::HostName host;
  while (in.ReadTag() == kHostsTag) {
    uint32_t size = 0;
    if (!in.ReadVarint32(&size)) break;
    const int offset = in.CurrentPosition();
    if (size > encoded_.size() - offset) break;
    host.Clear();
    if (!host.ParseFromArray(encoded_.data() + offset, static_cast<int>(size))) break;
    in.Skip(static_cast<int>(size));
    const std::string& address = host.address();
    if (address.size() != 4 && address.size() != 16) continue;
    if (host.name().empty() || host.name().size() > kHostNameBytesMax) continue;
    Entry entry;
    entry.name_offset = static_cast<uint32_t>(names_.size());
    entry.name_size = static_cast<uint32_t>(host.name().size());
    entry.address = IpAddress::FromBytes(
        {reinterpret_cast<const uint8_t*>(address.data()), address.size()});
    names_ += absl::AsciiStrToLower(host.name());
    by_name_.push_back(entry);
  }
  std::string().swap(encoded_);
  names_.shrink_to_fit();
  by_name_.shrink_to_fit();
  std::sort(by_name_.begin(), by_name_.end(),
            [this](const Entry& a, const Entry& b) { return NameOf(a) < NameOf(b); });
  by_address_.resize(by_name_.size());
  for (uint32_t i = 0; i < by_address_.size(); ++i) by_address_[i] = i;
  std::sort(by_address_.begin(), by_address_.end(), [this](uint32_t a, uint32_t b) {
    return by_name_[a].address < by_name_[b].address;
  });
}

absl::string_view NameIndex::NameOf(const Entry& entry) const {
  return absl::string_view(names_).substr(entry.name_offset, entry.name_size);
}

std::optional<IpAddress> NameIndex::Find(absl::string_view name) {
  DecodeOnce();
  auto at = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [this](const Entry& entry, absl::string_view wanted) { return NameOf(entry) < wanted; });
  if (at == by_name_.end() || NameOf(*at) != name) return std::nullopt;
  return at->address;
}

absl::string_view NameIndex::FindName(const IpAddress& address) {
  DecodeOnce();
  auto at = std::lower_bound(by_address_.begin(), by_address_.end(), address,
                             [this](uint32_t i, const IpAddress& wanted) {
                               return by_name_[i].address < wanted;
                             });
  if (at == by_address_.end() || by_name_[*at].address != address) return {};
  return NameOf(by_name_[*at]);
}

size_t NameIndex::size() {
  DecodeOnce();
  return by_name_.size();
}

}  // namespace im::agent
