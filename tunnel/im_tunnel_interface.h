// ImTunnelInterface: what im-tunnel runs in userspace: TUN device, tunnel and
// the socket of wg(8), joined.
//
// The UDP socket lives in the network namespace that the process was started
// in, for ever. The TUN device may be moved to another one (ip link set … netns
// …) and is followed there: its MTU, up and down within a second, its end.
//
// Where the machine was asleep, or was taken up from a snapshot, all sessions
// are renewed (restore_watch.h).
//
// As in the kernel's implementation the UDP port is open only while the
// interface is up, and sessions do not survive its going down.

#ifndef IM_TUNNEL_IM_TUNNEL_INTERFACE_H_
#define IM_TUNNEL_IM_TUNNEL_INTERFACE_H_

#include <functional>
#include <memory>
#include <string>

#include "base/counters.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/packet_sink.h"
#include "base/random.h"
#include "base/restore_watch.h"
#include "base/status.h"
#include "base/tun_device.h"
#include "tunnel/driver.h"
#include "tunnel/im_tunnel_options.h"
#include "tunnel/link_monitor.h"
#include "tunnel/tun_port.h"
#include "tunnel/uapi_server.h"

namespace im::tunnel {

// Owned by the loop's thread.
class ImTunnelInterface final : private PacketSink {
 public:
  // What must be had before the process may call itself started.
  struct Descriptors {
    TunDevice tun;
    FileDescriptor uapi;
    std::string uapi_path;  // empty: somebody else's socket
  };
  // Makes the device and the socket, or adopts what the options bring.
  static absl::StatusOr<Descriptors> Open(const ImTunnelOptions& options);

  // `loop` must outlive it; the MTU of `device_options` is followed by the
  // device's. `on_end` is called, perhaps more than once, with
  // the reason when the interface has gone or is to go.
  static absl::StatusOr<std::unique_ptr<ImTunnelInterface>> Create(
      Descriptors descriptors, const Device::Options& device_options, EventLoop& loop,
      std::function<void(const std::string&)> on_end);

  const std::string& name() const { return name_; }
  // Of all parts together.
  DropCounters Drops() const;
  void LogDrops() const;
  // Forgets all sessions: see Device::OnRestored.
  void RenewSessions(absl::string_view why);

 private:
  ImTunnelInterface(TunDevice tun, EventLoop& loop,
                    std::function<void(const std::string&)> on_end);
  absl::Status Start(Descriptors descriptors, const Device::Options& device_options);
  // Packets of the TUN device.
  void Write(PacketBatch batch) override;
  void OnLinkState(const LinkState& state);
  void SetUp(bool up);
  // It was removed from the namespace that we are in.
  void OnLinkLeft();
  // Asks for its state, wherever it is.
  void ReadState();
  // The same every second: it is elsewhere.
  void Poll();
  std::string Answer(absl::string_view request);

  const std::string name_;
  EventLoop& loop_;
  std::function<void(const std::string&)> on_end_;
  SecureRandom random_;
  TunPort port_;
  std::unique_ptr<Driver> driver_;
  std::unique_ptr<LinkMonitor> monitor_;  // null once it is elsewhere
  EventLoop::Timer poll_timer_;
  std::unique_ptr<RestoreWatch> restore_watch_;
  bool link_up_ = false;
  std::unique_ptr<UapiServer> server_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_IM_TUNNEL_INTERFACE_H_
