// Driver: joins a Device, a UDP socket and an EventLoop. The only file that
// knows both socket and Device.
//
// Inside is a PacketSink in each direction: Write() takes packets that leave
// (from a TUN, lwIP or a program); what comes out of the tunnel goes to
// `inside`. Sealed datagrams are flushed once per turn of the loop.

#ifndef IM_TUNNEL_DRIVER_H_
#define IM_TUNNEL_DRIVER_H_

#include <functional>
#include <memory>

#include "base/counters.h"
#include "base/event_loop.h"
#include "base/packet_sink.h"
#include "base/random.h"
#include "tunnel/device.h"

namespace im::tunnel {

// Owned by the loop's thread.
class Driver final : public PacketSink {
 public:
  struct Options {
    Device::Options device;
    // Where to receive. An unspecified address with port 0: any address of
    // both families, any port. 127.0.0.1: this machine only.
    Endpoint listen;
    uint32_t fwmark = 0;
    // Send and receive buffer to ask for, in bytes; the kernel may clamp it.
    int socket_buffer_bytes = 7 << 20;
  };

  // `loop`, `random`, `inside` and `delegate` (may be null) must outlive it.
  // AddressInUse maps to AlreadyExists.
  static absl::StatusOr<std::unique_ptr<Driver>> Create(const PrivateKey& key,
                                                        const Options& options, EventLoop& loop,
                                                        Random& random, PacketSink& inside,
                                                        Device::Delegate* delegate);
  ~Driver() override;

  // Packets from inside.
  void Write(PacketBatch batch) override;
  void SendTo(const PublicKey& peer, PacketBatch batch);

  absl::Status SetPeer(const PeerConfig& peer);
  bool RemovePeer(const PublicKey& peer);
  void Connect(const PublicKey& peer);

  Device& device();
  const Device& device() const;
  // The bound address and port; while down, those to bind to.
  Endpoint local_endpoint() const;
  // Binds anew (UAPI listen_port=); the old socket stays on failure.
  absl::Status Rebind(const Endpoint& listen);
  absl::Status SetFwmark(uint32_t fwmark);
  // Down: the socket is closed and the device forgets its sessions; what is
  // written is dropped. Up again: binds to the port that it had, or that was
  // asked for meanwhile; on failure it stays down. A driver begins up.
  // Not from within the delegate or `inside`.
  absl::Status SetUp(bool up);
  bool up() const;
  // See Device::OnRestored; to be called for RestoreWatch.
  void OnRestored();
  // Runs `change` on the device and flushes what it put into the Outbox.
  void Change(const std::function<void(Device&, Instant now, Outbox&)>& change);

  // Called with true when the socket takes no more (what is written meanwhile
  // is queued, then dropped), with false when it does again: whoever can stop
  // reading its packets then does so.
  void SetBlockedCallback(std::function<void(bool blocked)> callback);

  // The device's, and what the socket could not send.
  DropCounters Drops() const;
  uint32_t fwmark() const;

  // Datagram bytes (UDP payload) sent and received, all peers.
  uint64_t tx_bytes() const;
  uint64_t rx_bytes() const;

 private:
  class Impl;
  explicit Driver(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_DRIVER_H_
