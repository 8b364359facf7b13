#include "netstack/receive_window.h"

#include <algorithm>

namespace im::netstack {

uint32_t ReceiveWindow::OnRead(uint32_t bytes, uint64_t most, Instant now) {
  // What lies beyond the window that was offered then was sent after our word
  // that a part of it was read: a round trip at least.
  offered_left_ -= bytes;
  if (offered_left_ <= 0) {
    rtt_ = std::min(rtt_, now - offered_at_);
    offered_left_ = window_;
    offered_at_ = now;
  }
  read_ += bytes;
  if (now - mark_at_ < rtt_) return 0;
  const uint64_t wanted = std::min<uint64_t>(2 * read_, kReceiveWindowMax);
  read_ = 0;
  mark_at_ = now;
  if (wanted <= window_) return 0;
  const auto more = static_cast<uint32_t>(std::min<uint64_t>(wanted - window_, most));
  window_ += more;
  return more;
}

}  // namespace im::netstack
