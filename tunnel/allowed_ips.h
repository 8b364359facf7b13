// AllowedIps: which peer owns an address, [W] 2: cryptokey routing.
//
// One path-compressed binary trie for each family. A node stands for a prefix;
// its children continue with bit 0 or 1 behind it. Nodes without an owner
// exist only where two branches part, so n prefixes take at most 2n-1 nodes.
// They lie in one array and refer to each other by number: 32 bytes a node for
// IPv4, and the array of 130,000 host routes stays in the second-level cache.
//
// Where there are many host routes, they are looked up in a hash table first:
// nothing can be longer, and seventeen steps down the trie are saved.
//
// Every owner's nodes also form a list, in order of Insert, so that removing
// or listing an owner costs what it owns.

#ifndef IM_TUNNEL_ALLOWED_IPS_H_
#define IM_TUNNEL_ALLOWED_IPS_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/numeric/int128.h"
#include "base/ip_address.h"

namespace im::tunnel {

// A family's trie. Key: an unsigned integer, the address in host order.
template <typename Key>
class PrefixTrie {
 public:
  using Owner = uint32_t;
  static constexpr Owner kNobody = UINT32_MAX;
  static constexpr int kBits = static_cast<int>(sizeof(Key) * 8);

  // Preconditions: owner != kNobody; bits of `key` behind `length` are zero.
  void Insert(Key key, int length, Owner owner);
  // Takes the prefix from whoever has it.
  void Remove(Key key, int length);
  void RemoveOwner(Owner owner);

  // The owner of the longest prefix that contains `key` and for whose owner
  // accept(owner) is true; kNobody if there is none.
  template <typename Accept>
  Owner Lookup(Key key, const Accept& accept) const {
    if (hosts_.size() >= kHashedHostsMin) {
      const auto host = hosts_.find(HostKey(key));
      if (host != hosts_.end() && accept(host->second)) return host->second;
    }
    Owner best = kNobody;
    for (uint32_t i = root_; i != kNone;) {
      const Node& node = nodes_[i];
      if (!Contains(node, key)) break;
      if (node.owner != kNobody && accept(node.owner)) best = node.owner;
      if (node.length == kBits) break;
      i = node.child[BitAt(key, node.length)];
    }
    return best;
  }

  // Calls visit(key, length) for the owner's prefixes in order of Insert.
  template <typename Visit>
  void ForEach(Owner owner, const Visit& visit) const {
    if (owner >= lists_.size()) return;
    for (uint32_t i = lists_[owner].first; i != kNone; i = nodes_[i].list_next)
      visit(nodes_[i].key, nodes_[i].length);
  }

  size_t size() const { return owned_; }             // prefixes
  size_t nodes() const { return nodes_.size() - free_count_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  // Fewer host routes are found as fast in the trie.
  static constexpr size_t kHashedHostsMin = 64;

  struct Node {
    Key key;
    uint32_t child[2];
    uint32_t parent;
    Owner owner;
    uint32_t list_previous;
    uint32_t list_next;  // of free nodes: the next free one
    uint8_t length;
  };
  struct List {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };

  static Key MaskOf(int length) {
    return length == 0 ? Key{0} : static_cast<Key>(~Key{0} << (kBits - length));
  }
  static int BitAt(Key key, int position) {
    return static_cast<int>(key >> (kBits - 1 - position) & 1);
  }
  static bool Contains(const Node& node, Key key) {
    return ((node.key ^ key) & MaskOf(node.length)) == 0;
  }
  static int CommonLength(Key a, Key b, int limit);

  uint32_t NewNode(Key key, int length, uint32_t parent);
  void FreeNode(uint32_t i);
  void SetChild(uint32_t parent, uint32_t old_child, uint32_t child);
  void SetOwner(uint32_t i, Owner owner);  // kNobody: takes it away
  // Frees the node and its parent if they no longer serve a purpose.
  void Prune(uint32_t i);
  uint32_t FindExact(Key key, int length) const;

  std::vector<Node> nodes_;
  std::vector<List> lists_;  // by owner
  // Owners of the prefixes of full length. absl hashes no __int128.
  using HostKey = std::conditional_t<sizeof(Key) == 16, absl::uint128, Key>;
  absl::flat_hash_map<HostKey, Owner> hosts_;
  uint32_t root_ = kNone;
  uint32_t free_ = kNone;
  size_t free_count_ = 0;
  size_t owned_ = 0;
};

// Both families. Owners are small numbers, such as slots of a table.
class AllowedIps {
 public:
  using Owner = uint32_t;
  static constexpr Owner kNobody = UINT32_MAX;
  using Key6 = unsigned __int128;

  // Takes the prefix from whoever has it ([W] 2: one owner).
  void Insert(const IpPrefix& prefix, Owner owner);
  void Remove(const IpPrefix& prefix);
  void RemoveOwner(Owner owner);

  Owner Lookup(const IpAddress& address) const {
    return Lookup(address, [](Owner) { return true; });
  }
  // Skips owners for which `accept` is false.
  template <typename Accept>
  Owner Lookup(const IpAddress& address, const Accept& accept) const {
    return address.is_v4() ? v4_.Lookup(address.v4(), accept)
                           : v6_.Lookup(KeyOf(address), accept);
  }
  // True if one of the owner's own prefixes contains the address, whoever has
  // a longer one.
  bool Owns(Owner owner, const IpAddress& address) const {
    return Lookup(address, [owner](Owner o) { return o == owner; }) == owner;
  }

  // IPv4 first, each family in order of Insert.
  std::vector<IpPrefix> List(Owner owner) const;
  size_t size() const { return v4_.size() + v6_.size(); }

 private:
  static Key6 KeyOf(const IpAddress& address);

  PrefixTrie<uint32_t> v4_;
  PrefixTrie<Key6> v6_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_ALLOWED_IPS_H_
