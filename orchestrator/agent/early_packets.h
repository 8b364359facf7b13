// EarlyPackets: packets that come before the program listens are kept, and
// the kernel's refusals of them do not leave.
//
// A host is up before its program is: for a moment, or for the 40 seconds that
// some clusters need, nobody listens on the port that the first packet wants,
// and the host's kernel would answer RST or "port unreachable". While the
// program is young (hold_for since its start) we look at what goes to the
// kernel and what comes back:
//
//   TCP: a SYN that is handed to the kernel is remembered with its bytes.
//     SYN-ACK for it       → forgotten. If its port was closed, it is open
//                            now: the SYNs that wait for it are offered at once
//     RST that refuses it  → swallowed; the port is closed: the SYN waits, and
//                            so do others to this port that come later
//     neither              → dropped by a full accept queue: offered again
//                            after kUnanswered, growing to kUnansweredLast
//     The first that waits at a closed port is offered again after kFirstRetry,
//     twice that, … kLastRetry: one probe for a port, however many wait.
//   UDP: a datagram to a port that is not known to be open is remembered. The
//   kernel refuses while it is handed the datagram, or not at all.
//     ICMP port unreachable         → swallowed; the port is closed: later
//                                     datagrams queue behind, in order, and the
//                                     first is offered again as above
//     nothing within kRefusedWithin → it was taken; the port is open
//     the program sends from it     → the port is open
//
// A port is one of its family: what is refused by one of them says nothing of the other. But
// where the program listens by the other one (kFamilyGrace long), a SYN or datagram is refused:
// its caller may have asked for both addresses, and tries the other one then.
//
// The kernel answers SYNs, not we: nothing is accepted in the program's place.
// When the program has grown old, or has exited, refusals go out: what waits
// gets its own at once.
//
// Limits: kHeldPacketsMax and kHeldBytesMax. A SYN beyond them is not given to
// the kernel (the caller sends it again after a second), a datagram is lost.

#ifndef IM_ORCHESTRATOR_AGENT_EARLY_PACKETS_H_
#define IM_ORCHESTRATOR_AGENT_EARLY_PACKETS_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/clock.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "orchestrator/agent/kept_packet.h"

namespace im::agent {

class EarlyPackets {
 public:
  // Some thousand callers may wait for one start, each with one SYN.
  static constexpr size_t kHeldPacketsMax = 4096;
  static constexpr size_t kHeldBytesMax = 1 << 20;
  static constexpr Duration kFirstRetry = std::chrono::microseconds(200);
  static constexpr Duration kLastRetry = std::chrono::milliseconds(10);
  static constexpr Duration kUnanswered = std::chrono::milliseconds(20);
  static constexpr Duration kUnansweredLast = std::chrono::seconds(1);
  // The kernel refuses while it is being handed the packet; the rest is for
  // our own turn of the loop.
  static constexpr Duration kRefusedWithin = std::chrono::milliseconds(2);

  // More than a program needs to listen by both families, if it does.
  static constexpr Duration kFamilyGrace = std::chrono::milliseconds(50);

  // What to do with the packet that was shown.
  enum class Verdict { kPass, kKeep };
  // Whether the program listens on the port of TCP or UDP by this family. Asked at most once
  // in kFamilyGrace for each port that refuses.
  using Listens = std::function<bool(uint8_t protocol, bool v6, uint16_t port)>;

  // `listens`: null where there is one family.
  explicit EarlyPackets(Duration hold_for, Listens listens = nullptr)
      : hold_for_(hold_for), listens_(std::move(listens)) {}

  // The program is being started: from now on it is young. Again when it has
  // been started, which counts the time anew. Everything passes before.
  void OnProgramStart(Instant now);
  // False: nothing needs to be shown, everything passes.
  bool young() const { return young_; }

  // A packet to the program. kKeep: it must not be handed to the kernel now.
  // Precondition: `view` is of `packet`; so below.
  Verdict OnInbound(const Packet& packet, const IpView& view, Instant now);
  // A packet from the host's kernel. kKeep: it must not leave.
  Verdict OnOutbound(const Packet& packet, const IpView& view, Instant now);

  // When to call OnTimer; kNever: nothing is waiting.
  Instant NextDeadline() const;
  // Appends the packets to hand to the kernel now to `offers`, and, when the
  // program has grown old, the refusals to send to the callers to `refusals`.
  void OnTimer(Instant now, PacketBatch& offers, PacketBatch& refusals);
  // The program is gone: all is refused, nothing is held any more.
  void OnProgramExit(PacketBatch& refusals);

  // Packets that wait for the program to listen.
  size_t held() const;

 private:
  struct Syn {
    KeptPacket packet;
    uint32_t sequence = 0;
    uint32_t refused_by = 0;  // the acknowledgment number of its refusal
    bool waiting = false;     // at a closed port; else it is at the kernel
    Duration delay{0};
    Instant next;             // offer again; not for those that wait
  };
  // Of a port that refuses.
  struct OtherFamily {
    Instant ask_at;        // whether the port is open by it
    bool open = false;     // when that was asked last
    bool refuses = false;  // it was twice: all that wait get their refusals
  };
  struct ClosedTcpPort {
    Duration delay{0};
    Instant next;                 // offer the first again
    std::deque<FlowKey> waiting;  // keys of syns_; never empty
    OtherFamily other;
  };
  struct Datagram {
    FlowKey flow;
    KeptPacket packet;
  };
  // A port of which it is not known that it is open.
  struct UdpPort {
    bool refused = false;  // the first waits; else it is at the kernel
    bool open = false;
    Duration delay{0};
    Instant next;  // offer the first again; if it was not refused: it was taken
    std::deque<Datagram> waiting;  // never empty
    OtherFamily other;
  };

  // IPv6 or not, and the number.
  using Port = std::pair<bool, uint16_t>;

  Verdict OnInboundSyn(const Packet& packet, const IpView& view, Instant now);
  Verdict OnInboundDatagram(const Packet& packet, const IpView& view, Instant now);
  Verdict OnTcpAnswer(const IpView& view, Instant now);
  Verdict OnUnreachable(const Packet& packet, const IpView& view, Instant now);
  bool HasRoomFor(const Packet& packet) const {
    return packets_ < kHeldPacketsMax && bytes_ + packet.size <= kHeldBytesMax;
  }
  void OpenTcpPort(const Port& which, Instant now);
  // Whether those that wait are to be refused.
  bool AskOtherFamily(uint8_t protocol, const Port& which, OtherFamily& other, Instant now);
  void RefuseTcpPorts(PacketBatch& refusals);
  void RefuseUdpPorts(PacketBatch& refusals);
  void ForgetUdpPort(absl::flat_hash_map<Port, UdpPort>::iterator port);
  void OfferSyns(Instant now, PacketBatch& offers);
  void OfferDatagrams(Instant now, PacketBatch& offers);
  void ForgetSyn(const FlowKey& flow);
  void ForgetAll();

  const Duration hold_for_;
  const Listens listens_;
  bool young_ = false;
  Instant old_at_ = kNever;
  absl::flat_hash_map<FlowKey, Syn> syns_;
  absl::flat_hash_map<Port, ClosedTcpPort> closed_tcp_ports_;
  absl::flat_hash_set<Port> refusing_tcp_ports_;  // of the family that the program has not chosen
  absl::flat_hash_map<Port, UdpPort> udp_ports_;
  absl::flat_hash_set<Port> passing_udp_ports_;  // open, or of the other family likewise
  size_t packets_ = 0;  // remembered, waiting or not
  size_t bytes_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_EARLY_PACKETS_H_
