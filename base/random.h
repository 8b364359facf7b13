// Randomness as an argument: the kernel's for programs, a seed's for tests.

#ifndef IM_BASE_RANDOM_H_
#define IM_BASE_RANDOM_H_

#include <cstdint>
#include <span>

namespace im {

class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(std::span<uint8_t> bytes) = 0;

  uint64_t Uint64();
  uint32_t Uint32() { return static_cast<uint32_t>(Uint64()); }
  // Uniform in [0, bound). Preconditions: bound > 0.
  uint64_t Below(uint64_t bound);
};

// getrandom(2). Fit for keys.
class SecureRandom final : public Random {
 public:
  void Fill(std::span<uint8_t> bytes) override;
};

// SplitMix64 of a seed. Not fit for keys.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : state_(seed) {}
  void Fill(std::span<uint8_t> bytes) override;

 private:
  uint64_t state_;
};

}  // namespace im

#endif  // IM_BASE_RANDOM_H_
