#include "netstack/pcb_table.h"

#include <memory>
#include <utility>

#include "base/check.h"
#include "lwip/priv/tcp_priv.h"
#include "netstack/address.h"

namespace im::netstack {
namespace {

FlowKey FlowOf(const tcp_pcb& pcb) {
  return {FromLwip(pcb.remote_ip), FromLwip(pcb.local_ip), pcb.remote_port, pcb.local_port,
          kProtocolTcp};
}

// The pointer to `pcb`, which may not be alive, in a list that it is in.
tcp_pcb** PlaceOf(tcp_pcb** list, const tcp_pcb* pcb) {
  while (*list != pcb) list = &(*list)->next;
  return list;
}

void Append(tcp_pcb** list, tcp_pcb* rest) {
  while (*list != nullptr) list = &(*list)->next;
  *list = rest;
}

bool IsBound(const tcp_pcb* list, uint16_t port) {
  for (; list != nullptr; list = list->next)
    if (list->local_port == port) return true;
  return false;
}

bool IsListenedOn(uint16_t port) {
  for (const tcp_pcb_listen* pcb = tcp_listen_pcbs.listen_pcbs; pcb != nullptr; pcb = pcb->next)
    if (pcb->local_port == port) return true;
  return false;
}

}  // namespace

PcbTable::~PcbTable() { IM_CHECK(entries_.empty()); }

uint8_t PcbTable::ExtArgId() {
  static const uint8_t id = tcp_ext_arg_alloc_id();
  return id;
}

PcbTable::Entry* PcbTable::EntryOf(const tcp_pcb& pcb) {
  return static_cast<Entry*>(tcp_ext_arg_get(&pcb, ExtArgId()));
}

void PcbTable::OnDestroyed(uint8_t, void* data) {
  const std::unique_ptr<Entry> entry(static_cast<Entry*>(data));
  if (entry == nullptr) return;
  IM_CHECK(!entry->parked);  // lwIP would not have found it to free it
  entry->table->entries_.erase(entry.get());
}

bool PcbTable::Add(tcp_pcb* pcb) {
  static constexpr tcp_ext_arg_callbacks kCallbacks = {OnDestroyed, nullptr};
  auto entry = std::make_unique<Entry>(Entry{FlowOf(*pcb), pcb, this});
  if (!entries_.insert(entry.get()).second) return false;
  tcp_ext_arg_set(pcb, ExtArgId(), entry.release());
  tcp_ext_arg_set_callbacks(pcb, ExtArgId(), &kCallbacks);
  return true;
}

tcp_pcb* PcbTable::Find(const FlowKey& flow) const {
  const auto found = entries_.find(flow);
  return found == entries_.end() ? nullptr : (*found)->pcb;
}

void PcbTable::Unpark(Entry& entry) {
  entry.parked = false;
  --parked_;
  entry.pcb->next = std::exchange(tcp_active_pcbs, entry.pcb);
  // Of a list that is being walked, should that ever be so.
  tcp_active_pcbs_changed = 1;
}

void PcbTable::Use(tcp_pcb& pcb) {
  Entry* entry = EntryOf(pcb);
  if (entry != nullptr && entry->parked) Unpark(*entry);
}

bool PcbTable::Park(tcp_pcb** at) {
  tcp_pcb* pcb = *at;
  Entry* entry = EntryOf(*pcb);
  if (entry == nullptr) return false;
  *at = std::exchange(pcb->next, nullptr);
  // lwIP takes it from its connections when the listener ends, and has no
  // further use for it once the connection is established.
  pcb->listener = nullptr;
  entry->parked = true;
  ++parked_;
  return true;
}

void PcbTable::UnparkAll() {
  if (parked_ == 0) return;
  for (Entry* entry : entries_)
    if (entry->parked) Unpark(*entry);
}

uint32_t PcbTable::TicksWithoutProgress(const tcp_pcb& pcb) {
  Entry* entry = EntryOf(pcb);
  if (entry == nullptr) return 0;
  if (entry->acknowledged_at == 0 || entry->acknowledged != pcb.lastack) {
    entry->acknowledged = pcb.lastack;
    entry->acknowledged_at = tcp_ticks;
  }
  return tcp_ticks - entry->acknowledged_at;
}

uint16_t PcbTable::FreePort(const IpAddress& local, const Endpoint& remote, uint32_t hint) const {
  constexpr uint32_t kPorts = TCP_LOCAL_PORT_RANGE_END - TCP_LOCAL_PORT_RANGE_START + 1;
  FlowKey flow{remote.address, local, remote.port, 0, kProtocolTcp};
  for (uint32_t i = 0; i < kPorts; ++i) {
    flow.destination_port =
        static_cast<uint16_t>(TCP_LOCAL_PORT_RANGE_START + (hint + i) % kPorts);
    if (entries_.contains(flow) || IsListenedOn(flow.destination_port) ||
        IsBound(tcp_bound_pcbs, flow.destination_port))
      continue;
    return flow.destination_port;
  }
  return 0;
}

void PcbTable::EndTimeWait(const IpView& segment) {
  if (!segment.is_syn() && !segment.is_rst()) return;
  tcp_pcb* pcb = Find(segment.flow());
  if (pcb == nullptr || pcb->state != TIME_WAIT) return;
  const auto ahead = static_cast<int32_t>(segment.tcp_sequence - pcb->rcv_nxt);
  if (segment.is_syn() ? ahead > 0 : ahead == 0) tcp_abort(pcb);  // sends nothing
}

// ---- Lookup ----

PcbTable::Lookup::Lookup(PcbTable& table, const FlowKey& flow)
    : pcb_(table.Find(flow)), active_one_(pcb_ != nullptr && pcb_->state != TIME_WAIT) {
  if (active_one_) table.Use(*pcb_);
  active_ = tcp_active_pcbs;
  time_wait_ = tcp_tw_pcbs;
  if (active_one_) {
    tcp_active_pcbs = pcb_;  // and those behind it
  } else {
    tcp_active_pcbs = nullptr;
    tcp_tw_pcbs = pcb_;
  }
}

PcbTable::Lookup::~Lookup() {
  if (!active_one_) {
    Append(&tcp_active_pcbs, active_);  // a SYN may have made a connection
    tcp_tw_pcbs = time_wait_;
    return;
  }
  // Where it was there is now what lwIP's list begins with: it, or the one
  // behind it if it has ended or waits.
  *PlaceOf(&active_, pcb_) = tcp_active_pcbs;
  tcp_active_pcbs = active_;
}

}  // namespace im::netstack
