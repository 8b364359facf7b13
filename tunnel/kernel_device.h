// KernelDevice: an interface of the kernel's own WireGuard, made and
// configured through wireguard-tools' embeddable library, with the same values
// as a Device. wg(8) may configure it as well; no process of ours is needed
// for its packets.
//
// What the kernel has no word for is refused: PeerConfig::standby, ::receive_only and ::relay.

#ifndef IM_TUNNEL_KERNEL_DEVICE_H_
#define IM_TUNNEL_KERNEL_DEVICE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tunnel/device.h"
#include "tunnel/keys.h"

namespace im::tunnel {

class KernelDevice {
 public:
  struct State {
    PublicKey public_key;
    uint16_t listen_port = 0;
    uint32_t fwmark = 0;
    std::vector<PeerStatus> peers;  // session_live: a handshake within kRejectAfterTime
  };

  // In the calling thread's network namespace, as are all others. Unimplemented
  // where the kernel has no WireGuard.
  static absl::StatusOr<KernelDevice> Create(const std::string& name);

  const std::string& name() const { return name_; }

  absl::Status SetPrivateKey(const PrivateKey& key);
  absl::Status SetListenPort(uint16_t port);
  absl::Status SetFwmark(uint32_t fwmark);
  // As Device's: adds the peer or replaces its configuration as a whole; an
  // endpoint of nullopt keeps the known one.
  absl::Status SetPeer(const PeerConfig& peer);
  // OK also if there is no such peer.
  absl::Status RemovePeer(const PublicKey& peer);

  absl::StatusOr<State> Get() const;
  // OK also if the interface has gone already.
  absl::Status Remove();

 private:
  explicit KernelDevice(std::string name) : name_(std::move(name)) {}

  std::string name_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_KERNEL_DEVICE_H_
