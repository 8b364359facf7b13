// What lwIP is allowed to see of the packets that arrive.
//
// lwIP was made for packets of well-meaning peers: it believes lengths, takes
// options from any segment, and asserts on what a hostile peer can bring
// about. Here every packet is looked at once, and only what the stack has a
// use for goes on:
//
//  - whole and well-formed IP (ParseIp), for our own address, from another
//    unicast address, without IP options or IPv6 extension headers other than
//    the fragment header;
//  - TCP: unfragmented; with SYN, RST or ACK; without SYN+FIN and SYN+RST; a
//    SYN's options well-formed;
//  - UDP and ICMP echo requests, also as fragments of sane size;
//  - ICMP "destination unreachable" is turned into a value (Unreachable) and
//    does not reach lwIP, which would ignore it;
//  - checksums right, where they were not vouched for.
//
// What depends on a connection's state is checked in hooks.cc.

#ifndef IM_NETSTACK_INPUT_FILTER_H_
#define IM_NETSTACK_INPUT_FILTER_H_

#include <cstdint>
#include <optional>
#include <span>

#include "base/counters.h"
#include "base/ip_address.h"
#include "base/ip_header.h"
#include "base/packet.h"

namespace im::netstack {

// The least segment size that a peer may ask for, in bytes. Below it a small
// SYN could make us send thousands of packets for each kilobyte.
inline constexpr uint16_t kLeastMss = 216;

struct FilterResult {
  enum class Verdict {
    kDrop,     // `reason` says why
    kDeliver,  // to lwIP, without the bytes beyond view.total_size
    kIcmpError,
  };
  Verdict verdict = Verdict::kDrop;
  DropReason reason = DropReason::kMalformed;
  IpView view;
};

// `own` is the interface's address.
FilterResult FilterInput(const Packet& packet, const IpAddress& own);

// A packet of ours that could not be delivered, as an ICMP error tells.
struct Unreachable {
  FlowKey flow;               // as we sent it
  bool port = false;          // the host is there, the port (or protocol) is not
  uint32_t tcp_sequence = 0;  // TCP only
};
// nullopt for errors that do not end a connection attempt (fragmentation
// needed, time exceeded …). Preconditions: FilterInput said kIcmpError.
std::optional<Unreachable> ParseUnreachable(std::span<const uint8_t> packet, const IpView& view);

// True if the options are well-formed as far as an end-of-options.
bool TcpOptionsAreSound(std::span<const uint8_t> options);

}  // namespace im::netstack

#endif  // IM_NETSTACK_INPUT_FILTER_H_
