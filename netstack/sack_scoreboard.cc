#include "netstack/sack_scoreboard.h"

#include <algorithm>

namespace im::netstack {
namespace {

// Room that a connection keeps when nothing is in flight, in segments.
constexpr size_t kIdleCapacity = 8;

// An answer sooner than the least round trip by this part of it is not one.
constexpr int kSoonFraction = 4;

}  // namespace

SackScoreboard::Iterator SackScoreboard::Find(uint32_t sequence) {
  return std::partition_point(begin(), segments_.end(), [sequence](const Segment& s) {
    return !SequenceBefore(sequence, s.end);
  });
}

void SackScoreboard::Count(const Segment& segment, int sign) {
  const auto add = [sign](auto& sum, uint32_t n) {
    sum = sign > 0 ? sum + n : sum - n;
  };
  add(outstanding_, segment.size());
  if (segment.sacked) {
    add(sacked_, segment.size());
    add(sacked_segments_, 1);
  } else if (segment.lost) {
    add(lost_, segment.size());
  }
}

void SackScoreboard::Split(uint32_t at, uint32_t least) {
  const Iterator it = Find(at);
  if (it == segments_.end() || !SequenceBefore(it->begin, at)) return;
  if (at - it->begin < least || it->end - at < least) return;
  Segment first = *it;
  Count(first, -1);
  first.end = at;
  it->begin = at;
  Count(first, +1);
  Count(*it, +1);
  segments_.insert(it, first);
}

void SackScoreboard::OnSent(uint32_t begin_at, uint32_t end, Instant now) {
  if (!empty() && SequenceBefore(begin_at, begin()->begin)) begin_at = begin()->begin;
  if (!SequenceBefore(begin_at, end)) return;
  Segment segment{.begin = begin_at, .end = end, .sent_at = now};
  if (empty() || !SequenceBefore(begin_at, segments_.back().end)) {
    segments_.push_back(segment);
    Count(segment, +1);
    return;
  }
  // Again. As a rule it is the same segment as before, but it may have been
  // cut or lengthened since.
  Iterator first = Find(begin_at);
  if (first->begin != begin_at || first->end != end) {
    Split(begin_at);
    Split(end);
    first = Find(begin_at);
  }
  Iterator last = first;
  for (; last != segments_.end() && SequenceBefore(last->begin, end); ++last) {
    Count(*last, -1);
    segment.retransmitted = true;
  }
  if (first == last) {
    segments_.insert(first, segment);
  } else {
    *first = segment;
    segments_.erase(first + 1, last);
  }
  Count(segment, +1);
}

void SackScoreboard::Deliver(const Segment& segment, Duration rtt_min, Instant now,
                             Delivery& delivery) {
  delivery.bytes += segment.size();
  const Duration rtt = now - segment.sent_at;
  if (segment.lost || (segment.retransmitted && rtt < rtt_min - rtt_min / kSoonFraction)) {
    // Not the answer to the second sending: the first was only late.
    delivery.reordered = true;
    delivery.late_bytes += segment.size();
  } else if (!segment.retransmitted && sacked_ > 0 &&
             SequenceBefore(segment.end, highest_sacked_)) {
    delivery.reordered = true;
  }
  if (segment.retransmitted && rtt < rtt_min) return;  // to which, nobody knows
  const bool younger = delivery.sent_at == kNever || segment.sent_at > delivery.sent_at ||
                       (segment.sent_at == delivery.sent_at &&
                        SequenceBefore(delivery.end, segment.end));
  if (!younger) return;
  delivery.sent_at = segment.sent_at;
  delivery.end = segment.end;
  if (!segment.retransmitted) delivery.rtt = rtt;
}

SackScoreboard::Delivery SackScoreboard::OnAcknowledged(uint32_t acknowledged,
                                                        std::span<const SackBlock> blocks,
                                                        Duration rtt_min, Instant now) {
  Delivery delivery;
  while (!empty() && SequenceBefore(begin()->begin, acknowledged)) {
    Segment& segment = *begin();
    if (SequenceBefore(acknowledged, segment.end)) {
      Split(acknowledged);
      continue;
    }
    if (!segment.sacked) Deliver(segment, rtt_min, now, delivery);
    Count(segment, -1);
    ++head_;
  }
  for (const SackBlock& block : blocks) {
    if (!SequenceBefore(block.begin, block.end)) continue;
    Split(block.begin, kSackPieceBytesMin);
    Split(block.end, kSackPieceBytesMin);
    for (Iterator it = Find(block.begin); it != segments_.end(); ++it) {
      if (SequenceBefore(block.end, it->end)) break;
      if (it->sacked || SequenceBefore(it->begin, block.begin)) continue;
      Deliver(*it, rtt_min, now, delivery);
      Count(*it, -1);
      if (sacked_ == 0 || SequenceBefore(highest_sacked_, it->end)) highest_sacked_ = it->end;
      it->sacked = true;
      it->lost = false;
      Count(*it, +1);
    }
  }
  Compact();
  return delivery;
}

SackScoreboard::Losses SackScoreboard::DetectLosses(Instant sent_at, uint32_t end,
                                                    Duration patience, Instant now) {
  Losses losses;
  for (Iterator it = begin(); it != segments_.end(); ++it) {
    const bool before = it->sent_at < sent_at ||
                        (it->sent_at == sent_at && SequenceBefore(it->end, end));
    if (!before) {
      // Those behind it were sent later still, unless it was sent again.
      if (!it->retransmitted) break;
      continue;
    }
    if (it->sacked || it->lost) continue;
    if (it->sent_at + patience > now) {
      losses.next = std::min(losses.next, it->sent_at + patience);
      continue;
    }
    Count(*it, -1);
    it->lost = true;
    Count(*it, +1);
    losses.bytes += it->size();
  }
  return losses;
}

void SackScoreboard::MarkAllLost() {
  for (Iterator it = begin(); it != segments_.end(); ++it) {
    Count(*it, -1);
    it->sacked = false;
    it->lost = true;
    Count(*it, +1);
  }
}

void SackScoreboard::Clear() {
  segments_.clear();
  head_ = 0;
  outstanding_ = sacked_ = lost_ = 0;
  sacked_segments_ = 0;
}

void SackScoreboard::Compact() {
  if (empty()) {
    segments_.clear();
    head_ = 0;
    if (segments_.capacity() > kIdleCapacity) segments_.shrink_to_fit();
  } else if (head_ > segments_.size() / 2) {
    segments_.erase(segments_.begin(), begin());
    head_ = 0;
  }
}

}  // namespace im::netstack
