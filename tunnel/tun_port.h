// TunPort: a TUN device on an EventLoop, as a PacketSink in each direction.

#ifndef IM_TUNNEL_TUN_PORT_H_
#define IM_TUNNEL_TUN_PORT_H_

#include <functional>

#include "absl/status/status.h"
#include "base/counters.h"
#include "base/event_loop.h"
#include "base/packet_sink.h"
#include "base/tun_device.h"

namespace im::tunnel {

// Owned by the loop's thread.
class TunPort final : public PacketSink {
 public:
  // `loop` must outlive it.
  TunPort(TunDevice device, EventLoop& loop);

  // What the kernel sends goes to `outward` from now on; `outward` must outlive
  // the port. `on_gone` is called once when the device was removed.
  void Start(PacketSink& outward, std::function<void(absl::Status)> on_gone);

  // While paused, packets wait in the device's queue in the kernel, where they
  // slow their senders down.
  void Pause(bool paused);

  // Gives the packets to the kernel.
  void Write(PacketBatch batch) override { device_.Write(batch, drops_); }

  TunDevice& device() { return device_; }
  const DropCounters& drops() const { return drops_; }

 private:
  void OnReadable(PacketSink& outward);

  TunDevice device_;
  EventLoop& loop_;
  DropCounters drops_;
  std::function<void(absl::Status)> on_gone_;
  EventLoop::Watch watch_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_TUN_PORT_H_
