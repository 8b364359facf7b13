// crypto: what sealing and opening of a message costs with each library that a
// tunnel can use, for messages of four sizes; and Curve25519, of which a
// handshake needs several. One thread; data in the processor's caches where they
// fit.

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bench/scenario.h"

namespace im::bench {
namespace {

constexpr const char* kLibraries[] = {"ipsec-mb", "openssl", "libsodium"};
constexpr const char* kVerbs[] = {"seal", "open"};
// A small one; a packet of MTU 1420, padded; of jumbo frames; the largest.
constexpr int kSizes[] = {64, 1424, 8928, 65'000};
constexpr double kShare = 0.05;  // of the duration, for each figure

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const int milliseconds = std::max(1, static_cast<int>(options.duration_s * kShare * 1000));
  std::vector<std::string> libraries(std::begin(kLibraries), std::end(kLibraries));
  Table table("crypto");
  for (int i = 0; i < options.repeat; ++i) {
    // A new one each time: where its memory lies makes up to a third (IPsec-MB, 1,424 bytes).
    IM_ASSIGN_OR_RETURN(Process program,
                        Process::Start({.argv = {options.bin + "/im-crypto-speed"}}));
    for (auto library = libraries.begin(); library != libraries.end();) {
      options.Progress(i, *library);
      absl::Status status;
      for (const std::string verb : kVerbs) {
        for (const int bytes : kSizes) {
          if (!status.ok()) break;
          const auto ns = AskNumber(
              program, absl::StrCat(verb, " ", *library, " ", bytes, " ", milliseconds), "ns");
          status = ns.status();
          if (ns.ok()) table.Add(absl::StrCat(verb, " ", bytes, " B"), *library, "ns", *ns);
        }
      }
      if (!status.ok()) {
        const bool missing = absl::StrContains(status.message(), "cannot be used here");
        options.skip(*library, std::string(status.message()), /*failed=*/!missing);
      }
      library = status.ok() ? library + 1 : libraries.erase(library);
    }
    IM_ASSIGN_OR_RETURN(const double per_s,
                        AskNumber(program, absl::StrCat("x25519 ", milliseconds), "per_s"));
    table.Add("Curve25519", "libsodium", "1/s", per_s);
  }
  return table.Take();
}

}  // namespace

Scenario Crypto() {
  return {.name = "crypto",
          .description = "ChaCha20-Poly1305 by IPsec-MB, OpenSSL, libsodium; Curve25519",
          .default_repeat = 5,
          .run = Run,
          .start_s = 0.1,
          .repeat_s = 0.1,
          .repeat_durations = 25 * kShare};
}

}  // namespace im::bench
