/* What we set differently from lwIP's defaults (lwip/opt.h), and why. The
 * defaults are made for microcontrollers with one slow Ethernet port; ours is
 * a fast, ordered path inside a machine or a tunnel, in a process that should
 * hold next to nothing while it is idle. */

#ifndef IM_NETSTACK_LWIP_LWIPOPTS_H_
#define IM_NETSTACK_LWIP_LWIPOPTS_H_

/* ---- One thread, raw API ---- */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_STATS 0 /* we count in DropCounters */
/* Timers are run by netstack/tcp_timer.cc, which stops when nothing is due:
 * lwIP's own would wake an idle process every second. */
#define LWIP_TIMERS 0
#define LWIP_HOOK_FILENAME "hooks.h"
/* Here and not in hooks.h, since lwip/ip4.h asks for it. */
#define LWIP_HOOK_IP4_ROUTE_SRC(source, destination) im_lwip_route4((source), (destination))

/* ---- Memory: malloc, so that an idle stack has none ---- */
#define MEM_CUSTOM_ALLOCATOR 1
/* malloc, with large blocks kept for the next use (block_pool.h). */
#define MEM_CUSTOM_MALLOC im_lwip_malloc
#define MEM_CUSTOM_CALLOC im_lwip_calloc
#define MEM_CUSTOM_FREE im_lwip_free
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
/* Default 8 bits: a pbuf shared by more than 255 holders would be freed. */
#define LWIP_PBUF_REF_T u32_t

/* ---- Interfaces: IP packets in and out, no link layer ---- */
#define LWIP_ARP 0
#define LWIP_ETHERNET 0
#define LWIP_NETIF_LOOPBACK 0
#define LWIP_HAVE_LOOPIF 0
#define PBUF_LINK_HLEN 0
#define PBUF_LINK_ENCAPSULATION_HLEN 0

/* ---- IP ---- */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define IP_DEFAULT_TTL 64 /* as Linux; hops are not counted inside a tunnel */
#define IP_FORWARD 0
#define IP_OPTIONS_ALLOWED 0 /* source routing has no honest use here */
#define LWIP_ICMP 1
#define LWIP_RAW 0
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_IGMP 0
#define LWIP_DNS 0
/* Only UDP and ICMP need reassembly (input_filter.h drops TCP fragments). One
 * datagram of 64 KB is 48 fragments at the default MTU; four may be underway. */
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAXAGE 15      /* seconds */
#define IP_REASS_MAX_PBUFS 256  /* fragments in all */
#define LWIP_IPV6_FRAG 1
#define LWIP_IPV6_REASS 1
#define IPV6_REASS_MAXAGE 15 /* seconds */
#define IPV6_FRAG_COPYHEADER 1 /* pointers are wider than lwIP's notes in the packet allow */
/* Addresses are given, never negotiated: no neighbour discovery traffic. */
#define LWIP_IPV6_SCOPES 0
#define LWIP_IPV6_NUM_ADDRESSES 1
#define LWIP_IPV6_MLD 0
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DHCP6 0
#define LWIP_ND6_QUEUEING 0
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 0

/* ---- Checksums ----
 * Input: verified by input_filter.cc, eight bytes at a time, and only for
 * packets that did not come out of an authenticated session. Output of TCP:
 * written by interface.cc when the segment is laid out flat. */
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_CHECK_UDP 0
#define CHECKSUM_GEN_TCP 0
/* Adds 8 bytes at a time where lwIP still sums by itself (UDP, ICMP). */
#define LWIP_CHKSUM_ALGORITHM 3

/* ---- UDP ---- */
#define LWIP_UDP 1

/* ---- TCP ---- */
#define LWIP_TCP 1
/* The largest segment that an interface of MTU 65,535 can carry; what is used
 * is the interface's MTU less the headers (TCP_CALCULATE_EFF_SEND_MSS). */
#define TCP_MSS 65000
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* they concern the socket API's u16_t */
/* The most that a connection can have: 3 Gb/s over 80 ms. What it has is up to
 * receive_window.h and TcpConnectionImpl::SendBufferBytes. Allocated as data
 * comes, not in advance. */
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 10
#define TCP_WND (32 * 1024 * 1024)
#define TCP_SND_BUF (32 * 1024 * 1024)
/* pbufs queued for sending; 32 MB of full segments at MSS 1380 are 24,314. */
#define TCP_SND_QUEUELEN 0xc000
/* Sent; what is received is read by tcp_recovery.cc. */
#define LWIP_TCP_SACK_OUT 1
#define TCP_QUEUE_OOSEQ 1
/* Unbounded by default: a peer could fill the memory with one-byte segments.
 * Bytes are bounded by the window (hooks.cc), pbufs by what it would hold at 512
 * bytes each. lwIP counts them in 16 bits. */
#define TCP_OOSEQ_PBUFS_LIMIT(pcb) ((u16_t)(64 + LWIP_MIN((pcb)->rcv_wnd / 512, 0x8000)))
/* No backlog by lwIP: its count is 8 bits wide and overflow is silent. Half-open
 * connections are bounded in tcp_listener.cc. */
#define TCP_LISTEN_BACKLOG 0
/* Half-open mark (tcp_listener.cc), loss recovery (tcp_recovery.cc), entry in
 * the table (pcb_table.cc). */
#define LWIP_TCP_PCB_NUM_EXT_ARGS 3
/* A server that is started anew binds although old connections linger. */
#define SO_REUSE 1
/* The fine timer (delayed ACKs); the coarse one (retransmission to peers
 * without SACK) is twice this. Its least timeout is three ticks: 150 ms. */
#define TCP_TMR_INTERVAL 25 /* ms */
#define LWIP_TCP_RTO_TIME 1000 /* ms, RFC 6298 2.1; default 3000 */
#define TCP_MSL 30000UL /* ms; TIME_WAIT lasts twice this, as in Linux */
/* Until a connection is given up; tcp_connection.cc sends SYNs itself. */
#define TCP_SYNMAXRTX 12
#define TCP_MAXRTX 12
/* Half of the ports for dialling; connections to different endpoints share them
 * (Core::EphemeralPort). */
#define TCP_LOCAL_PORT_RANGE_START 0x8000
#define TCP_LOCAL_PORT_RANGE_END 0xffff
#define TCP_ENSURE_LOCAL_PORT_RANGE(port) ((u16_t)((port) | TCP_LOCAL_PORT_RANGE_START))
/* Room at the end of a segment for more of a stream of small writes: what is
 * used at most is one MSS, and this much is added to each allocation. */
#define TCP_OVERSIZE 1400

#endif /* IM_NETSTACK_LWIP_LWIPOPTS_H_ */
