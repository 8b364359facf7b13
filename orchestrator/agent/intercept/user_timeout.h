// UserTimeout: TCP_USER_TIMEOUT (RFC 5482). What was written and is not
// acknowledged for so long ends the connection.
//
// While something waits for its acknowledgment it is looked, a few times within
// the timeout, whether any came. A connection with nothing under way has no timer.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_USER_TIMEOUT_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_USER_TIMEOUT_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "base/event_loop.h"

namespace im::agent {

// Looks within a timeout: it comes late by one of them at most.
inline constexpr int kUserTimeoutLooks = 4;

class UserTimeout {
 public:
  struct Progress {
    uint64_t acknowledged = 0;  // in all
    bool pending = false;       // something is not
  };

  // `on_timeout` may destroy it.
  UserTimeout(EventLoop& loop, Duration timeout, std::function<Progress()> look,
              std::function<void()> on_timeout)
      : loop_(loop),
        timeout_(timeout),
        look_(std::move(look)),
        on_timeout_(std::move(on_timeout)) {}

  // Something was written.
  void OnWritten();

 private:
  void Arm();
  void OnTimer();

  EventLoop& loop_;
  const Duration timeout_;
  const std::function<Progress()> look_;
  const std::function<void()> on_timeout_;
  bool armed_ = false;
  uint64_t acknowledged_ = 0;
  Instant since_;  // when it was so much first, or nothing was pending last
  EventLoop::Timer timer_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_USER_TIMEOUT_H_
