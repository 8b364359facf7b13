#include "orchestrator/address_pool.h"

#include <gtest/gtest.h>

namespace im::orchestrator {
namespace {

IpPrefix Network(const char* text) { return *IpPrefix::Parse(text); }
IpAddress Address(const char* text) { return *IpAddress::Parse(text); }

TEST(AddressPool, GivesOutTheLowestFirstAndNeverWhatIsTheNetworks) {
  AddressPool pool(Network("10.9.0.0/29"));
  EXPECT_EQ(pool.gateway(), Address("10.9.0.1"));
  EXPECT_EQ(pool.size(), 5u);
  for (const char* expected : {"10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"}) {
    EXPECT_EQ(pool.Take(), Address(expected));
  }
  EXPECT_EQ(pool.Take(), std::nullopt);
  EXPECT_EQ(pool.TakeHighest(), std::nullopt);
}

TEST(AddressPool, ReservedAddressesAreSkipped) {
  AddressPool pool(Network("10.9.0.0/29"));
  EXPECT_TRUE(pool.Reserve(Address("10.9.0.2")));
  EXPECT_FALSE(pool.Reserve(Address("10.9.0.2")));
  EXPECT_TRUE(pool.Reserve(Address("10.9.0.4")));
  for (const char* unusable : {"10.9.0.0", "10.9.0.1", "10.9.0.7", "10.9.0.8", "fd00::1"}) {
    EXPECT_FALSE(pool.IsUsable(Address(unusable))) << unusable;
    EXPECT_FALSE(pool.Reserve(Address(unusable))) << unusable;
  }
  EXPECT_EQ(pool.Take(), Address("10.9.0.3"));
  EXPECT_EQ(pool.Take(), Address("10.9.0.5"));
}

TEST(AddressPool, GuestsComeFromTheOtherEnd) {
  AddressPool pool(Network("10.9.0.0/29"));
  EXPECT_EQ(pool.TakeHighest(), Address("10.9.0.6"));
  EXPECT_EQ(pool.TakeHighest(), Address("10.9.0.5"));
  pool.Release(Address("10.9.0.6"));
  EXPECT_EQ(pool.TakeHighest(), Address("10.9.0.6"));
  EXPECT_EQ(pool.Take(), Address("10.9.0.2"));
  EXPECT_EQ(pool.Take(), Address("10.9.0.3"));
  EXPECT_EQ(pool.Take(), Address("10.9.0.4"));
  EXPECT_EQ(pool.Take(), std::nullopt);
  pool.Release(Address("10.9.0.3"));
  pool.Release(Address("10.9.0.1"));  // never was ours to give
  EXPECT_EQ(pool.TakeHighest(), Address("10.9.0.3"));
  EXPECT_EQ(pool.Take(), std::nullopt);
}

TEST(AddressPool, WorksAtTheEdgesOfTheAddressSpace) {
  AddressPool pool(Network("255.255.255.248/30"));
  EXPECT_EQ(pool.size(), 1u);
  EXPECT_EQ(pool.TakeHighest(), Address("255.255.255.250"));
  EXPECT_EQ(pool.Take(), std::nullopt);
  AddressPool all(Network("10.0.0.0/8"));
  EXPECT_EQ(all.size(), (1u << 24) - 3);
}

}  // namespace
}  // namespace im::orchestrator
