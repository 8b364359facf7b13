// UdpSocket: the outer socket of a tunnel, both families in one.
//
// Receiving: recvmmsg into buffers of this object, with UDP_GRO (Linux 5.0), so
// that a train of datagrams of one peer arrives as one run. Sending: see
// gso_batch_writer.h. Both are used as the self-test of udp_offload.h allows,
// which is made when the first train is there.
//
// What is no transport data comes by way of others (handshake_lanes.h), so that
// a flood of it leaves data alone. Where the kernel cannot sort, everything
// comes by way of the first.
//
// Errors of the network (a peer that is gone, no route) are never errors of
// the socket: they are counted and forgotten.

#ifndef IM_TUNNEL_UDP_SOCKET_H_
#define IM_TUNNEL_UDP_SOCKET_H_

#include <cstdint>
#include <memory>

#include "base/counters.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "tunnel/datagram_receiver.h"
#include "tunnel/gso_batch_writer.h"
#include "tunnel/handshake_lanes.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

// Trains that one Receive takes. Each has a buffer of 64 KB, resident once it
// was used: with what is made of them, more would not fit a processor's
// second-level cache.
inline constexpr size_t kMessagesPerReceive = 4;

// Owned by one thread.
class UdpSocket final : private GsoBatchWriter::Sender {
 public:
  struct Options {
    // An unspecified address: all addresses of both families where the kernel
    // has IPv6, else of IPv4. Port 0: any.
    Endpoint listen;
    uint32_t fwmark = 0;             // SO_MARK; 0: none
    int buffer_bytes = 7 << 20;      // of each direction; the kernel may clamp it
    uint64_t salt = 0;               // of the lanes: nobody else's to know
  };

  // AlreadyExists if the port is taken. `drops` must outlive the socket.
  static absl::StatusOr<std::unique_ptr<UdpSocket>> Open(const Options& options,
                                                         DropCounters& drops);
  ~UdpSocket() override;

  int fd() const { return fd_.get(); }
  Endpoint local_endpoint() const { return local_; }
  absl::Status SetFwmark(uint32_t fwmark);

  // Adds what is there to `batch`, at most kMessagesPerReceive runs, whose
  // bytes are this object's until the next Receive. False if nothing was.
  bool Receive(DatagramBatch& batch);
  // The others; null: there are none.
  HandshakeLanes* handshakes() { return lanes_.get(); }

  // Sends all and clears the batch; what the kernel does not take at once is
  // kept (blocked()) until OnWritable.
  void Send(DatagramBatch& batch) { writer_.Write(batch); }
  void OnWritable() { writer_.OnWritable(); }
  bool blocked() const { return writer_.blocked(); }
  std::vector<uint64_t> TakeRefusedProbes() { return writer_.TakeRefusedProbes(); }

  uint64_t sent_bytes() const { return writer_.sent_bytes(); }
  uint64_t received_bytes() const {
    return receiver_.bytes() + (lanes_ ? lanes_->received_bytes() : 0);
  }

 private:
  UdpSocket(FileDescriptor fd, bool v6, DropCounters& drops);
  static absl::StatusOr<std::unique_ptr<UdpSocket>> OpenFamily(const Options& options, int family,
                                                               DropCounters& drops);
  int Send(mmsghdr* messages, unsigned count) override;
  bool CanSendTrains() override;
  // A train has come: is UDP_GRO to be trusted?
  void TestGro();
  int SendUnfragmented(mmsghdr* message) override;
  void SetOptions(const Options& options);
  void SetBuffer(int option, int force_option, int bytes, const char* name);

  FileDescriptor fd_;
  const bool v6_;
  Endpoint local_;
  GsoBatchWriter writer_;
  DatagramReceiver receiver_;
  std::unique_ptr<HandshakeLanes> lanes_;
  bool gro_tested_ = false;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_UDP_SOCKET_H_
