// LoadMeter: are we under load ([W] 5.3)? Two things say so, each for
// kUnderLoadHold after:
//
//  - more handshake messages in a second than we want to answer, whatever they
//    are: a thousand peers that start anew at once are none too many;
//  - messages that turned out to be worthless after we had computed for them,
//    at the same rate, but at most kWastedHandshakesBurst at once. Honest peers
//    send next to none. So a flood of forged ones is asked for cookies from its
//    first batch on, instead of after a second's worth of computing.

#ifndef IM_TUNNEL_LOAD_METER_H_
#define IM_TUNNEL_LOAD_METER_H_

#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "tunnel/constants.h"

namespace im::tunnel {

class LoadMeter {
 public:
  // Preconditions: per_second > 0.
  explicit LoadMeter(int per_second)
      : per_second_(per_second), waste_interval_(Duration(std::chrono::seconds(1)) / per_second) {}

  bool loaded(Instant now) const { return now < loaded_until_; }

  // Counts one message. True if it must show a cookie.
  bool Count(Instant now) {
    if (now - second_begin_ >= std::chrono::seconds(1)) {
      second_begin_ = now;
      count_ = 0;
    }
    if (++count_ > per_second_) {
      const Instant second_end = second_begin_ + std::chrono::seconds(1);
      loaded_until_ = std::max(loaded_until_, second_end + kUnderLoadHold);
    }
    return loaded(now);
  }

  // One that was counted, and not asked for more, was worthless.
  void CountWasted(Instant now) {
    // When there would be none left, one leaving each interval (GCRA).
    waste_gone_at_ = std::max(waste_gone_at_, now) + waste_interval_;
    if (waste_gone_at_ - now > kWastedHandshakesBurst * waste_interval_)
      loaded_until_ = std::max(loaded_until_, now + kUnderLoadHold);
  }

 private:
  int per_second_;
  Duration waste_interval_;
  Instant second_begin_{};
  int count_ = 0;
  Instant waste_gone_at_{};
  Instant loaded_until_{};
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_LOAD_METER_H_
