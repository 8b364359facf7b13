#include "tunnel/uapi.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace im::tunnel {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Hex(char digit) { return std::string(64, digit); }

TEST(ParseUapiSetTest, TakesEveryKey) {
  const absl::StatusOr<UapiSet> set = ParseUapiSet(absl::StrCat(
      "private_key=", Hex('1'), "\nlisten_port=51820\nfwmark=42\nreplace_peers=true\n",
      "public_key=", Hex('2'), "\nupdate_only=true\npreshared_key=", Hex('3'),
      "\nendpoint=[2001:db8::1]:51821\npersistent_keepalive_interval=25\n",
      "replace_allowed_ips=true\nallowed_ip=10.0.0.0/8\nallowed_ip=-10.1.0.0/16\n",
      "allowed_ip=+fd00::/64\nprotocol_version=1\n",
      "public_key=", Hex('4'), "\nremove=true"));
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->private_key->ToHex(), Hex('1'));
  EXPECT_EQ(set->listen_port, 51820);
  EXPECT_EQ(set->fwmark, 42u);
  EXPECT_TRUE(set->replace_peers);
  ASSERT_EQ(set->peers.size(), 2u);
  const UapiPeer& peer = set->peers[0];
  EXPECT_EQ(peer.public_key.ToHex(), Hex('2'));
  EXPECT_TRUE(peer.update_only);
  EXPECT_FALSE(peer.remove);
  EXPECT_EQ(peer.preshared_key->ToHex(), Hex('3'));
  EXPECT_EQ(peer.endpoint, Endpoint::Parse("[2001:db8::1]:51821"));
  EXPECT_EQ(peer.persistent_keepalive, std::chrono::seconds(25));
  EXPECT_TRUE(peer.replace_allowed_ips);
  ASSERT_EQ(peer.allowed_ips.size(), 3u);
  EXPECT_EQ(peer.allowed_ips[0].prefix, IpPrefix::Parse("10.0.0.0/8"));
  EXPECT_TRUE(peer.allowed_ips[1].remove);
  EXPECT_FALSE(peer.allowed_ips[2].remove);
  EXPECT_TRUE(set->peers[1].remove);
  EXPECT_FALSE(set->peers[1].preshared_key);
}

TEST(ParseUapiSetTest, NothingIsAskedByNothing) {
  const absl::StatusOr<UapiSet> set = ParseUapiSet("");
  ASSERT_TRUE(set.ok());
  EXPECT_FALSE(set->private_key);
  EXPECT_TRUE(set->peers.empty());
}

TEST(ParseUapiSetTest, RefusesWhatMakesNoSense) {
  const std::string peer = absl::StrCat("public_key=", Hex('2'), "\n");
  const std::string bad[] = {
      "private_key=12",
      absl::StrCat("private_key=", std::string(64, 'g')),
      absl::StrCat("private_key=", Hex('1'), "0"),
      "listen_port=65536",
      "listen_port=-1",
      "listen_port=",
      "listen_port= 1",
      "listen_port=1x",
      "fwmark=4294967296",
      "replace_peers=yes",
      "public_key=zz",
      "no_such_key=1",
      "endpoint=192.0.2.1:1",  // before any public_key
      "listen_port",
      "=",
      "\nlisten_port=1",
      absl::StrCat(peer, "listen_port=1"),  // a device key behind a peer
      absl::StrCat(peer, "endpoint=192.0.2.1"),
      absl::StrCat(peer, "endpoint=example.com:1"),
      absl::StrCat(peer, "endpoint=192.0.2.1:99999"),
      absl::StrCat(peer, "allowed_ip=10.0.0.0/33"),
      absl::StrCat(peer, "allowed_ip=--10.0.0.0/8"),
      absl::StrCat(peer, "allowed_ip="),
      absl::StrCat(peer, "persistent_keepalive_interval=65536"),
      absl::StrCat(peer, "preshared_key="),
      absl::StrCat(peer, "protocol_version=2"),
      absl::StrCat(peer, "remove=1"),
  };
  for (const std::string& lines : bad) {
    const absl::StatusOr<UapiSet> set = ParseUapiSet(lines);
    EXPECT_TRUE(absl::IsInvalidArgument(set.status())) << lines;
  }
}

TEST(ParseUapiSetTest, ErrorsNameTheLineButNoSecret) {
  const absl::Status status =
      ParseUapiSet(absl::StrCat("listen_port=1\nprivate_key=", Hex('1'), "7\n")).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("line 2"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("private_key"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("1111")));
}

TEST(FormatUapiErrnoTest, IsZeroOrNegative) {
  EXPECT_EQ(FormatUapiErrno(absl::OkStatus()), "errno=0\n\n");
  EXPECT_EQ(FormatUapiErrno(absl::InvalidArgumentError("")), "errno=-22\n\n");
  EXPECT_EQ(FormatUapiErrno(absl::AlreadyExistsError("")), "errno=-98\n\n");
}

class ApplyUapiTest : public testing::Test {
 protected:
  void Apply(const std::string& lines) {
    const absl::StatusOr<UapiSet> set = ParseUapiSet(lines);
    ASSERT_TRUE(set.ok()) << set.status() << "\n" << lines;
    const absl::Status status = ApplyUapiSet(*set, device_, clock_.Now(), out_);
    ASSERT_TRUE(status.ok()) << status;
  }
  std::string Get() { return FormatUapiGet(device_, 51820, 7); }
  std::string PeerLine(char digit) const {
    return absl::StrCat("public_key=", Hex(digit), "\n");
  }

  ManualClock clock_;
  SeededRandom random_{1};
  Device device_{GeneratePrivateKey(random_), {}, clock_, random_, nullptr};
  Outbox out_;
};

