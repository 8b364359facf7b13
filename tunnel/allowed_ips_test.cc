#include "tunnel/allowed_ips.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/random.h"

namespace im::tunnel {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kNobody = AllowedIps::kNobody;

IpAddress Address(const char* text) { return *IpAddress::Parse(text); }
IpPrefix Prefix(const char* text) { return *IpPrefix::Parse(text); }

TEST(AllowedIpsTest, TheLongestPrefixWins) {
  AllowedIps ips;
  ips.Insert(Prefix("10.77.0.0/16"), 0);
  ips.Insert(Prefix("10.77.0.3/32"), 1);
  ips.Insert(Prefix("10.77.0.0/24"), 2);
  EXPECT_EQ(ips.Lookup(Address("10.77.0.3")), 1u);
  EXPECT_EQ(ips.Lookup(Address("10.77.0.4")), 2u);
  EXPECT_EQ(ips.Lookup(Address("10.77.1.4")), 0u);
  EXPECT_EQ(ips.Lookup(Address("10.78.1.4")), kNobody);
}

TEST(AllowedIpsTest, EveryNestedPrefixCanBeTakenAway) {
  AllowedIps ips;
  const std::vector<const char*> nested = {"0.0.0.0/0", "10.0.0.0/8", "10.64.0.0/10",
                                           "10.77.0.0/16", "10.77.0.0/24", "10.77.0.0/31",
                                           "10.77.0.0/32"};
  for (uint32_t i = 0; i < nested.size(); ++i) ips.Insert(Prefix(nested[i]), i);
  for (size_t i = nested.size(); i-- > 0;) {
    EXPECT_EQ(ips.Lookup(Address("10.77.0.0")), i);
    ips.Remove(Prefix(nested[i]));
  }
  EXPECT_EQ(ips.Lookup(Address("10.77.0.0")), kNobody);
  EXPECT_EQ(ips.size(), 0u);
}

TEST(AllowedIpsTest, TheNewestOwnerOfAPrefixHasItAlone) {
  AllowedIps ips;
  ips.Insert(Prefix("10.0.0.1/32"), 0);
  ips.Insert(Prefix("10.0.0.2/32"), 0);
  ips.Insert(Prefix("10.0.0.1/32"), 1);
  EXPECT_EQ(ips.Lookup(Address("10.0.0.1")), 1u);
  EXPECT_THAT(ips.List(0), ElementsAre(Prefix("10.0.0.2/32")));
  EXPECT_THAT(ips.List(1), ElementsAre(Prefix("10.0.0.1/32")));
  ips.RemoveOwner(1);
  EXPECT_EQ(ips.Lookup(Address("10.0.0.1")), kNobody);
  EXPECT_EQ(ips.Lookup(Address("10.0.0.2")), 0u);
}

TEST(AllowedIpsTest, TheFamiliesAreApart) {
  AllowedIps ips;
  ips.Insert(Prefix("0.0.0.0/0"), 0);
  EXPECT_EQ(ips.Lookup(Address("fd00::1")), kNobody);
  ips.Insert(Prefix("::/0"), 1);
  EXPECT_EQ(ips.Lookup(Address("fd00::1")), 1u);
  EXPECT_EQ(ips.Lookup(Address("1.2.3.4")), 0u);
  ips.Insert(Prefix("fd00::1/128"), 2);
  EXPECT_EQ(ips.Lookup(Address("fd00::1")), 2u);
  EXPECT_EQ(ips.Lookup(Address("fd00::2")), 1u);
}

TEST(AllowedIpsTest, APredicateLeavesTheNextShorterPrefix) {
  AllowedIps ips;
  ips.Insert(Prefix("10.77.0.0/16"), 0);
  ips.Insert(Prefix("10.77.0.0/24"), 1);
  ips.Insert(Prefix("10.77.0.3/32"), 2);
  const auto without = [&](AllowedIps::Owner skipped) {
    return ips.Lookup(Address("10.77.0.3"), [=](AllowedIps::Owner o) { return o < skipped; });
  };
  EXPECT_EQ(without(3), 2u);
  EXPECT_EQ(without(2), 1u);
  EXPECT_EQ(without(1), 0u);
  EXPECT_EQ(without(0), kNobody);
  EXPECT_TRUE(ips.Owns(0, Address("10.77.0.3")));
  EXPECT_FALSE(ips.Owns(2, Address("10.77.0.4")));
}

TEST(AllowedIpsTest, ListsAreInOrderOfInsertIpv4First) {
  AllowedIps ips;
  ips.Insert(Prefix("fd00::/64"), 3);
  ips.Insert(Prefix("10.2.0.0/16"), 3);
  ips.Insert(Prefix("10.1.0.0/16"), 3);
  EXPECT_THAT(ips.List(3), ElementsAre(Prefix("10.2.0.0/16"), Prefix("10.1.0.0/16"),
                                       Prefix("fd00::/64")));
  EXPECT_THAT(ips.List(2), IsEmpty());
  EXPECT_THAT(ips.List(99), IsEmpty());
}

TEST(AllowedIpsTest, RemovingWhatIsNotThereChangesNothing) {
  AllowedIps ips;
  ips.Insert(Prefix("10.0.0.0/24"), 0);
  ips.Insert(Prefix("10.0.1.0/24"), 0);
  ips.Remove(Prefix("10.0.0.0/23"));  // a fork, owned by nobody
  ips.Remove(Prefix("10.0.0.0/25"));
  ips.Remove(Prefix("11.0.0.0/24"));
  ips.RemoveOwner(7);
  EXPECT_EQ(ips.size(), 2u);
  EXPECT_EQ(ips.Lookup(Address("10.0.1.9")), 0u);
}

TEST(AllowedIpsTest, NodesAreGivenBack) {
  PrefixTrie<uint32_t> trie;
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < 1000; ++i) trie.Insert(i * 2654435761u, 32, i % 10);
    EXPECT_LE(trie.nodes(), 1999u);
    for (uint32_t owner = 0; owner < 10; ++owner) trie.RemoveOwner(owner);
    EXPECT_EQ(trie.size(), 0u);
    EXPECT_EQ(trie.nodes(), 0u);
  }
}

