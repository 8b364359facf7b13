// lwIP's hooks (lwip/hooks.h): routes, sequence numbers, and a look at each
// segment of a connection before lwIP has it. That look
//
//  - takes options out of all segments but SYNs: lwIP would apply an MSS or a
//    window scale that comes in mid-connection, and assert on it later;
//  - keeps a SYN's MSS between kLeastMss and what the interface carries (lwIP
//    forgets the latter when a SYN comes twice);
//  - keeps what is queued out of order clear of the window's end: lwIP asserts
//    that it fits, but queues the first segment unseen, and may add the FIN of
//    another one to the last byte;
//  - ends the probing of a closed window when data is acknowledged: lwIP goes on
//    after the last of it, and asserts that there is some;
//  - answers a SYN for a connection that is there with an acknowledgment, wherever
//    its sequence number is (RFC 5961 4.2): a peer that has forgotten it, as a host
//    that was started anew, resets it then, and its next SYN is taken;
//  - has a merged segment acknowledged as the several that it was, at both
//    ends: at once, and counted in full by slow start;
//  - has data that fills a hole acknowledged at once (RFC 5681 4.2), before the
//    peer takes it for lost;
//  - tells TcpRecovery of acknowledgments.

#include "lwip/hooks.h"

#include <algorithm>
#include <cstring>

#include "base/big_endian.h"
#include "lwip/ip.h"
#include "lwip/ip_addr.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/prot/tcp.h"
#include "lwip/tcp.h"
#include "netstack/address.h"
#include "netstack/core.h"
#include "netstack/input_filter.h"
#include "netstack/tcp_connection.h"
#include "netstack/tcp_recovery.h"

