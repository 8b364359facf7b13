#include "tunnel/allowed_ips.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace im::tunnel {

// How many leading bits `a` and `b` share, up to `limit`.
template <typename Key>
int PrefixTrie<Key>::CommonLength(Key a, Key b, int limit) {
  const Key difference = a ^ b;
  int length = 0;
  if constexpr (sizeof(Key) == 16) {
    const auto high = static_cast<uint64_t>(difference >> 64);
    const auto low = static_cast<uint64_t>(difference);
    length = high != 0 ? __builtin_clzll(high) : low != 0 ? 64 + __builtin_clzll(low) : kBits;
  } else {
    length = difference != 0 ? __builtin_clz(difference) : kBits;
  }
  return std::min(length, limit);
}

template <typename Key>
uint32_t PrefixTrie<Key>::NewNode(Key key, int length, uint32_t parent) {
  uint32_t i = free_;
  if (i != kNone) {
    free_ = nodes_[i].list_next;
    --free_count_;
  } else {
    i = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
  }
  nodes_[i] = Node{.key = key,
                   .child = {kNone, kNone},
                   .parent = parent,
                   .owner = kNobody,
                   .list_previous = kNone,
                   .list_next = kNone,
                   .length = static_cast<uint8_t>(length)};
  return i;
}

template <typename Key>
void PrefixTrie<Key>::FreeNode(uint32_t i) {
  nodes_[i].list_next = free_;
  free_ = i;
  ++free_count_;
}

template <typename Key>
void PrefixTrie<Key>::SetChild(uint32_t parent, uint32_t old_child, uint32_t child) {
  if (parent == kNone) {
    root_ = child;
  } else {
    uint32_t(&children)[2] = nodes_[parent].child;
    children[children[1] == old_child ? 1 : 0] = child;
  }
  if (child != kNone) nodes_[child].parent = parent;
}

template <typename Key>
void PrefixTrie<Key>::SetOwner(uint32_t i, Owner owner) {
  Node& node = nodes_[i];
  if (node.owner != kNobody) {
    List& list = lists_[node.owner];
    (node.list_previous == kNone ? list.first : nodes_[node.list_previous].list_next) =
        node.list_next;
    (node.list_next == kNone ? list.last : nodes_[node.list_next].list_previous) =
        node.list_previous;
    --owned_;
  }
  node.owner = owner;
  node.list_previous = node.list_next = kNone;
  if (node.length == kBits) {
    if (owner == kNobody) {
      hosts_.erase(HostKey(node.key));
    } else {
      hosts_[HostKey(node.key)] = owner;
    }
  }
  if (owner == kNobody) return;
  if (owner >= lists_.size()) lists_.resize(owner + 1);
  List& list = lists_[owner];
  node.list_previous = list.last;
  (list.last == kNone ? list.first : nodes_[list.last].list_next) = i;
  list.last = i;
  ++owned_;
}

template <typename Key>
void PrefixTrie<Key>::Insert(Key key, int length, Owner owner) {
  IM_CHECK(owner != kNobody && (key & ~MaskOf(length)) == 0);
  uint32_t parent = kNone;
  uint32_t i = root_;
  // Down to the first node that does not contain the prefix, or is it.
  while (i != kNone && nodes_[i].length <= length && Contains(nodes_[i], key)) {
    if (nodes_[i].length == length) {
      SetOwner(i, owner);
      return;
    }
    parent = i;
    i = nodes_[i].child[BitAt(key, nodes_[i].length)];
  }
  const uint32_t node = NewNode(key, length, parent);
  if (i == kNone) {
    if (parent == kNone) {
      root_ = node;
    } else {
      nodes_[parent].child[BitAt(key, nodes_[parent].length)] = node;
    }
    SetOwner(node, owner);
    return;
  }
  const int common = CommonLength(key, nodes_[i].key, std::min<int>(length, nodes_[i].length));
  if (common == length) {
    // The prefix contains node i: it goes between.
    SetChild(parent, i, node);
    nodes_[node].child[BitAt(nodes_[i].key, length)] = i;
    nodes_[i].parent = node;
  } else {
    // They part behind `common` bits.
    const uint32_t fork = NewNode(static_cast<Key>(key & MaskOf(common)), common, parent);
    SetChild(parent, i, fork);
    nodes_[fork].child[BitAt(key, common)] = node;
    nodes_[fork].child[BitAt(nodes_[i].key, common)] = i;
    nodes_[node].parent = fork;
    nodes_[i].parent = fork;
  }
  SetOwner(node, owner);
}

template <typename Key>
uint32_t PrefixTrie<Key>::FindExact(Key key, int length) const {
  uint32_t i = root_;
  while (i != kNone && nodes_[i].length < length && Contains(nodes_[i], key))
    i = nodes_[i].child[BitAt(key, nodes_[i].length)];
  return i != kNone && nodes_[i].length == length && nodes_[i].key == key ? i : kNone;
}

template <typename Key>
void PrefixTrie<Key>::Remove(Key key, int length) {
  const uint32_t i = FindExact(key, length);
  if (i == kNone || nodes_[i].owner == kNobody) return;
  SetOwner(i, kNobody);
  Prune(i);
}

template <typename Key>
void PrefixTrie<Key>::Prune(uint32_t i) {
  while (i != kNone && nodes_[i].owner == kNobody) {
    const uint32_t(&child)[2] = nodes_[i].child;
    if (child[0] != kNone && child[1] != kNone) return;
    const uint32_t only = child[0] != kNone ? child[0] : child[1];
    const uint32_t parent = nodes_[i].parent;
    SetChild(parent, i, only);
    FreeNode(i);
    // A parent that is a mere fork has lost its purpose if nothing took i's place.
    i = only == kNone ? parent : kNone;
  }
}

template <typename Key>
void PrefixTrie<Key>::RemoveOwner(Owner owner) {
  if (owner >= lists_.size()) return;
  while (lists_[owner].first != kNone) {
    const uint32_t i = lists_[owner].first;
    SetOwner(i, kNobody);
    Prune(i);
  }
}

template class PrefixTrie<uint32_t>;
template class PrefixTrie<AllowedIps::Key6>;

AllowedIps::Key6 AllowedIps::KeyOf(const IpAddress& address) {
  Key6 key = 0;
  for (uint8_t byte : address.mapped()) key = key << 8 | byte;
  return key;
}

void AllowedIps::Insert(const IpPrefix& prefix, Owner owner) {
  if (prefix.is_v4()) {
    v4_.Insert(prefix.address().v4(), prefix.length(), owner);
  } else {
    v6_.Insert(KeyOf(prefix.address()), prefix.length(), owner);
  }
}

void AllowedIps::Remove(const IpPrefix& prefix) {
  if (prefix.is_v4()) {
    v4_.Remove(prefix.address().v4(), prefix.length());
  } else {
    v6_.Remove(KeyOf(prefix.address()), prefix.length());
  }
}

void AllowedIps::RemoveOwner(Owner owner) {
  v4_.RemoveOwner(owner);
  v6_.RemoveOwner(owner);
}

std::vector<IpPrefix> AllowedIps::List(Owner owner) const {
  std::vector<IpPrefix> prefixes;
  v4_.ForEach(owner, [&](uint32_t key, int length) {
    prefixes.emplace_back(IpAddress::V4(key), length);
  });
  v6_.ForEach(owner, [&](Key6 key, int length) {
    std::array<uint8_t, 16> bytes;
    for (int i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(key >> (120 - 8 * i));
    prefixes.emplace_back(IpAddress::FromBytes(bytes), length);
  });
  return prefixes;
}

}  // namespace im::tunnel