TEST(AllowedIpsTest, ManyHostRoutesAreStillSkippedAndTakenAway) {
  AllowedIps ips;
  ips.Insert(Prefix("10.0.0.0/8"), 0);
  ips.Insert(Prefix("fd00::/8"), 0);
  std::array<uint8_t, 16> six{0xfd};
  const auto v4 = [](uint32_t i) { return IpAddress::V4(0x0a000000 + i * 7); };
  const auto v6 = [&](uint32_t i) {
    six[14] = static_cast<uint8_t>(i >> 8);
    six[15] = static_cast<uint8_t>(i);
    return IpAddress::FromBytes(six);
  };
  for (uint32_t i = 1; i <= 1000; ++i) {
    ips.Insert(IpPrefix::Host(v4(i)), i);
    ips.Insert(IpPrefix::Host(v6(i)), i);
  }
  ips.RemoveOwner(3);
  ips.Insert(IpPrefix::Host(v4(4)), 5);
  ips.Insert(IpPrefix::Host(v6(4)), 5);
  for (uint32_t i = 1; i <= 1000; ++i) {
    const uint32_t expected = i == 3 ? 0 : i == 4 ? 5 : i;
    EXPECT_EQ(ips.Lookup(v4(i)), expected);
    EXPECT_EQ(ips.Lookup(v6(i)), expected);
    EXPECT_EQ(ips.Lookup(v4(i), [=](uint32_t o) { return o != expected; }),
              expected == 0 ? kNobody : 0u);
  }
  EXPECT_EQ(ips.Lookup(IpAddress::V4(0x0a000001)), 0u);
}

// Slow and simple: a list, searched through.
class Model {
 public:
  void Insert(const IpPrefix& prefix, uint32_t owner) {
    Remove(prefix);
    entries_.push_back({prefix, owner});
  }
  void Remove(const IpPrefix& prefix) {
    std::erase_if(entries_, [&](const Entry& e) { return e.prefix == prefix; });
  }
  void RemoveOwner(uint32_t owner) {
    std::erase_if(entries_, [&](const Entry& e) { return e.owner == owner; });
  }
  template <typename Accept>
  uint32_t Lookup(const IpAddress& address, const Accept& accept) const {
    int length = -1;
    uint32_t best = kNobody;
    for (const Entry& e : entries_) {
      if (e.prefix.Contains(address) && e.prefix.length() > length && accept(e.owner)) {
        length = e.prefix.length();
        best = e.owner;
      }
    }
    return best;
  }
  std::vector<IpPrefix> List(uint32_t owner) const {
    std::vector<IpPrefix> list;
    for (bool v4 : {true, false})
      for (const Entry& e : entries_)
        if (e.owner == owner && e.prefix.is_v4() == v4) list.push_back(e.prefix);
    return list;
  }
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    IpPrefix prefix;
    uint32_t owner;
  };
  std::vector<Entry> entries_;
};

// Few distinct bits, so that prefixes nest and collide.
IpAddress RandomAddress(Random& random) {
  if (random.Below(2) == 0) {
    return IpAddress::V4(0x0a000000 | (random.Uint32() & 0x0003000f));
  }
  std::array<uint8_t, 16> bytes{0xfd};
  bytes[7] = static_cast<uint8_t>(random.Below(4));
  bytes[8] = static_cast<uint8_t>(random.Below(2) << 7);
  bytes[15] = static_cast<uint8_t>(random.Below(8));
  return IpAddress::FromBytes(bytes);
}

TEST(AllowedIpsTest, AgreesWithASlowModel) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SeededRandom random(seed);
    AllowedIps ips;
    Model model;
    for (int step = 0; step < 1500; ++step) {
      const IpAddress address = RandomAddress(random);
      const int length = static_cast<int>(random.Below(address.is_v4() ? 33 : 129));
      const IpPrefix prefix(address, length);
      const auto owner = static_cast<uint32_t>(random.Below(6));
      switch (random.Below(10)) {
        case 0:
          ips.Remove(prefix);
          model.Remove(prefix);
          break;
        case 1:
          if (random.Below(10) == 0) {
            ips.RemoveOwner(owner);
            model.RemoveOwner(owner);
          }
          break;
        case 2:
        case 3:
        case 4:
          ips.Insert(prefix, owner);
          model.Insert(prefix, owner);
          break;
        default: {
          const uint64_t live = random.Below(64);
          const auto accept = [live](uint32_t o) { return (live >> o & 1) != 0; };
          ASSERT_EQ(ips.Lookup(address, accept), model.Lookup(address, accept))
              << "seed " << seed << " step " << step;
          break;
        }
      }
      ASSERT_EQ(ips.size(), model.size());
      if (step % 100 != 0) continue;
      for (uint32_t o = 0; o < 6; ++o)
        ASSERT_EQ(ips.List(o), model.List(o)) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace im::tunnel
