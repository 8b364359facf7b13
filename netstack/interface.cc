#include "netstack/interface.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/segment_split.h"
#include "base/status.h"
#include "lwip/ip4.h"
#include "lwip/ip6.h"
#include "netstack/address.h"
#include "netstack/core.h"
#include "netstack/pbuf.h"
#include "netstack/tcp_connection.h"
#include "netstack/udp_endpoint.h"

namespace im::netstack {
namespace {

// RFC 791 3.2 (what every IPv4 host must take), RFC 8200 5.
constexpr int kLeastMtu4 = 576;
constexpr int kLeastMtu6 = 1280;

absl::Status Validate(const InterfaceOptions& options) {
  const IpAddress& address = options.address;
  if (address.is_unspecified() || address.is_multicast() || address.is_loopback())
    return absl::InvalidArgumentError(
        absl::StrCat("interface ", options.name, ": ", address.ToString(),
                     " cannot be an interface's address"));
  const int length_max = address.is_v4() ? 32 : 128;
  if (options.prefix_length < 1 || options.prefix_length > length_max)
    return absl::InvalidArgumentError(absl::StrCat("interface ", options.name, ": prefix length ",
                                                   options.prefix_length, " is not 1 to ",
                                                   length_max));
  const int mtu_least = address.is_v4() ? kLeastMtu4 : kLeastMtu6;
  if (options.mtu < mtu_least || options.mtu > static_cast<int>(kPacketBytesMax))
    return absl::InvalidArgumentError(absl::StrCat("interface ", options.name, ": MTU ",
                                                   options.mtu, " is not ", mtu_least, " to ",
                                                   kPacketBytesMax));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<InterfaceImpl>> InterfaceImpl::Create(
    Core& core, const InterfaceOptions& options, PacketSink& out) {
  IM_RETURN_IF_ERROR(Validate(options));
  if (core.FindInterface(options.address) != nullptr)
    return absl::AlreadyExistsError(absl::StrCat("interface ", options.name, ": ",
                                                 options.address.ToString(), " is there already"));
  std::unique_ptr<InterfaceImpl> nic(new InterfaceImpl(core, options, out));
  struct netif* netif = &nic->netif_;
  const auto init = [](struct netif* n) -> err_t {
    auto* self = static_cast<InterfaceImpl*>(n->state);
    n->name[0] = 'i';
    n->name[1] = 'm';
    n->mtu = static_cast<u16_t>(self->options_.mtu);
    n->flags = NETIF_FLAG_LINK_UP;
    n->output = [](struct netif* to, pbuf* p, const ip4_addr_t*) -> err_t {
      static_cast<InterfaceImpl*>(to->state)->Output(p);
      return ERR_OK;
    };
    n->output_ip6 = [](struct netif* to, pbuf* p, const ip6_addr_t*) -> err_t {
      static_cast<InterfaceImpl*>(to->state)->SenderOf6(p)->Output(p);
      return ERR_OK;
    };
    return ERR_OK;
  };
  const ip_addr_t address = ToLwip(options.address);
  ip4_addr_t none{}, mask{};
  const bool v4 = options.address.is_v4();
  if (v4) mask.addr = lwip_htonl(~uint32_t{0} << (32 - options.prefix_length));
  if (netif_add(netif, v4 ? ip_2_ip4(&address) : &none, v4 ? &mask : &none, &none, nic.get(), init,
                nullptr) == nullptr)
    return absl::ResourceExhaustedError(absl::StrCat("interface ", options.name, ": too many"));
  nic->added_ = true;
  if (!v4) {
    netif_ip6_addr_set(netif, 0, ip_2_ip6(&address));
    netif_ip6_addr_set_state(netif, 0, IP6_ADDR_PREFERRED);
  }
  netif_set_up(netif);
  return nic;
}

InterfaceImpl::~InterfaceImpl() {
  if (!added_) return;
  const bool before = std::exchange(core_.removing_interface, true);
  blocked_ = false;
  core_.pcbs().UnparkAll();
  netif_remove(&netif_);  // aborts its connections
  core_.removing_interface = before;
  Flush();
}

void InterfaceImpl::Write(PacketBatch batch) {
  core_.Enter();
  for (Packet& packet : batch) {
    const FilterResult result = FilterInput(packet, options_.address);
    switch (result.verdict) {
      case FilterResult::Verdict::kDrop:
        drops_.Add(result.reason);
        break;
      case FilterResult::Verdict::kIcmpError:
        if (const auto unreachable = ParseUnreachable(packet.bytes(), result.view)) {
          TcpConnectionImpl::OnUnreachable(core_, *unreachable);
          UdpEndpointImpl::OnUnreachable(*unreachable);
        }
        break;
      case FilterResult::Verdict::kDeliver:
        if (result.view.fragment) core_.OnFragment();
        if (packet.segment_size != 0 && result.view.is_udp()) {
          InputDatagrams(packet);
        } else {
          Input(packet, result.view);
        }
        break;
    }
  }
  core_.FlushIfMuch();
}

void InterfaceImpl::Input(const Packet& packet, const IpView& view) {
  pbuf* p = ToPbuf(packet.bytes().first(view.total_size));
  if (p == nullptr) {
    drops_.Add(DropReason::kQueueFull);
    return;
  }
  std::optional<PcbTable::Lookup> lookup;
  if (view.is_tcp()) {
    core_.pcbs().EndTimeWait(view);
    lookup.emplace(core_.pcbs(), view.flow());
  }
  // Both take the pbuf, whatever they answer.
  if (view.v6) {
    ip6_input(p, &netif_);
  } else {
    ip4_input(p, &netif_);
  }
}

void InterfaceImpl::InputDatagrams(const Packet& packet) {
  const SegmentSplitter splitter(packet);
  if (!splitter.valid()) {
    drops_.Add(DropReason::kMalformed);
    return;
  }
  for (size_t i = 0; i < splitter.count(); ++i) {
    PacketBatch one;
    Packet& datagram = one.Append(splitter.size(i));
    splitter.Write(i, datagram.bytes());
    if (const std::optional<IpView> view = ParseIp(datagram.bytes())) Input(datagram, *view);
  }
}

// lwIP asks im_lwip_route6 last, and before that takes the interface whose
// network holds the destination, be it another one than the source's.
InterfaceImpl* InterfaceImpl::SenderOf6(const pbuf* packet) {
  const IpAddress source =
      IpAddress::FromBytes({static_cast<const uint8_t*>(packet->payload) + 8, 16});
  if (source == options_.address) return this;
  InterfaceImpl* sender = core_.FindInterface(source);
  return sender != nullptr ? sender : this;
}

void InterfaceImpl::LiftMtu(bool lifted) {
  netif_.mtu = static_cast<u16_t>(lifted ? kPacketBytesMax : static_cast<size_t>(options_.mtu));
}

void InterfaceImpl::Output(const pbuf* chain) {
  const uint16_t segment_size = core_.TakeSegmentSize();
  if (blocked_ && pending_bytes_ >= kBlockedBytesMax) {
    drops_.Add(DropReason::kQueueFull);
    return;
  }
  core_.Schedule();
  Packet& packet = AppendPbuf(pending_, chain);
  pending_bytes_ += packet.size;
  // lwIP leaves TCP's checksum to us.
  const std::optional<IpView> view = ParseIp(packet.bytes());
  if (!view.has_value() || !view->is_tcp()) return;
  if (segment_size == 0) {
    SetTransportChecksum(packet.bytes(), *view);
    return;
  }
  // Whoever cuts it computes those of the segments.
  constexpr size_t kTcpChecksumOffset = 16;
  const uint64_t sum =
      PseudoHeaderSum(view->source, view->destination, view->protocol,
                      static_cast<uint32_t>(packet.size - view->transport_offset));
  StoreBig16(packet.data + view->transport_offset + kTcpChecksumOffset, FoldSum(sum));
  packet.segment_size = segment_size;
  packet.checksum_partial = true;
}

void InterfaceImpl::SetBlocked(bool blocked) {
  blocked_ = blocked;
  if (!blocked && !pending_.empty()) core_.Schedule();  // not from within the sink
}

void InterfaceImpl::Flush() {
  if (blocked_ || pending_.empty()) return;
  pending_bytes_ = 0;
  out_.Write(std::exchange(pending_, PacketBatch()));
}

}  // namespace im::netstack
