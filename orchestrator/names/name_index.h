// NameIndex: the cluster's names and addresses, in little memory.
//
// The start request carries them encoded (proto::NameTable). Most programs ask
// for a few names or none, so the table is decoded when the first question
// comes, record by record, into one string of names and two sorted arrays:
// about 40 bytes a host and no allocation for each. The names of replicas are
// computed (proto::ReplicaNames).
//
// Names that come and go, of guests and of stock peers, are in no table: who has them is
// asked for each (Passing), after the table.

#ifndef IM_ORCHESTRATOR_NAMES_NAME_INDEX_H_
#define IM_ORCHESTRATOR_NAMES_NAME_INDEX_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/ip_address.h"

namespace im::names {

// DNS names are at most 253 characters long (RFC 1035 2.3.4); records with a
// longer or empty name are left out.
inline constexpr size_t kHostNameBytesMax = 253;

class NameIndex {
 public:
  // Who knows the names that come and go.
  class Passing {
   public:
    virtual ~Passing() = default;
    // Precondition: `name` is in lower case.
    virtual std::optional<IpAddress> Find(absl::string_view name) const = 0;
    // Empty if nobody has the address.
    virtual std::string FindName(const IpAddress& address) const = 0;
  };

  // `encoded` is a serialized proto::NameTable. What cannot be decoded of it
  // is left out.
  explicit NameIndex(std::string encoded) : encoded_(std::move(encoded)) {}

  // Null: nobody. It must outlive this.
  void SetPassing(const Passing* passing) { passing_ = passing; }

  // Precondition: `name` is in lower case.
  std::optional<IpAddress> Find(absl::string_view name);
  // Whether the name is known, and not by the table.
  bool IsPassing(absl::string_view name);
  // Empty if nobody has the address.
  std::string FindName(const IpAddress& address);
  // Names of the table.
  size_t size();

 private:
  struct Entry {
    uint32_t name_offset;  // in names_
    uint32_t name_size;
    IpAddress address;
  };
  struct Replicas {
    std::string prefix;
    uint32_t first = 0;
    uint32_t first_address = 0;
    uint32_t count = 0;
  };
  void DecodeOnce();
  void AddHost(absl::string_view name, absl::string_view address);
  void AddReplicas(absl::string_view prefix, uint32_t first, absl::string_view address,
                   uint32_t count);
  void Sort();
  std::optional<IpAddress> FindInTable(absl::string_view name);
  std::optional<IpAddress> FindReplica(absl::string_view name) const;
  absl::string_view NameOf(const Entry& entry) const;

  std::string encoded_;
  bool decoded_ = false;
  const Passing* passing_ = nullptr;
  std::string names_;
  std::vector<Entry> by_name_;
  std::vector<uint32_t> by_address_;  // indices into by_name_
  std::vector<Replicas> replicas_;    // by prefix, then first
};

}  // namespace im::names

#endif  // IM_ORCHESTRATOR_NAMES_NAME_INDEX_H_
