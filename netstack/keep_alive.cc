#include "netstack/keep_alive.h"

#include <algorithm>
#include <utility>

#include "lwip/priv/tcp_priv.h"

namespace im::netstack {
namespace {

// What may be asked for, as Linux has it: seconds up to 32,767, probes up to
// 127. The lower bound keeps a wrong unit from flooding the peer.
constexpr Duration kIntervalLeast = std::chrono::milliseconds(100);
constexpr Duration kIntervalMost = std::chrono::seconds(32'767);
constexpr int kProbesMost = 127;

KeepAlive Bounded(const KeepAlive& options) {
  return {.idle = std::clamp(options.idle, kIntervalLeast, kIntervalMost),
          .interval = std::clamp(options.interval, kIntervalLeast, kIntervalMost),
          .probes = std::clamp(options.probes, 1, kProbesMost)};
}

}  // namespace

KeepAliveTimer::KeepAliveTimer(Core& core, tcp_pcb* pcb, const KeepAlive& options,
                               std::function<void()> on_dead)
    : core_(core), pcb_(pcb), options_(Bounded(options)), on_dead_(std::move(on_dead)) {
  pcb_->keep_cnt_sent = 0;
  Arm(options_.idle);
}

void KeepAliveTimer::Arm(Duration after) {
  timer_ = core_.loop().After(after, [this] { OnTimer(); });
}

void KeepAliveTimer::OnTimer() {
  core_.Enter(*pcb_);  // sets tcp_ticks
  if (pcb_->unacked != nullptr || pcb_->unsent != nullptr) {
    pcb_->keep_cnt_sent = 0;
    Arm(options_.idle);
    return;
  }
  // lwIP sets the count to 0 and `tmr` to its clock when any segment comes.
  if (pcb_->keep_cnt_sent == 0) {
    const Duration quiet =
        (tcp_ticks - pcb_->tmr) * Duration(std::chrono::milliseconds(TCP_SLOW_INTERVAL));
    if (quiet < options_.idle) {
      Arm(options_.idle - quiet);
      return;
    }
  } else if (pcb_->keep_cnt_sent >= options_.probes) {
    const std::function<void()> on_dead = on_dead_;
    on_dead();
    return;
  }
  Probe();
}

void KeepAliveTimer::Probe() {
  tcp_keepalive(pcb_);
  ++pcb_->keep_cnt_sent;
  Arm(options_.interval);
}

}  // namespace im::netstack
