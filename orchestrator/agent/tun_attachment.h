// TunAttachment: the program's network is the kernel's, in a namespace of the
// host's own, behind the TUN device im0.
//
// The namespace is made beside the agent (sandbox_init.h), so packets may come
// before the device does. The kernel's refusals of what comes before the
// program listens are kept from leaving (early_packets.h).

#ifndef IM_ORCHESTRATOR_AGENT_TUN_ATTACHMENT_H_
#define IM_ORCHESTRATOR_AGENT_TUN_ATTACHMENT_H_

#include <sys/types.h>

#include <optional>

#include "base/counters.h"
#include "base/event_loop.h"
#include "base/tun_device.h"
#include "orchestrator/agent/attachment.h"
#include "orchestrator/agent/early_packets.h"

namespace im::agent {

class TunAttachment final : public Attachment {
 public:
  // Packets that came before the TUN device was there. The sandbox needs
  // about 2 ms, and the gateway holds no more for one host.
  static constexpr size_t kBeforeTunMax = 1024;

  struct Options {
    bool offload = true;   // TunDevice
    Duration hold_for{0};  // EarlyPackets
    pid_t init = 0;        // lives in the host's namespaces
    bool dual_stack = false;  // the host has addresses of both families
  };

  // Both must outlive it.
  TunAttachment(const Options& options, EventLoop& loop, Delegate& delegate);

  absl::Status Adopt(FileDescriptor fd) override;
  void OnProgramStart(Instant now) override { early_.OnProgramStart(now); }
  void OnProgramEnd() override;
  void OnProcessesGone() override {}
  void OnPausedOrThawed(bool) override {}
  void Write(PacketBatch batch) override;
  bool LetIn(const Packet& packet, const IpView& view) override;
  bool LetOut(const Packet& packet, const IpView& view) override;
  size_t held() const override { return early_.young() ? early_.held() : 0; }
  Instant NextDeadline() const override { return early_.NextDeadline(); }
  void OnTimer() override;
  int CountConnections() const override;
  int CountWaitingCalls() const override { return 0; }
  const DropCounters& drops() const override { return drops_; }

 private:
  // False: there was nothing to read.
  bool OnReadable();
  // Reads what the kernel has answered so far.
  void Drain();

  const Options options_;
  EventLoop& loop_;
  Delegate& delegate_;
  std::optional<TunDevice> tun_;
  EventLoop::Watch watch_;
  PacketBatch before_tun_;
  EarlyPackets early_;
  DropCounters drops_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TUN_ATTACHMENT_H_
