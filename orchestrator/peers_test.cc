// Stock peers: who is let in, who is not, and what outlives imd.

#include "orchestrator/peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/virtual_cluster.h"
#include "tunnel/keys.h"

namespace im::orchestrator {
namespace {

using testing::HasSubstr;

constexpr char kPeersYaml[] = R"(
name: shop
network: 10.77.0.0/29
hosts:
  web: {command: [web]}
  db: {command: [db], aliases: [store]}
)";

proto::AddPeerRequest Request(const std::string& name, uint8_t key, const std::string& address = "") {
  proto::AddPeerRequest request;
  request.set_name(name);
  request.set_public_key(std::string(tunnel::kKeyBytes, static_cast<char>(key)));
  request.set_address(address);
  return request;
}

class PeersTest : public testing::Test {
 protected:
  PeersTest() { Watch(); }
  Peers& peers() { return cluster_.controller().peers(); }
  void Watch() {
    peers().SetSave([this](proto::SavedPeers saved, Durability) {
      if (disk_full_) return absl::ResourceExhaustedError("the disk is full");
      saved_ = std::move(saved);
      return absl::OkStatus();
    });
  }
  // Another imd, which reads what was saved.
  void Restart() {
    cluster_.KillImd();
    cluster_.StartImd();
    peers().Restore(saved_);
    Watch();
  }

  VirtualCluster cluster_{kPeersYaml};
  proto::SavedPeers saved_;
  bool disk_full_ = false;
};

TEST_F(PeersTest, AddressesComeFromTheTop) {
  EXPECT_EQ(peers().Add(Request("a", 1))->address(), "10.77.0.6");
  EXPECT_EQ(peers().Add(Request("b", 2))->address(), "10.77.0.5");
  EXPECT_EQ(peers().Add(Request("c", 3, "10.77.0.4"))->address(), "10.77.0.4");
  EXPECT_THAT(std::string(peers().Add(Request("d", 4)).status().message()),
              HasSubstr("no address left"));
  ASSERT_TRUE(peers().Remove("b").ok());
  EXPECT_EQ(peers().Add(Request("d", 4))->address(), "10.77.0.5");
}

TEST(PeersDualStackTest, APeerHasBothAddressesAndIsNamedByEither) {
  VirtualCluster cluster(
      "name: shop\nnetwork: {cidr: 10.77.0.0/29, ipv6: 'fd00:77::/64'}\nhosts: {web: {command: [web]}}\n");
  Peers& peers = cluster.controller().peers();
  EXPECT_EQ(peers.Add(Request("a", 1))->address6(), "fd00:77::a4d:6");
  EXPECT_EQ(peers.Add(Request("b", 2, "fd00:77::10.77.0.4"))->address(), "10.77.0.4");
  EXPECT_TRUE(absl::IsInvalidArgument(peers.Add(Request("c", 3, "fd00:78::a4d:5")).status()));
  EXPECT_EQ(cluster.controller().hosts().NameOf(*IpAddress::Parse("fd00:77::a4d:6")), "a");
}

TEST_F(PeersTest, WhatIsRefusedChangesNothing) {
  ASSERT_TRUE(peers().Add(Request("a", 1)).ok());
  for (const auto& request :
       {Request("a", 2), Request("web", 2), Request("store", 2), Request("b", 1), Request("", 2),
        Request("b", 2, "x"), Request("b", 2, "10.77.0.1"), Request("b", 2, "10.77.0.2"), Request("b", 2, "10.77.0.6"),
        Request("b", 2, "10.77.0.7"), Request("b", 2, "fd00::1")}) {
    EXPECT_FALSE(peers().Add(request).ok()) << request.ShortDebugString();
  }
  proto::AddPeerRequest short_key = Request("b", 2);
  short_key.set_public_key("short");
  EXPECT_TRUE(absl::IsInvalidArgument(peers().Add(short_key).status()));
  EXPECT_EQ(peers().List().size(), 1u);
  EXPECT_EQ(saved_.peers_size(), 1);
}

TEST_F(PeersTest, WhatCannotBeSavedIsUndone) {
  disk_full_ = true;
  EXPECT_THAT(std::string(peers().Add(Request("a", 1)).status().message()),
              HasSubstr("the disk is full"));
  EXPECT_TRUE(peers().List().empty());
  disk_full_ = false;
  EXPECT_EQ(peers().Add(Request("a", 1))->address(), "10.77.0.6") << "the address is free again";
  disk_full_ = true;
  EXPECT_FALSE(peers().Remove("a").ok());
  EXPECT_TRUE(peers().List().empty()) << "it is cut off all the same";
}

TEST_F(PeersTest, AnotherImdHasThemAndGivesTheirAddressesToNobodyElse) {
  ASSERT_TRUE(peers().Add(Request("a", 1)).ok());
  Restart();
  ASSERT_EQ(peers().List().size(), 1u);
  EXPECT_EQ(peers().List()[0].address(), "10.77.0.6");
  EXPECT_EQ(cluster_.controller().Join("guest", "ls", nullptr)->address(), "10.77.0.5");
  EXPECT_EQ(cluster_.controller().hosts().NameOf(IpAddress::V4(0x0a4d0006)), "a");
  ASSERT_TRUE(peers().Remove("a").ok());
  EXPECT_EQ(cluster_.controller().hosts().NameOf(IpAddress::V4(0x0a4d0006)), "10.77.0.6");
}

TEST_F(PeersTest, OneThatIsInTheWayOfAHostIsSetAsideAndKept) {
  ASSERT_TRUE(peers().Add(Request("a", 1)).ok());
  saved_.mutable_peers(0)->set_address(std::string("\x0a\x4d\x00\x02", 4));  // web's
  proto::SavedPeer* unreadable = saved_.add_peers();
  unreadable->set_name("b");
  Restart();
  ASSERT_EQ(peers().List().size(), 1u);
  EXPECT_EQ(peers().List()[0].problem(), "the address 10.77.0.2 is taken by web");
  ASSERT_TRUE(peers().Add(Request("c", 3)).ok());
  EXPECT_EQ(saved_.peers_size(), 2) << "it is kept";
  ASSERT_TRUE(peers().Remove("a").ok());
  EXPECT_TRUE(cluster_.Wake("web").ok()) << "whose address was not given away";
}

TEST_F(PeersTest, AnUnknownOneIsSaidWithThoseThatThereAre) {
  ASSERT_TRUE(peers().Add(Request("a", 1)).ok());
  ASSERT_TRUE(peers().Add(Request("b", 2)).ok());
  EXPECT_EQ(peers().Remove("c").status(),
            absl::NotFoundError("there is no peer \"c\"; there are: a, b"));
}

}  // namespace
}  // namespace im::orchestrator
