// Any text as a set request: it is refused as a whole, or applied, and then the
// answer to a get request is well formed.

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"
#include "tunnel/device.h"
#include "tunnel/uapi.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace im::tunnel;
  const absl::string_view lines(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<UapiSet> set = ParseUapiSet(lines);
  if (!set.ok()) {
    IM_CHECK(FormatUapiErrno(set.status()) == "errno=-22\n\n");
    return 0;
  }
  im::ManualClock clock;
  im::SeededRandom random(1);
  Device device(GeneratePrivateKey(random), {}, clock, random, nullptr);
  Outbox out;
  static_cast<void>(ApplyUapiSet(*set, device, clock.Now(), out));
  const std::string answer = FormatUapiGet(device, 1, 2);
  IM_CHECK(absl::EndsWith(answer, "errno=0\n\n"));
  IM_CHECK(answer.find("\n\n") == answer.size() - 2);
  return 0;
}
