#include "netstack/tcp_recovery.h"

#include <algorithm>
#include <array>

#include "base/big_endian.h"
#include "lwip/priv/tcp_priv.h"
#include "netstack/tcp_segments.h"

namespace im::netstack {
namespace {

// lwIP's timer expires after so many of ours, and no sooner than after its
// first timeout.
constexpr int kTimeoutsOfLwip = 4;
constexpr Duration kTick = std::chrono::milliseconds(TCP_SLOW_INTERVAL);
constexpr int64_t kTicksMin = LWIP_TCP_RTO_TIME / TCP_SLOW_INTERVAL;
constexpr int64_t kTicksMax = 0x7fff;

// RFC 2018 3: what fits beside nothing else.
constexpr size_t kBlocksMax = 4;
constexpr uint8_t kOptionSack = 5;

uint32_t EndOf(const tcp_seg& segment) {
  return SequenceOf(segment) + static_cast<uint32_t>(TCP_TCPLEN(&segment));
}

// The SACK blocks among well-formed options; returns how many there are.
size_t ParseBlocks(std::span<const uint8_t> options, std::array<SackBlock, kBlocksMax>& blocks) {
  while (!options.empty() && options[0] != LWIP_TCP_OPT_EOL) {
    if (options[0] == LWIP_TCP_OPT_NOP) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return 0;
    if (options[0] == kOptionSack) {
      const size_t count = std::min<size_t>((options[1] - 2u) / 8, kBlocksMax);
      for (size_t i = 0; i < count; ++i)
        blocks[i] = {LoadBig32(&options[2 + 8 * i]), LoadBig32(&options[6 + 8 * i])};
      return count;
    }
    options = options.subspan(options[1]);
  }
  return 0;
}

void Destroy(u8_t, void* recovery) { delete static_cast<TcpRecovery*>(recovery); }

constexpr tcp_ext_arg_callbacks kCallbacks = {Destroy, nullptr};

u8_t RecoveryExtArgId() {
  static const u8_t id = tcp_ext_arg_alloc_id();
  return id;
}

}  // namespace

void TcpRecovery::Attach(Core& core, tcp_pcb* pcb) {
  if ((pcb->flags & TF_SACK) == 0 || Of(*pcb) != nullptr) return;
  tcp_ext_arg_set(pcb, RecoveryExtArgId(), new TcpRecovery(core, pcb));
  tcp_ext_arg_set_callbacks(pcb, RecoveryExtArgId(), &kCallbacks);
}

TcpRecovery* TcpRecovery::Of(const tcp_pcb& pcb) {
  return static_cast<TcpRecovery*>(tcp_ext_arg_get(&pcb, RecoveryExtArgId()));
}

TcpRecovery::TcpRecovery(Core& core, tcp_pcb* pcb)
    : Member(&core), pcb_(pcb), recovery_(pcb->lastack), sent_end_(pcb->lastack) {
  SetLwipTimer();
}

// ---- what lwIP does ----

void TcpRecovery::OnSent(uint32_t sequence, uint32_t size) {
  if (core() == nullptr) return;
  const uint32_t end = sequence + size;
  if (SequenceBefore(sequence, sent_end_))
    retransmitted_bytes_ += std::min(size, sent_end_ - sequence);
  if (SequenceBefore(sent_end_, end)) sent_end_ = end;
  recovery_.OnSent(sequence, end, core()->loop().now());
  if (timer_at_ == kNever) ArmTimer();
}

void TcpRecovery::OnAcknowledgment(uint32_t acknowledged, std::span<const uint8_t> options) {
  if (core() == nullptr) return;
  pcb_->dupacks = 0;
  pcb_->rttest = 0;
  const bool was_widened = widened_ > 0;
  SetBack();
  // lwIP's timer has expired: it sends all again by itself.
  if ((pcb_->flags & TF_RTO) != 0 && !recovery_.scoreboard().empty() &&
      pcb_->unacked == nullptr)
    recovery_.Reset();
  const Instant now = core()->loop().now();
  const uint32_t in_flight = pcb_->snd_nxt - pcb_->lastack;
  LossRecovery::Window window{pcb_->cwnd, pcb_->ssthresh};
  recovery_.Grow(window, acknowledged - pcb_->lastack, in_flight + pcb_->mss > pcb_->cwnd,
                 pcb_->mss, now);
  pcb_->cwnd = window.congestion;
  if (pcb_->cwnd >= pcb_->ssthresh) pcb_->bytes_acked = 0;  // lwIP's own growth
  std::array<SackBlock, kBlocksMax> blocks;
  const size_t count = ParseBlocks(options, blocks);
  recovery_.OnAcknowledged(acknowledged, std::span(blocks).first(count), now);
  SetLwipTimer();
  ArmTimer();
  if (was_widened || recovery_.busy() || pcb_->unsent != nullptr) Defer();
}

void TcpRecovery::SendAtEndOfTurn() {
  if (pcb_->unsent != nullptr) Defer();
}

void TcpRecovery::SendAllAtEndOfTurn() {
  for (const tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next) {
    if (pcb->unsent == nullptr || pcb->unsent->len <= pcb->mss) continue;
    if (TcpRecovery* recovery = Of(*pcb)) recovery->Defer();
  }
}

// ---- what is to be done ----

void TcpRecovery::Run(bool timer) {
  if (pcb_->unacked == nullptr && pcb_->unsent == nullptr) recovery_.Reset();
  core()->Enter(*pcb_);
  SetBack();
  if (recovery_.scoreboard().empty()) {
    if (pcb_->unsent != nullptr) Output(*pcb_);
    return;
  }
  LossRecovery::Window window{pcb_->cwnd, pcb_->ssthresh};
  const LossRecovery::Action action =
      recovery_.Update(window, pcb_->mss, pcb_->snd_nxt, timer, core()->loop().now());
  pcb_->cwnd = window.congestion;
  pcb_->ssthresh = window.threshold;
  if (action == LossRecovery::Action::kTimeout) {
    // lwIP ends the connection after TCP_MAXRTX of them. A closed window is
    // another matter, which it probes.
    if (pcb_->persist_backoff == 0 && pcb_->nrtx < 0xff) ++pcb_->nrtx;
    pcb_->bytes_acked = 0;
    pcb_->rtime = 0;
    SetLwipTimer();
  }
  if (action == LossRecovery::Action::kProbe) {
    Probe();
  } else {
    if (recovery_.busy()) QueueLost(recovery_.BytesToSend(window));
    if (pcb_->unsent != nullptr) Output(*pcb_);
  }
  ArmTimer();
}

void TcpRecovery::QueueLost(uint32_t bytes) {
  const SackScoreboard& board = recovery_.scoreboard();
  uint32_t queued = 0;
  tcp_seg** from = &pcb_->unacked;
  for (const SackScoreboard::Segment& segment : board.segments()) {
    if (queued >= bytes || queued >= board.lost_bytes()) break;
    if (!segment.lost) continue;
    // Whole packets, the last of which may go beyond what may be sent.
    const uint32_t packets = (bytes - queued + pcb_->mss - 1) / pcb_->mss;
    const auto size =
        static_cast<uint32_t>(std::min<uint64_t>(segment.size(), uint64_t{packets} * pcb_->mss));
    queued += QueueRange(segment.begin, segment.begin + size, from);
    if (*from == nullptr) break;
  }
  // No Nagle for what was sent before.
  if (queued > 0) tcp_set_flags(pcb_, TF_NAGLEMEMERR);
  const uint32_t outstanding = board.outstanding_bytes();
  const uint32_t under_way = board.pipe_bytes() + queued;
  const uint32_t missing = outstanding > pcb_->cwnd ? outstanding - pcb_->cwnd : 0;
  Widen(std::max(outstanding > under_way ? outstanding - under_way : 0, missing));
}

uint32_t TcpRecovery::QueueRange(uint32_t begin, uint32_t end, tcp_seg**& from) {
  uint32_t queued = 0;
  while (SequenceBefore(begin, end)) {
    while (*from != nullptr && !SequenceBefore(begin, EndOf(**from))) from = &(*from)->next;
    if (*from == nullptr) break;
    // What lies before this segment waits to be sent already.
    const uint32_t sequence = SequenceOf(**from);
    if (!SequenceBefore(sequence, end)) break;
    if (SequenceBefore(begin, sequence)) begin = sequence;
    // Without memory to cut it, all of it.
    if (SequenceBefore(sequence, begin) && begin - sequence < (*from)->len &&
        CutSegment(*pcb_, from, static_cast<uint16_t>(begin - sequence)))
      from = &(*from)->next;
    const uint32_t left = end - SequenceOf(**from);
    if (left < (*from)->len) CutSegment(*pcb_, from, static_cast<uint16_t>(left));
    begin = EndOf(**from);
    queued += begin - SequenceOf(**from);
    Requeue(from);
  }
  return queued;
}

// As tcp_rexmit() does with the first.
void TcpRecovery::Requeue(tcp_seg** from) {
  tcp_seg* segment = *from;
  *from = segment->next;
  tcp_seg** to = &pcb_->unsent;
  while (*to != nullptr && SequenceBefore(SequenceOf(**to), SequenceOf(*segment)))
    to = &(*to)->next;
  segment->next = *to;
  *to = segment;
  if (segment->next == nullptr) pcb_->unsent_oversize = 0;
}

void TcpRecovery::Probe() {
  if (pcb_->unacked == nullptr) return;
  const uint32_t outstanding = recovery_.scoreboard().outstanding_bytes();
  const uint32_t missing = outstanding > pcb_->cwnd ? outstanding - pcb_->cwnd : 0;
  const uint32_t next = pcb_->snd_nxt;
  Widen(missing + pcb_->mss);
  tcp_set_flags(pcb_, TF_NAGLEMEMERR);
  Output(*pcb_);
  if (pcb_->snd_nxt == next && pcb_->unacked != nullptr) {
    tcp_seg** last = &pcb_->unacked;
    while ((*last)->next != nullptr) last = &(*last)->next;
    const uint16_t size = (*last)->len;
    if (size > pcb_->mss && CutSegment(*pcb_, last, static_cast<uint16_t>(size - pcb_->mss)))
      last = &(*last)->next;
    Requeue(last);
    tcp_set_flags(pcb_, TF_NAGLEMEMERR);
    tcp_output(pcb_);
  }
  SetBack();
}

// ---- lwIP's window and timer ----

void TcpRecovery::Widen(uint32_t bytes) {
  widened_ = std::min(bytes, ~pcb_->cwnd);
  pcb_->cwnd += widened_;
}

void TcpRecovery::SetBack() {
  if (widened_ == 0) return;
  // lwIP's timeout may have made it small meanwhile.
  const tcpwnd_size_t window = pcb_->cwnd > widened_ ? pcb_->cwnd - widened_ : 0;
  pcb_->cwnd = std::max<tcpwnd_size_t>(window, pcb_->mss);
  widened_ = 0;
}

void TcpRecovery::SetLwipTimer() {
  const int64_t ticks = kTimeoutsOfLwip * recovery_.Timeout() / kTick;
  pcb_->sa = 0;
  pcb_->sv = static_cast<s16_t>(std::clamp(ticks, kTicksMin, kTicksMax));
  pcb_->rto = pcb_->sv;
}

void TcpRecovery::ArmTimer() {
  const Instant deadline = recovery_.Deadline();
  if (timer_at_ <= deadline) return;  // looks again then
  timer_at_ = deadline;
  timer_ = core()->loop().At(deadline, [this] {
    timer_at_ = kNever;
    if (core()->loop().now() < recovery_.Deadline()) {
      ArmTimer();
    } else {
      Run(/*timer=*/true);
    }
  });
}

}  // namespace im::netstack