TEST_F(ApplyUapiTest, WhatIsSetCanBeRead) {
  Apply(absl::StrCat(PeerLine('2'), "preshared_key=", Hex('3'),
                     "\nendpoint=192.0.2.1:51821\npersistent_keepalive_interval=25\n",
                     "allowed_ip=10.0.0.0/8\nallowed_ip=fd00::/64\n"));
  const std::string text = Get();
  for (const std::string& line :
       {absl::StrCat("private_key=", device_.private_key().ToHex()), std::string("listen_port=51820"),
        std::string("fwmark=7"), absl::StrCat("public_key=", Hex('2')),
        absl::StrCat("preshared_key=", Hex('3')), std::string("protocol_version=1"),
        std::string("endpoint=192.0.2.1:51821"), std::string("last_handshake_time_sec=0"),
        std::string("last_handshake_time_nsec=0"), std::string("rx_bytes=0"),
        std::string("persistent_keepalive_interval=25"), std::string("allowed_ip=10.0.0.0/8"),
        std::string("allowed_ip=fd00::/64")}) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat(line, "\n")));
  }
  EXPECT_TRUE(absl::EndsWith(text, "errno=0\n\n"));
  EXPECT_EQ(text.find("\n\n"), text.size() - 2);
}

TEST_F(ApplyUapiTest, AKeyCanBeTakenAway) {
  Apply(absl::StrCat("private_key=", Hex('0'), "\n"));
  EXPECT_THAT(Get(), Not(HasSubstr("private_key=")));
}

TEST_F(ApplyUapiTest, PartsOfAPeerChangeAlone) {
  Apply(absl::StrCat(PeerLine('2'), "allowed_ip=10.0.0.0/8\nendpoint=192.0.2.1:1\n"));
  Apply(absl::StrCat(PeerLine('2'), "allowed_ip=10.1.0.0/16\npersistent_keepalive_interval=5\n"));
  std::string text = Get();
  EXPECT_THAT(text, HasSubstr("allowed_ip=10.0.0.0/8\n"));
  EXPECT_THAT(text, HasSubstr("allowed_ip=10.1.0.0/16\n"));
  EXPECT_THAT(text, HasSubstr("endpoint=192.0.2.1:1\n"));
  Apply(absl::StrCat(PeerLine('2'), "allowed_ip=-10.1.0.0/16\n"));
  text = Get();
  EXPECT_THAT(text, Not(HasSubstr("10.1.0.0")));
  EXPECT_THAT(text, HasSubstr("allowed_ip=10.0.0.0/8\n"));
  Apply(absl::StrCat(PeerLine('2'), "replace_allowed_ips=true\nallowed_ip=10.2.0.0/16\n"));
  text = Get();
  EXPECT_THAT(text, Not(HasSubstr("10.0.0.0")));
  EXPECT_THAT(text, HasSubstr("allowed_ip=10.2.0.0/16\n"));
}

TEST_F(ApplyUapiTest, AnAllowedIpMovesToItsNewestOwnerAndStays) {
  Apply(absl::StrCat(PeerLine('2'), "allowed_ip=10.0.0.0/8\n"));
  Apply(absl::StrCat(PeerLine('3'), "allowed_ip=10.0.0.0/8\n"));
  // A change of something else does not move it back.
  Apply(absl::StrCat(PeerLine('2'), "persistent_keepalive_interval=5\n"));
  EXPECT_EQ(device_.Route(*IpAddress::Parse("10.0.0.1")), PublicKey::FromHex(Hex('3')));
}

TEST_F(ApplyUapiTest, PeersGo) {
  Apply(absl::StrCat(PeerLine('2'), PeerLine('3'), PeerLine('4')));
  EXPECT_EQ(device_.ListPeers().size(), 3u);
  Apply(absl::StrCat(PeerLine('3'), "remove=true\n"));
  Apply(absl::StrCat(PeerLine('9'), "remove=true\n"));  // not there: no matter
  EXPECT_EQ(device_.ListPeers().size(), 2u);
  Apply(absl::StrCat("replace_peers=true\n", PeerLine('5')));
  ASSERT_EQ(device_.ListPeers().size(), 1u);
  EXPECT_EQ(device_.ListPeers()[0].public_key.ToHex(), Hex('5'));
}

TEST_F(ApplyUapiTest, UpdateOnlyMakesNoPeer) {
  Apply(absl::StrCat(PeerLine('2'), "update_only=true\nallowed_ip=10.0.0.0/8\n"));
  EXPECT_TRUE(device_.ListPeers().empty());
  Apply(PeerLine('2'));
  Apply(absl::StrCat(PeerLine('2'), "update_only=true\nallowed_ip=10.0.0.0/8\n"));
  EXPECT_THAT(Get(), HasSubstr("allowed_ip=10.0.0.0/8\n"));
}

TEST_F(ApplyUapiTest, OurOwnKeyAsAPeerIsSkipped) {
  Apply(absl::StrCat("public_key=", device_.public_key().ToHex(), "\n", PeerLine('2')));
  EXPECT_EQ(device_.ListPeers().size(), 1u);
}

TEST(FormatUapiDropsTest, NamesEveryReason) {
  DropCounters drops;
  drops.Add(DropReason::kReplayed, 3);
  const std::string text = FormatUapiDrops(drops);
  EXPECT_THAT(text, HasSubstr("drop_replayed=3\n"));
  EXPECT_THAT(text, HasSubstr("drop_malformed=0\n"));
  EXPECT_TRUE(absl::EndsWith(text, "errno=0\n\n"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
            static_cast<int>(DropReason::kCount) + 2);
}

}  // namespace
}  // namespace im::tunnel
