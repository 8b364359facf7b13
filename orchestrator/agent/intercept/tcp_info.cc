#include "orchestrator/agent/intercept/tcp_info.h"

#include <linux/tcp.h>

#include <algorithm>

namespace im::agent {
namespace {

// What is told before there is a connection: the usual MTU and its segments.
constexpr uint32_t kUsualMtu = 1420;
constexpr uint32_t kUsualSegment = 1380;

uint32_t Microseconds(Duration d) {
  return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(d).count());
}

}  // namespace

std::vector<uint8_t> MakeTcpInfo(const TcpInfoSource& source) {
  tcp_info info = {};
  info.tcpi_state = static_cast<uint8_t>(source.state);
  info.tcpi_pmtu = kUsualMtu;
  const netstack::TcpFigures& figures = source.figures;
  const uint32_t segment = figures.segment_bytes != 0 ? figures.segment_bytes : kUsualSegment;
  info.tcpi_snd_mss = info.tcpi_rcv_mss = info.tcpi_advmss = segment;
  if (source.state == TcpInfoState::kListen) {
    info.tcpi_unacked = source.waiting;
    info.tcpi_sacked = source.backlog;
  } else {
    const auto segments = [&](uint64_t bytes) {
      return static_cast<uint32_t>((bytes + segment - 1) / segment);
    };
    const uint64_t queued = figures.queued_bytes;
    const uint64_t unsent = std::min<uint64_t>(figures.unsent_bytes, queued);
    info.tcpi_unacked = segments(queued - unsent);
    info.tcpi_sacked = segments(figures.sacked_bytes);
    info.tcpi_lost = segments(figures.lost_bytes);
    info.tcpi_snd_cwnd = std::max(1u, figures.congestion_window_bytes / segment);
    info.tcpi_snd_ssthresh = figures.slow_start_threshold_bytes / segment;
    info.tcpi_rtt = Microseconds(figures.rtt);
    info.tcpi_rttvar = Microseconds(figures.rtt_variance);
    info.tcpi_rto = Microseconds(figures.retransmit_timeout);
    info.tcpi_total_retrans = segments(figures.retransmitted_bytes);
    info.tcpi_bytes_retrans = figures.retransmitted_bytes;
    info.tcpi_bytes_acked = source.written_bytes - std::min(source.written_bytes, queued);
    info.tcpi_bytes_sent = source.written_bytes - std::min(source.written_bytes, unsent) +
                           figures.retransmitted_bytes;
    info.tcpi_bytes_received = source.received_bytes;
    info.tcpi_notsent_bytes = static_cast<uint32_t>(unsent);
    info.tcpi_snd_wnd = figures.peer_window_bytes;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(&info);
  return {bytes, bytes + sizeof(info)};
}

}  // namespace im::agent
