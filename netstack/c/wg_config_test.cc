#include "netstack/c/wg_config.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace im::netstack {
namespace {

constexpr char kKey[] = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

TEST(WgConfig, TakesWhatWgQuickTakes) {
  const auto config = ParseWgConfig(absl::StrCat(
      "# ours\n[Interface]\nPrivateKey = ", kKey,
      "\nAddress = 10.0.0.1/24, fd00::1/64\nListenPort=51820\nMTU = 1380\n\n[peer]\nPublicKey=", kKey,
      "\nPresharedKey = ", kKey, "\nAllowedIPs = 10.0.0.0/24 , fd00::/64 # all\nAllowedIPs=10.1.0.0/16\n",
      "Endpoint = [::1]:1000\nPersistentKeepalive = 25\n[Peer]\nPublicKey = ", kKey, "\r\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->private_key.ToBase64(), kKey);
  ASSERT_EQ(config->addresses.size(), 2u);
  EXPECT_EQ(config->addresses[0].address, IpAddress::V4(0x0a000001));
  EXPECT_EQ(config->addresses[1].prefix_length, 64);
  EXPECT_EQ(config->listen, (Endpoint{IpAddress(), 51820}));
  EXPECT_EQ(config->mtu, 1380);
  ASSERT_EQ(config->peers.size(), 2u);
  const tunnel::PeerConfig& peer = config->peers[0];
  EXPECT_EQ(peer.public_key.ToBase64(), kKey);
  EXPECT_EQ(peer.preshared_key.ToBase64(), kKey);
  EXPECT_EQ(peer.allowed_ips.size(), 3u);
  EXPECT_EQ(peer.endpoint, Endpoint::Parse("[::1]:1000"));
  EXPECT_EQ(peer.persistent_keepalive.count(), 25);
}

TEST(WgConfig, ListensOnAnAddressToo) {
  const auto config = ParseWgConfig(absl::StrCat("[Interface]\nPrivateKey=", kKey,
                                                 "\nAddress=10.0.0.1\nListenPort=127.0.0.1:5\n"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen, Endpoint::Parse("127.0.0.1:5"));
  EXPECT_EQ(config->addresses[0].prefix_length, 32);
}

TEST(WgConfig, SaysWhichLineIsWrong) {
  const std::string start = absl::StrCat("[Interface]\nPrivateKey = ", kKey, "\nAddress=10.0.0.1/8\n");
  ASSERT_TRUE(ParseWgConfig(start).ok());
  for (const char* wrong :
       {"MTU = many", "MTU = 1400\nMTU = 1400", "ListenPort = 70000", "Address = 10.0.0.1/33",
        "Address = 10.0.0.1/0", "Address =", "PostUp = reboot", "[Peers]", "[Interface]", "[Peer]",
        "[Peer]\nPublicKey = short", "[Peer]\nEndpoint = example.com:1", "=", "junk",
        "[Peer]\nEndpoint = 127.0.0.1:0", "[Peer]\nAllowedIPs = 10.0.0.0/99",
        "[Peer]\nPersistentKeepalive = -1"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseWgConfig(start + wrong + "\n").status())) << wrong;
  EXPECT_EQ(ParseWgConfig(start + "x = y").status().message(), "line 4: x is not known here");
  for (const char* wrong : {"", "x = y", "[Interface]", "[Interface]\nAddress = 10.0.0.1"})
    EXPECT_TRUE(absl::IsInvalidArgument(ParseWgConfig(wrong).status())) << wrong;
}

TEST(WgConfig, DoesNotRepeatSecrets) {
  const auto status = ParseWgConfig("[Interface]\nPrivateKey = sesame\n").status();
  EXPECT_EQ(status.message(), "line 2: privatekey has a value that cannot be");
}

}  // namespace
}  // namespace im::netstack
