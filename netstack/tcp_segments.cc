#include "netstack/tcp_segments.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "lwip/memp.h"

namespace im::netstack {
namespace {

constexpr uint16_t kTcpHeaderBytes = TCP_HLEN;

// A new pbuf for a segment's payload, with room for headers in front.
pbuf* NewPayload(uint16_t bytes) { return pbuf_alloc(PBUF_TRANSPORT, bytes, PBUF_RAM); }

// As lwIP does before it sends a segment again: no IP header in front.
void DropIpHeader(tcp_seg& segment) {
  const auto before = static_cast<uint16_t>(reinterpret_cast<uint8_t*>(segment.tcphdr) -
                                            static_cast<uint8_t*>(segment.p->payload));
  if (before > 0) pbuf_remove_header(segment.p, before);
}

// Puts header and payload into one pbuf: only of such a one can be cut.
bool Flatten(tcp_pcb& pcb, tcp_seg& segment) {
  if (segment.p->next == nullptr) return true;
  pbuf* flat = NewPayload(segment.len);
  if (flat == nullptr) return false;
  pbuf_copy_partial(segment.p, flat->payload, segment.len, kTcpHeaderBytes);
  pbuf_add_header(flat, kTcpHeaderBytes);
  std::memcpy(flat->payload, segment.tcphdr, kTcpHeaderBytes);
  // Room behind the last unsent segment's data was in the old pbuf.
  if (segment.next == nullptr) pcb.unsent_oversize = 0;
  pcb.snd_queuelen = static_cast<u16_t>(pcb.snd_queuelen - pbuf_clen(segment.p) + 1);
  pbuf_free(segment.p);
  segment.p = flat;
  segment.tcphdr = static_cast<tcp_hdr*>(flat->payload);
  return true;
}

}  // namespace

uint16_t SegmentBytes(const tcp_pcb& pcb) {
  // lwIP wants no more than half of the largest window that it saw.
  const size_t limit = std::min<size_t>({kLargeSegmentBytes, TCP_MSS, pcb.snd_wnd_max / 2});
  const size_t packets = std::min(kLargeSegmentBytes / (pcb.mss + kHeadersPerPacketBytes),
                                  limit / pcb.mss);
  return static_cast<uint16_t>(std::max<size_t>(packets, 1) * pcb.mss);
}

bool CutSegment(tcp_pcb& pcb, tcp_seg** at, uint16_t bytes) {
  tcp_seg* rest = *at;
  IM_CHECK(bytes > 0 && bytes < rest->len);
  if (pcb.snd_queuelen >= kQueuedPbufsMax || TCPH_HDRLEN_BYTES(rest->tcphdr) != kTcpHeaderBytes)
    return false;
  DropIpHeader(*rest);
  if (!Flatten(pcb, *rest)) return false;
  auto* front = static_cast<tcp_seg*>(memp_malloc(MEMP_TCP_SEG));
  if (front == nullptr) return false;
  pbuf* p = NewPayload(bytes);
  if (p == nullptr) {
    memp_free(MEMP_TCP_SEG, front);
    return false;
  }
  std::memcpy(p->payload, reinterpret_cast<uint8_t*>(rest->tcphdr) + kTcpHeaderBytes, bytes);
  pbuf_add_header(p, kTcpHeaderBytes);
  std::memcpy(p->payload, rest->tcphdr, kTcpHeaderBytes);
  *front = *rest;
  front->p = p;
  front->len = bytes;
  front->tcphdr = static_cast<tcp_hdr*>(p->payload);
  TCPH_UNSET_FLAG(front->tcphdr, TCP_PSH | TCP_FIN);

  // The header moves up over what is now in front. They may overlap.
  pbuf_remove_header(rest->p, bytes);
  std::memmove(rest->p->payload, rest->tcphdr, kTcpHeaderBytes);
  rest->tcphdr = static_cast<tcp_hdr*>(rest->p->payload);
  rest->tcphdr->seqno = lwip_htonl(SequenceOf(*front) + bytes);
  rest->len = static_cast<u16_t>(rest->len - bytes);

  ++pcb.snd_queuelen;
  front->next = rest;
  *at = front;
  return true;
}

namespace {

// Cuts the unsent segment that is the first not to fit.
void FitUnsent(tcp_pcb& pcb) {
  const uint32_t window = std::min(pcb.snd_wnd, pcb.cwnd);
  for (tcp_seg** at = &pcb.unsent; *at != nullptr; at = &(*at)->next) {
    const tcp_seg& segment = **at;
    // As lwIP counts it; of one sent before, the front may be acknowledged.
    const uint32_t begin = SequenceOf(segment) - pcb.lastack;
    if (begin + segment.len <= window) continue;
    if (segment.len <= pcb.mss) return;
    const int64_t room = int64_t{window} - static_cast<int32_t>(begin);
    int64_t bytes = std::max<int64_t>(room, 0) / pcb.mss * pcb.mss;
    if (bytes == 0 && at == &pcb.unsent) bytes = pcb.mss;
    if (bytes > 0 && bytes < segment.len) CutSegment(pcb, at, static_cast<uint16_t>(bytes));
    return;
  }
}

}  // namespace

void Output(tcp_pcb& pcb) {
  FitUnsent(pcb);
  tcp_output(&pcb);
}

void PrepareProbes() {
  for (tcp_pcb* pcb = tcp_active_pcbs; pcb != nullptr; pcb = pcb->next)
    if (pcb->persist_backoff > 0 && pcb->unsent != nullptr && pcb->unsent->len > pcb->mss)
      CutSegment(*pcb, &pcb->unsent, pcb->mss);
}

}  // namespace im::netstack
