// Numbers in network order, at any alignment.

#ifndef IM_BASE_BIG_ENDIAN_H_
#define IM_BASE_BIG_ENDIAN_H_

#include <cstdint>

namespace im {

inline uint16_t LoadBig16(const uint8_t* p) {
  return static_cast<uint16_t>(uint16_t{p[0]} << 8 | p[1]);
}
inline uint32_t LoadBig32(const uint8_t* p) {
  return uint32_t{LoadBig16(p)} << 16 | LoadBig16(p + 2);
}
inline void StoreBig16(uint8_t* p, uint16_t value) {
  p[0] = static_cast<uint8_t>(value >> 8);
  p[1] = static_cast<uint8_t>(value);
}
inline void StoreBig32(uint8_t* p, uint32_t value) {
  StoreBig16(p, static_cast<uint16_t>(value >> 16));
  StoreBig16(p + 2, static_cast<uint16_t>(value));
}

}  // namespace im

#endif  // IM_BASE_BIG_ENDIAN_H_
