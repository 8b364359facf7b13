#include "tunnel/replay_window.h"

#include <algorithm>

namespace im::tunnel {

bool ReplayWindow::MayAccept(uint64_t counter) const {
  if (counter > greatest_) return true;
  if (TooOld(counter)) return false;
  const uint64_t bit = uint64_t{1} << (counter % kWordBits);
  return (words_[counter / kWordBits % kWords] & bit) == 0;
}

bool ReplayWindow::Accept(uint64_t counter) {
  if (TooOld(counter)) return false;
  const uint64_t word = counter / kWordBits;
  if (counter > greatest_) {
    const uint64_t advance = std::min<uint64_t>(word - greatest_ / kWordBits, kWords);
    for (uint64_t i = 0; i < advance; ++i) words_[(word - i) % kWords] = 0;
    greatest_ = counter;
  }
  uint64_t& bits = words_[word % kWords];
  const uint64_t bit = uint64_t{1} << (counter % kWordBits);
  if ((bits & bit) != 0) return false;
  bits |= bit;
  return true;
}

}  // namespace im::tunnel
