// LoadMeter: are we under load ([W] 5.3)? Counts handshake messages by the
// second; above the limit, and for kUnderLoadHold after, the answer is yes.

#ifndef IM_TUNNEL_LOAD_METER_H_
#define IM_TUNNEL_LOAD_METER_H_

#include <cstdint>

#include "base/clock.h"
#include "tunnel/constants.h"

namespace im::tunnel {

class LoadMeter {
 public:
  explicit LoadMeter(int per_second) : per_second_(per_second) {}

  bool loaded(Instant now) const { return now < loaded_until_; }

  // Counts one message. True if it must show a cookie.
  bool Count(Instant now) {
    if (now - second_begin_ >= std::chrono::seconds(1)) {
      second_begin_ = now;
      count_ = 0;
    }
    if (++count_ > per_second_)
      loaded_until_ = second_begin_ + std::chrono::seconds(1) + kUnderLoadHold;
    return loaded(now);
  }

 private:
  const int per_second_;
  Instant second_begin_{};
  int count_ = 0;
  Instant loaded_until_{};
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_LOAD_METER_H_
