// NetstackAttachment: the program's network is lwIP in the agent, for a program
// that may do nothing: no root, no namespaces, no TUN device.
//
// The program runs under a filter that tells of its calls on sockets; SocketBroker
// answers them (intercept/socket_broker.h). What Adopt is given is the listener
// of such a filter: one of the program, one of each exec session.
//
// Which ports are open is known here, so what comes before the program listens
// waits until the port is opened (unlistened_packets.h). Where it is opened by one
// family alone, what waits for the other is refused after kFamilyGrace
// (early_packets.h). Who asks a DNS server
// that cannot be reached asks the gateway's address instead, where DataPath
// answers.

#ifndef IM_ORCHESTRATOR_AGENT_NETSTACK_ATTACHMENT_H_
#define IM_ORCHESTRATOR_AGENT_NETSTACK_ATTACHMENT_H_

#include <memory>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/dual_stack.h"
#include "base/event_loop.h"
#include "base/family_split.h"
#include "base/ip_address.h"
#include "base/packet_sink.h"
#include "netstack/net.h"
#include "orchestrator/agent/attachment.h"
#include "orchestrator/agent/intercept/socket_broker.h"
#include "orchestrator/agent/unlistened_packets.h"

namespace im::agent {

class NetstackAttachment final : public Attachment {
 public:
  struct Options {
    IpAddress host;
    int prefix_length = 0;  // of the network
    DualStack dual_stack{};  // of a host with an IPv4 address
    IpAddress gateway;
    int mtu = 0;
    Duration hold_for{0};  // how long the program is young
  };

  // Both must outlive it. One in a process (netstack::Stack).
  static absl::StatusOr<std::unique_ptr<NetstackAttachment>> Create(const Options& options,
                                                                    EventLoop& loop,
                                                                    Delegate& delegate);

  absl::Status Adopt(FileDescriptor fd) override;
  void OnProgramStart(Instant now) override;
  void OnProgramEnd() override {}
  void OnProcessesGone() override;
  void OnPausedOrThawed(bool paused) override { broker_.SetFrozen(paused); }
  void Write(PacketBatch batch) override;
  bool LetIn(const Packet& packet, const IpView& view) override;
  bool LetOut(const Packet&, const IpView&) override { return true; }
  size_t held() const override { return unlistened_.held(); }
  Instant NextDeadline() const override { return old_at_; }
  void OnTimer() override;
  int CountConnections() const override { return broker_.CountConnections(); }
  int CountWaitingCalls() const override { return broker_.CountWaitingCalls(); }
  const DropCounters& drops() const override;

 private:
  // Where the interface puts what leaves.
  class Outlet final : public PacketSink {
   public:
    explicit Outlet(NetstackAttachment& owner) : owner_(owner) {}
    void Write(PacketBatch batch) override { owner_.OnOutput(std::move(batch)); }

   private:
    NetstackAttachment& owner_;
  };

  NetstackAttachment(const Options& options, EventLoop& loop, Delegate& delegate);
  void OnOutput(PacketBatch batch);
  void OnOpened(int type, uint16_t port);
  // By the other address of the host.
  bool IsOpenByOther(int type, const Endpoint& at) const;
  void RefuseSoon(const UnlistenedPackets::Place& place);

  const Options options_;
  EventLoop& loop_;
  Delegate& delegate_;
  Outlet outlet_;
  // While the interface puts something out, what is for it waits.
  bool in_output_ = false;
  PacketBatch after_output_;
  netstack::Stack stack_;
  netstack::Interface* interface_ = nullptr;
  netstack::Interface* interface6_ = nullptr;  // null: IPv4 alone
  std::optional<FamilySplit> inlet_;           // to both
  mutable DropCounters drops_;                 // of both
  UnlistenedPackets unlistened_;
  // Where the program listens by the other family alone; and whether it does is waited for.
  absl::flat_hash_set<UnlistenedPackets::Place> refusing_;
  absl::flat_hash_map<UnlistenedPackets::Place, EventLoop::Timer> grace_;
  Instant old_at_ = kNever;  // kNever: not young
  SocketBroker broker_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_NETSTACK_ATTACHMENT_H_
