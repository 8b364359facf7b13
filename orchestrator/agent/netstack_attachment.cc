#include "orchestrator/agent/netstack_attachment.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <utility>

namespace im::agent {
namespace {

constexpr uint16_t kDnsPort = 53;

SocketBroker::Options BrokerOptions(const NetstackAttachment::Options& options) {
  SocketBroker::Options broker;
  (options.host.is_v4() ? broker.address4 : broker.address6) = options.host;
  broker.resolver = Endpoint{options.gateway, kDnsPort};
  broker.network = IpPrefix(options.host, options.prefix_length);
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
  if (view.destination != options_.host || broker_.IsOpen(type, view.destination_port)) return true;
  unlistened_.Keep(packet, view);
  return false;
}

void NetstackAttachment::OnOpened(int type, uint16_t port) {
  Write(unlistened_.Take(type == SOCK_STREAM ? kProtocolTcp : kProtocolUdp, port));
}

void NetstackAttachment::OnTimer() {
  if (loop_.now() < old_at_) return;
  old_at_ = kNever;
  Write(unlistened_.TakeAll());  // is refused
}

void NetstackAttachment::OnProcessesGone() {
  broker_.OnProgramsEnd();
  old_at_ = kNever;
  Write(unlistened_.TakeAll());
}

// ---- packets ----

void NetstackAttachment::Write(PacketBatch batch) {
  if (batch.empty()) return;
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
