// What may lie behind an interface of the C API: a tunnel, a descriptor, a
// function of the program. Each lives on the stack's thread.

#ifndef IM_NETSTACK_C_UPLINKS_H_
#define IM_NETSTACK_C_UPLINKS_H_

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/random.h"
#include "base/restore_watch.h"
#include "netstack/c/wg_config.h"
#include "netstack/late_interface.h"
#include "tunnel/driver.h"

namespace im::netstack {

// A WireGuard tunnel with one interface for each of its addresses. What comes
// out of it goes to the interface that has the destination.
class TunnelUplink final : public PacketSink {
 public:
  static absl::StatusOr<std::shared_ptr<TunnelUplink>> Create(EventLoop& loop,
                                                              const WgConfig& config);
  ~TunnelUplink() override;

  void AddInside(const IpAddress& address, LateInterface& inside);
  // Packets that leave.
  void Write(PacketBatch batch) override { driver_->Write(std::move(batch)); }
  Endpoint local_endpoint() const { return driver_->local_endpoint(); }

 private:
  struct Inside {
    IpAddress address;
    std::shared_ptr<LateInterface> interface;
  };
  struct FromTunnel final : PacketSink {
    explicit FromTunnel(TunnelUplink* uplink) : owner(uplink) {}
    void Write(PacketBatch batch) override { owner->Deliver(std::move(batch)); }
    TunnelUplink* const owner;
  };

  TunnelUplink() = default;
  void Deliver(PacketBatch batch);

  SecureRandom random_;
  FromTunnel from_tunnel_{this};
  std::vector<Inside> insides_;
  std::unique_ptr<tunnel::Driver> driver_;
  std::unique_ptr<RestoreWatch> restore_watch_;
};

// A descriptor of which each read and write is one IP packet. While it takes no
// more, the interface keeps what leaves.
class FdUplink final : public PacketSink {
 public:
  FdUplink(EventLoop& loop, FileDescriptor fd, LateInterface& inside);
  void Write(PacketBatch batch) override;

 private:
  void OnReady(uint32_t events);
  void Receive();
  void Send();

  const FileDescriptor fd_;
  LateInterface& inside_;
  std::deque<std::vector<uint8_t>> queue_;  // of one batch: the interface is blocked then
  EventLoop::Watch watch_;
};

// A function of the program.
class CallbackUplink final : public PacketSink {
 public:
  using Output = std::function<void(std::span<const uint8_t> packet)>;
  explicit CallbackUplink(Output output) : output_(std::move(output)) {}
  void Write(PacketBatch batch) override;

 private:
  const Output output_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_C_UPLINKS_H_
