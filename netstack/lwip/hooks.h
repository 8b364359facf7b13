/* Where lwIP asks us (implemented in netstack/hooks.cc). */

#ifndef IM_NETSTACK_LWIP_HOOKS_H_
#define IM_NETSTACK_LWIP_HOOKS_H_

#include "lwip/err.h"
#include "lwip/ip_addr.h"

#ifdef __cplusplus
extern "C" {
#endif

struct netif;
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

/* An initial sequence number (RFC 6528). */
u32_t im_lwip_isn(const ip_addr_t* local_ip, u16_t local_port, const ip_addr_t* remote_ip,
                  u16_t remote_port);
/* Each segment before the connection (or listener) sees it; ERR_OK: go on. */
err_t im_lwip_tcp_in(struct tcp_pcb* pcb, struct tcp_hdr* header, u16_t options_size,
                     u16_t options_size_1, u8_t* options_2, struct pbuf* payload);
/* Each segment before it leaves; `pcb` may be NULL. Returns `options`. */
u32_t* im_lwip_tcp_out(const struct pbuf* segment, const struct tcp_hdr* header,
                       const struct tcp_pcb* pcb, u32_t* options);
/* The interface for packets from `source` (may be NULL) to `destination`. */
struct netif* im_lwip_route4(const ip4_addr_t* source, const ip4_addr_t* destination);
struct netif* im_lwip_route6(const ip6_addr_t* source, const ip6_addr_t* destination);

#ifdef __cplusplus
}
#endif

#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) \
  im_lwip_isn((local_ip), (local_port), (remote_ip), (remote_port))
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, size, size1, options2, p) \
  im_lwip_tcp_in((pcb), (header), (size), (size1), (options2), (p))
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, header, pcb, options) \
  im_lwip_tcp_out((p), (header), (pcb), (options))
#define LWIP_HOOK_IP6_ROUTE(source, destination) im_lwip_route6((source), (destination))

#endif /* IM_NETSTACK_LWIP_HOOKS_H_ */
