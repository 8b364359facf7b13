// What lwIP asks of the system: time, randomness, and what to do with a broken
// assertion.

#include <chrono>

#include "base/check.h"
#include "base/random.h"
#include "lwip/arch.h"
#include "lwip/sys.h"
#include "netstack/core.h"

u32_t sys_now(void) {
  im::netstack::Core* core = im::netstack::Core::current();
  if (core == nullptr) return 0;
  return static_cast<u32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                core->loop().now().time_since_epoch())
                                .count());
}

uint32_t im_lwip_random(void) { return im::SecureRandom().Uint32(); }

void im_lwip_assertion_failed(const char* message, const char* file, int line) {
  im::CheckFailed(file, line, message);
}