namespace im::netstack {
namespace {

// The largest segment that fits the interface which the packet came by.
uint16_t InterfaceMss() {
  const uint32_t headers = TCP_HLEN + (ip_current_is_v6() ? IP6_HLEN : IP_HLEN);
  return static_cast<uint16_t>(ip_current_input_netif()->mtu - headers);
}

// `options` are well-formed: the filter saw them.
void ClampMss(std::span<uint8_t> options) {
  while (!options.empty() && options[0] != LWIP_TCP_OPT_EOL) {
    if (options[0] == LWIP_TCP_OPT_NOP) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return;
    if (options[0] == LWIP_TCP_OPT_MSS && options[1] == LWIP_TCP_OPT_LEN_MSS)
      StoreBig16(&options[2], std::clamp(LoadBig16(&options[2]), kLeastMss, InterfaceMss()));
    options = options.subspan(options[1]);
  }
}

// Slow start by all bytes that an ACK covers (lwIP stops at two segments).
void CountWholeAck(tcp_pcb& pcb, const tcp_hdr& header) {
  if (pcb.cwnd >= pcb.ssthresh || (pcb.flags & (TF_INFR | TF_RTO)) != 0) return;
  if (!TCP_SEQ_BETWEEN(header.ackno, pcb.lastack + 1, pcb.snd_nxt)) return;
  const tcpwnd_size_t acked = header.ackno - pcb.lastack;
  const tcpwnd_size_t by_lwip = 2 * tcpwnd_size_t{pcb.mss};
  if (acked > by_lwip) pcb.cwnd = LWIP_MIN(pcb.cwnd + acked - by_lwip, pcb.ssthresh);
}

err_t OnTcpSegment(tcp_pcb& pcb, const tcp_hdr& header, std::span<const uint8_t> options,
                   const pbuf& payload) {
  const u8_t flags = TCPH_FLAGS(&header);
  if (pcb.state == SYN_SENT) {
    // No simultaneous open: lwIP does not have it, but takes the options.
    return (flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN ? ERR_VAL : ERR_OK;
  }
  if ((flags & (TCP_SYN | TCP_RST)) == TCP_SYN) {
    // The SYN that it began with may come again.
    if (pcb.state == SYN_RCVD && header.seqno == pcb.rcv_nxt - 1) return ERR_OK;
    tcp_send_empty_ack(&pcb);
    return ERR_VAL;
  }
  const u32_t end = header.seqno + payload.tot_len + ((flags & TCP_FIN) != 0 ? 1 : 0);
  const u32_t window_end = pcb.rcv_nxt + pcb.rcv_wnd;
  if ((flags & TCP_RST) == 0) {
    if (end == header.seqno) {
      if (TCP_SEQ_GT(end, window_end)) return ERR_VAL;
    } else if (TCP_SEQ_GEQ(end, window_end)) {
      if (TCP_SEQ_GT(header.seqno, pcb.rcv_nxt)) {
        tcp_send_empty_ack(&pcb);  // RFC 9293 3.10.7.4
        return ERR_VAL;
      }
      // It covers all that is queued.
      tcp_free_ooseq(&pcb);
    }
  }
  if ((flags & TCP_ACK) != 0 && pcb.persist_backoff > 0 &&
      TCP_SEQ_BETWEEN(header.ackno, pcb.lastack + 1, pcb.snd_nxt))
    pcb.persist_backoff = 0;  // tcp_output() starts it anew
  // tcp_ack() acknowledges at once when one is due already.
  if (payload.tot_len >= 2 * u32_t{pcb.mss} || (payload.tot_len > 0 && pcb.ooseq != nullptr))
    tcp_set_flags(&pcb, TF_ACK_DELAY);
  if ((flags & (TCP_ACK | TCP_SYN | TCP_RST)) == TCP_ACK) {
    if (TcpRecovery* recovery = TcpRecovery::Of(pcb)) {
      if (TCP_SEQ_BETWEEN(header.ackno, pcb.lastack, pcb.snd_nxt))
        recovery->OnAcknowledgment(header.ackno, options);
      recovery->SendAtEndOfTurn();
    }
    CountWholeAck(pcb, header);
  }
  TcpConnectionImpl::OnSegment(&pcb);
  return ERR_OK;
}

}  // namespace
}  // namespace im::netstack

using im::netstack::Core;
using im::netstack::FromLwip;

err_t im_lwip_tcp_in(tcp_pcb* pcb, tcp_hdr* header, u16_t options_size, u16_t options_size_1,
                     u8_t*, pbuf* payload) {
  if (options_size != options_size_1) return ERR_VAL;  // our packets are flat
  const std::span<uint8_t> options(reinterpret_cast<uint8_t*>(header + 1), options_size);
  const bool syn = (TCPH_FLAGS(header) & TCP_SYN) != 0;
  if (syn) im::netstack::ClampMss(options);
  err_t result = ERR_OK;
  if (pcb->state != LISTEN && pcb->state != TIME_WAIT)
    result = im::netstack::OnTcpSegment(*pcb, *header, options, *payload);
  if (!syn && !options.empty()) std::memset(options.data(), LWIP_TCP_OPT_NOP, options.size());
  return result;
}

u32_t* im_lwip_tcp_out(const pbuf* segment, const tcp_hdr* header, const tcp_pcb* pcb,
                       u32_t* options) {
  if (pcb == nullptr) return options;
  const uint32_t payload = segment->tot_len - uint32_t{TCPH_HDRLEN_BYTES(header)};
  if (payload > pcb->mss) Core::current()->ExpectSuperPacket(pcb->mss);
  // While the window is closed only probes leave, which count as nothing sent.
  if (pcb->state < ESTABLISHED || pcb->persist_backoff > 0) return options;
  const u32_t size = payload + ((TCPH_FLAGS(header) & TCP_FIN) != 0 ? 1 : 0);
  if (size == 0) return options;
  if (im::netstack::TcpRecovery* recovery = im::netstack::TcpRecovery::Of(*pcb))
    recovery->OnSent(lwip_ntohl(header->seqno), size);
  return options;
}

u32_t im_lwip_isn(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                  u16_t remote_port) {
  return Core::current()->InitialSequence({FromLwip(*local_ip), local_port},
                                          {FromLwip(*remote_ip), remote_port});
}

netif* im_lwip_route4(const ip4_addr_t* source, const ip4_addr_t* destination) {
  netif* nic;
  if (source != nullptr && !ip4_addr_isany_val(*source)) {
    NETIF_FOREACH(nic) {
      if (ip4_addr_eq(source, netif_ip4_addr(nic))) return nic;
    }
    return nullptr;
  }
  // lwIP has looked for a network that holds the destination. There is one
  // interface as a rule, and what lies behind it is the tunnel's business.
  if (source == nullptr && !ip4_addr_isloopback(destination)) {
    NETIF_FOREACH(nic) {
      if (!ip4_addr_isany_val(*netif_ip4_addr(nic))) return nic;
    }
  }
  return nullptr;
}

netif* im_lwip_route6(const ip6_addr_t* source, const ip6_addr_t* destination) {
  netif* nic;
  netif* first = nullptr;
  NETIF_FOREACH(nic) {
    if (!ip6_addr_isvalid(netif_ip6_addr_state(nic, 0))) continue;
    if (source != nullptr && ip6_addr_eq(source, netif_ip6_addr(nic, 0))) return nic;
    if (ip6_addr_net_eq(destination, netif_ip6_addr(nic, 0))) return nic;
    if (first == nullptr) first = nic;
  }
  return first;
}
