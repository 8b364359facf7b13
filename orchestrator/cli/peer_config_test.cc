#include "orchestrator/cli/peer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "orchestrator/cli/qr_code.h"

namespace im::orchestrator::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

PeerConfig Config() {
  return {.cluster = "shop",
          .name = "laptop",
          .address = "10.77.255.254",
          .private_key = "private=",
          .public_key = "public=",
          .preshared_key = "",
          .gateway_public_key = "gateway=",
          .endpoint = "192.0.2.1:51820",
          .network = "10.77.0.0/16",
          .resolver = "10.77.0.1",
          .domain = "shop.im"};
}

TEST(PeerConfigTest, IsWhatWgQuickReads) {
  EXPECT_EQ(Config().ToText(/*comments=*/false),
            "[Interface]\nPrivateKey = private=\nAddress = 10.77.255.254/32\nMTU = 1420\n"
            "DNS = 10.77.0.1, shop.im\n\n[Peer]\nPublicKey = gateway=\n"
            "AllowedIPs = 10.77.0.0/16\nEndpoint = 192.0.2.1:51820\nPersistentKeepalive = 25\n");
}

TEST(PeerConfigTest, ADualStackHasTwoAddressesAndNetworks) {
  PeerConfig config = Config();
  config.address6 = "fd00:77::a4d:fffe";
  config.network6 = "fd00:77::/96";
  EXPECT_THAT(config.ToText(false), HasSubstr("Address = 10.77.255.254/32, fd00:77::a4d:fffe/128\n"));
  EXPECT_THAT(config.ToText(false), HasSubstr("AllowedIPs = 10.77.0.0/16, fd00:77::/96\n"));
  const auto json = nlohmann::json::parse(config.ToJson());
  EXPECT_EQ(json["address6"], "fd00:77::a4d:fffe");
  EXPECT_EQ(json["allowed_ips"], (std::vector{"10.77.0.0/16", "fd00:77::/96"}));
  EXPECT_FALSE(nlohmann::json::parse(Config().ToJson()).contains("address6"));
}

TEST(PeerConfigTest, DnsIsAMatterOfTheSystem) {
  PeerConfig config = Config();
  config.dns = PeerDns::kResolvectl;
  EXPECT_THAT(config.ToText(false),
              HasSubstr("PostUp = resolvectl dns %i 10.77.0.1; resolvectl domain %i shop.im\n"));
  EXPECT_THAT(config.ToText(false), Not(HasSubstr("DNS =")));
  config.dns = PeerDns::kNone;
  EXPECT_THAT(config.ToText(true), Not(HasSubstr("10.77.0.1,")));
}

TEST(PeerConfigTest, JsonHasItAll) {
  PeerConfig config = Config();
  config.preshared_key = "shared=";
  const auto json = nlohmann::json::parse(config.ToJson());
  EXPECT_EQ(json["allowed_ips"][0], "10.77.0.0/16");
  EXPECT_EQ(json["private_key"], "private=");
  EXPECT_EQ(json["config"], config.ToText(/*comments=*/true));
  EXPECT_THAT(json["config"].get<std::string>(), HasSubstr("PresharedKey = shared=\n"));
}

TEST(PeerConfigTest, EndpointsAreCompleted) {
  for (const auto& [text, whole] :
       {std::pair("vpn.example.org", "vpn.example.org:51820"), {"192.0.2.1", "192.0.2.1:51820"},
        {"192.0.2.1:4500", "192.0.2.1:4500"}, {"a:1", "a:1"}, {"fd00::1", "[fd00::1]:51820"},
        {"[fd00::1]:4500", "[fd00::1]:4500"}}) {
    EXPECT_EQ(*CompleteEndpoint(text, 51820), whole);
  }
  for (const char* text : {"", ":51820", "a b", "a:0", "a:65536", "a:b", "[fd00::1]", "[a]:1",
                           "a\nPostUp = x:1", "a/b"}) {
    EXPECT_FALSE(CompleteEndpoint(text, 51820).ok()) << text;
  }
}

TEST(QrCodeTest, HasAQuietZoneAndASizeThatFits) {
  // Version 1 has 21 modules (ISO/IEC 18004 7.1); 4 around it.
  const std::string code = *QrCode("short", {.unicode = true});
  EXPECT_EQ(DisplayWidth(code.substr(0, code.find('\n'))), 29u);
  EXPECT_EQ(std::count(code.begin(), code.end(), '\n'), 15);
  const std::string plain = *QrCode("short", {});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), '\n'), 29);
  EXPECT_THAT(plain, testing::StartsWith(std::string(58, '#') + "\n"));
  EXPECT_THAT(*QrCode("short", {.colours = true, .unicode = true}), HasSubstr("\x1b["));
  EXPECT_FALSE(QrCode(std::string(3000, 'x'), {}).ok()) << "a code holds 2,953 bytes";
}

}  // namespace
}  // namespace im::orchestrator::cli
