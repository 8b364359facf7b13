// What a connection tells of itself: some of it is lwIP's, the rest its
// TcpRecovery's, which connections to peers without SACK do not have.

#include "lwip/tcp.h"
#include "netstack/tcp_connection.h"
#include "netstack/tcp_recovery.h"

namespace im::netstack {

TcpFigures TcpConnectionImpl::figures() const {
  TcpFigures figures;
  if (pcb_ == nullptr) return figures;
  figures.segment_bytes = pcb_->mss;
  figures.congestion_window_bytes = pcb_->cwnd;
  figures.slow_start_threshold_bytes = pcb_->ssthresh;
  figures.peer_window_bytes = pcb_->snd_wnd;
  figures.queued_bytes = TCP_SND_BUF - pcb_->snd_buf;
  figures.unsent_bytes = pcb_->snd_lbb - pcb_->snd_nxt;
  const TcpRecovery* recovery = TcpRecovery::Of(*pcb_);
  if (recovery == nullptr) return figures;
  const LossRecovery& loss = recovery->recovery();
  figures.rtt = loss.smoothed_rtt().value_or(Duration::zero());
  figures.rtt_variance = loss.rtt_variance();
  figures.retransmit_timeout = loss.Timeout();
  figures.sacked_bytes = loss.scoreboard().sacked_bytes();
  figures.lost_bytes = loss.scoreboard().lost_bytes();
  figures.retransmitted_bytes = recovery->retransmitted_bytes();
  return figures;
}

}  // namespace im::netstack
