#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace im {

uint64_t Random::Uint64() {
  uint64_t value;
  uint8_t bytes[sizeof(value)];
  Fill(bytes);
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t Random::Below(uint64_t bound) {
  IM_CHECK(bound > 0);
  // Values below 2^64 mod bound would make small results more likely.
  const uint64_t biased = (0 - bound) % bound;
  uint64_t value;
  do {
    value = Uint64();
  } while (value < biased);
  return value % bound;
}

void SecureRandom::Fill(std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = getrandom(bytes.data(), bytes.size(), 0);
    if (n < 0) {
      // Without randomness there are no keys: going on would be worse.
      IM_CHECK(errno == EINTR);
      continue;
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void SeededRandom::Fill(std::span<uint8_t> bytes) {
  while (!bytes.empty()) {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    const size_t n = bytes.size() < sizeof(z) ? bytes.size() : sizeof(z);
    std::memcpy(bytes.data(), &z, n);
    bytes = bytes.subspan(n);
  }
}

}  // namespace im
