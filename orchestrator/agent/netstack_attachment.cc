#include "orchestrator/agent/netstack_attachment.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <utility>

#include "orchestrator/agent/early_packets.h"

namespace im::agent {
namespace {

constexpr uint16_t kDnsPort = 53;

SocketBroker::Options BrokerOptions(const NetstackAttachment::Options& options) {
  SocketBroker::Options broker;
  (options.host.is_v4() ? broker.address4 : broker.address6) = options.host;
  broker.resolver = Endpoint{options.gateway, kDnsPort};
  broker.network = IpPrefix(options.host, options.prefix_length);
  if (options.dual_stack.on()) {
    broker.address6 = options.dual_stack.ToV6(options.host);
    broker.network6 = options.dual_stack.network();
  }
  return broker;
}

// Each socket of the program is a descriptor here. The program, which was forked
// before, keeps its own limit.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

NetstackAttachment::NetstackAttachment(const Options& options, EventLoop& loop,
                                       Delegate& delegate)
    : options_(options),
      loop_(loop),
      delegate_(delegate),
      outlet_(*this),
      stack_(loop),
      broker_(loop, stack_, [&] {
        SocketBroker::Options broker = BrokerOptions(options);
        broker.on_opened = [this](int type, uint16_t port) { OnOpened(type, port); };
        return broker;
      }()) {}

absl::StatusOr<std::unique_ptr<NetstackAttachment>> NetstackAttachment::Create(
    const Options& options, EventLoop& loop, Delegate& delegate) {
  RaiseDescriptorLimit();
  std::unique_ptr<NetstackAttachment> attachment(
      new NetstackAttachment(options, loop, delegate));
  IM_ASSIGN_OR_RETURN(attachment->interface_,
                      attachment->stack_.AddInterface({.name = "im0",
                                                       .address = options.host,
                                                       .prefix_length = options.prefix_length,
                                                       .mtu = options.mtu},
                                                      attachment->outlet_));
  if (options.dual_stack.on()) {
    IM_ASSIGN_OR_RETURN(
        attachment->interface6_,
        attachment->stack_.AddInterface({.name = "im0",
                                         .address = options.dual_stack.ToV6(options.host),
                                         .prefix_length = DualStack::kPrefixLength,
                                         .mtu = options.mtu},
                                        attachment->outlet_));
    attachment->inlet_.emplace(attachment->interface_, attachment->interface6_);
  }
  return attachment;
}

absl::Status NetstackAttachment::Adopt(FileDescriptor fd) {
  broker_.AddProgram(std::move(fd));
  return absl::OkStatus();
}

// ---- before the program listens ----

void NetstackAttachment::OnProgramStart(Instant now) { old_at_ = now + options_.hold_for; }

bool NetstackAttachment::LetIn(const Packet& packet, const IpView& view) {
  if (old_at_ == kNever || view.fragment) return true;
  if (view.is_rst()) unlistened_.Forget(view.flow());
  if (!view.is_syn() && !view.is_udp()) return true;
  const int type = view.is_udp() ? SOCK_DGRAM : SOCK_STREAM;
  const UnlistenedPackets::Place place(view.protocol, {view.destination, view.destination_port});
  if (options_.dual_stack.Plain(view.destination) != options_.host || refusing_.contains(place) ||
      broker_.IsOpen(type, place.second))
    return true;
  unlistened_.Keep(packet, view);
  if (IsOpenByOther(type, place.second)) RefuseSoon(place);
  return false;
}

void NetstackAttachment::OnOpened(int type, uint16_t port) {
  const uint8_t protocol = type == SOCK_STREAM ? kProtocolTcp : kProtocolUdp;
  for (const IpPrefix& own : options_.dual_stack.HostPrefixes(options_.host)) {
    const UnlistenedPackets::Place place(protocol, {own.address(), port});
    if (broker_.IsOpen(type, place.second)) {
      Write(unlistened_.Take(place));
    } else if (unlistened_.Has(place)) {
      RefuseSoon(place);
    }
  }
}

bool NetstackAttachment::IsOpenByOther(int type, const Endpoint& at) const {
  if (!options_.dual_stack.on()) return false;
  const IpAddress other = at.address.is_v4() ? options_.dual_stack.ToV6(at.address) : options_.host;
  return broker_.IsOpen(type, {other, at.port});
}

void NetstackAttachment::RefuseSoon(const UnlistenedPackets::Place& place) {
  if (grace_.contains(place)) return;
  grace_[place] = loop_.After(EarlyPackets::kFamilyGrace, [this, place] {
    refusing_.insert(place);
    Write(unlistened_.Take(place));  // is refused, unless it is open now
    grace_.erase(place);
  });
}

void NetstackAttachment::OnTimer() {
  if (loop_.now() < old_at_) return;
  old_at_ = kNever;
  grace_.clear();
  Write(unlistened_.TakeAll());  // is refused
}

void NetstackAttachment::OnProcessesGone() {
  broker_.OnProgramsEnd();
  old_at_ = kNever;
  grace_.clear();
  Write(unlistened_.TakeAll());
}

// ---- packets ----

const DropCounters& NetstackAttachment::drops() const {
  if (interface6_ == nullptr) return interface_->drops();
  drops_ = interface_->drops();
  drops_.Add(interface6_->drops());
  return drops_;
}

void NetstackAttachment::Write(PacketBatch batch) {
  if (batch.empty()) return;
  if (!in_output_ && inlet_) return inlet_->Write(std::move(batch));
  if (!in_output_) return interface_->Write(std::move(batch));
  if (after_output_.empty())
    loop_.AtEndOfTurn([this] { Write(std::exchange(after_output_, PacketBatch())); });
  for (const Packet& packet : batch) after_output_.AppendCopy(packet);
}

void NetstackAttachment::OnOutput(PacketBatch batch) {
  in_output_ = true;
  delegate_.OnFromProgram(std::move(batch));
  in_output_ = false;
}

}  // namespace im::agent
