#include "tunnel/tuning.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/log.h"

namespace im::tunnel {
namespace {

// The first of `choices` is also the default.
template <typename Value, size_t kCount>
Value Choose(const char* name, const char* text,
             const std::pair<const char*, Value> (&choices)[kCount]) {
  if (text == nullptr || text[0] == '\0') return choices[0].second;
  for (const auto& [word, value] : choices) {
    if (absl::string_view(text) == word) return value;
  }
  IM_LOG(kWarning, name, "=", text, " is not known; ", choices[0].first, " is used");
  return choices[0].second;
}

}  // namespace

Tuning Tuning::Parse(const std::function<const char*(const char*)>& get) {
  constexpr std::pair<const char*, AeadLibrary> kLibraries[] = {
      {"auto", AeadLibrary::kAuto},
      {"ipsec-mb", AeadLibrary::kIpsecMb},
      {"openssl", AeadLibrary::kOpenSsl}};
  constexpr std::pair<const char*, Switch> kSwitches[] = {
      {"auto", Switch::kAuto}, {"on", Switch::kOn}, {"off", Switch::kOff}};
  return {.aead = Choose("IM_AEAD", get("IM_AEAD"), kLibraries),
          .udp_gso = Choose("IM_UDP_GSO", get("IM_UDP_GSO"), kSwitches),
          .udp_gro = Choose("IM_UDP_GRO", get("IM_UDP_GRO"), kSwitches)};
}

const Tuning& Tuning::ByEnvironment() {
  static const Tuning tuning = Parse([](const char* name) { return std::getenv(name); });
  return tuning;
}

}  // namespace im::tunnel
