// PcbTable: lwIP's TCP connections by their endpoints.
//
// lwIP keeps its connections in one list. Each segment that comes is looked for
// along it, and each tick walks it, quiet connections and busy ones alike: of
// ten thousand, every one costs the others time. So here is what lwIP does not
// have, without a change to it:
//
//  - A hash table finds a segment's connection. While lwIP has the segment
//    (Lookup), its list begins with that connection, or is empty where there is
//    none; so it looks at one entry, or at none.
//  - A connection that needs no ticks is parked: taken out of lwIP's list. It
//    costs nothing until a segment comes for it or the program uses it (Use).
//    lwIP's list holds those that wait for something.
//
//   in the list <-> parked     Park, at a tick that found nothing to wait for;
//                              Use, Lookup: back, at the front of the list
//
// In the table are all connections from their SYN on until lwIP frees them,
// those in TIME_WAIT too, which are in another list of lwIP's.

#ifndef IM_NETSTACK_PCB_TABLE_H_
#define IM_NETSTACK_PCB_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "base/ip_header.h"
#include "lwip/tcp.h"

namespace im::netstack {

class PcbTable {
 public:
  PcbTable() = default;
  PcbTable(const PcbTable&) = delete;
  PcbTable& operator=(const PcbTable&) = delete;
  ~PcbTable();

  // A pcb that has both endpoints, and is in lwIP's list; its entry ends with it.
  // False, with nothing done, if there is one between these endpoints.
  bool Add(tcp_pcb* pcb);
  // `flow` as the pcb's segments come: from the remote end. nullptr: none.
  tcp_pcb* Find(const FlowKey& flow) const;
  // To be called before anything is done with a pcb of the table.
  void Use(tcp_pcb& pcb);
  // Takes `*at`, an element of lwIP's list that needs no ticks, out of it. False
  // if it is not of the table.
  bool Park(tcp_pcb** at);
  // Before lwIP does anything with all connections at once.
  void UnparkAll();
  // For how many coarse ticks the peer has acknowledged nothing new, since this was
  // asked first of this pcb; 0 if it is not of the table.
  uint32_t TicksWithoutProgress(const tcp_pcb& pcb);

  // A local port for a connection between these, that no other such has and
  // nobody listens on; 0 if there is none. `hint` is where to begin.
  uint16_t FreePort(const IpAddress& local, const Endpoint& remote, uint32_t hint) const;

  // Forgets a connection in TIME_WAIT whose endpoints are to be used again: for
  // a SYN beyond all that it carried (RFC 9293 3.6.1), which lwIP would
  // answer with an acknowledgment, and for the RST with which a peer answers
  // that one, which lwIP ignores. Call it before Lookup.
  void EndTimeWait(const IpView& segment);

  size_t size() const { return entries_.size(); }
  size_t parked() const { return parked_; }

  // While it lives lwIP may be given one TCP segment of `flow`, and nothing else.
  class Lookup {
   public:
    Lookup(PcbTable& table, const FlowKey& flow);
    ~Lookup();
    Lookup(const Lookup&) = delete;
    Lookup& operator=(const Lookup&) = delete;

   private:
    tcp_pcb* const pcb_;
    const bool active_one_;  // pcb_ is in lwIP's list of active ones
    // lwIP's lists, to be put back.
    tcp_pcb* active_;
    tcp_pcb* time_wait_;
  };

 private:
  struct Entry {
    FlowKey flow;
    tcp_pcb* pcb;
    PcbTable* table;
    bool parked = false;
    // What was acknowledged when, in ticks; 0: nobody has asked.
    uint32_t acknowledged = 0;
    uint32_t acknowledged_at = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const FlowKey& flow) const { return absl::HashOf(flow); }
    size_t operator()(const Entry* entry) const { return absl::HashOf(entry->flow); }
  };
  struct Equal {
    using is_transparent = void;
    static const FlowKey& Key(const FlowKey& flow) { return flow; }
    static const FlowKey& Key(const Entry* entry) { return entry->flow; }
    bool operator()(const auto& a, const auto& b) const { return Key(a) == Key(b); }
  };

  static uint8_t ExtArgId();
  static Entry* EntryOf(const tcp_pcb& pcb);
  static void OnDestroyed(uint8_t id, void* entry);
  void Unpark(Entry& entry);

  absl::flat_hash_set<Entry*, Hash, Equal> entries_;
  size_t parked_ = 0;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_PCB_TABLE_H_
