#include "tunnel/tuning.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace im::tunnel {
namespace {

Tuning ParseTuning(const std::map<std::string, std::string>& environment) {
  return Tuning::Parse([&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(TuningTest, AllIsAutomaticWhereNothingIsSaid) {
  for (const Tuning& tuning : {ParseTuning({}), ParseTuning({{"IM_AEAD", ""}, {"IM_UDP_GSO", "auto"}})}) {
    EXPECT_EQ(tuning.aead, AeadLibrary::kAuto);
    EXPECT_EQ(tuning.udp_gso, Switch::kAuto);
    EXPECT_EQ(tuning.udp_gro, Switch::kAuto);
  }
}

TEST(TuningTest, EachSwitchIsItsOwn) {
  const Tuning tuning =
      ParseTuning({{"IM_AEAD", "openssl"}, {"IM_UDP_GSO", "off"}, {"IM_UDP_GRO", "on"}});
  EXPECT_EQ(tuning.aead, AeadLibrary::kOpenSsl);
  EXPECT_EQ(tuning.udp_gso, Switch::kOff);
  EXPECT_EQ(tuning.udp_gro, Switch::kOn);
  EXPECT_EQ(ParseTuning({{"IM_AEAD", "ipsec-mb"}}).aead, AeadLibrary::kIpsecMb);
}

TEST(TuningTest, WhatIsUnknownIsAutomatic) {
  const Tuning tuning = ParseTuning({{"IM_AEAD", "OpenSSL"}, {"IM_UDP_GSO", "0"}});
  EXPECT_EQ(tuning.aead, AeadLibrary::kAuto);
  EXPECT_EQ(tuning.udp_gso, Switch::kAuto);
}

}  // namespace
}  // namespace im::tunnel
