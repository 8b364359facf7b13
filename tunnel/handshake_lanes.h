// HandshakeLanes: sockets beside the tunnel's own, on the same port, that take
// all that is no transport data.
//
// Whoever knows a public key can send initiations at the speed of the wire. So
// that its flood fills neither the socket of data nor the place of honest
// handshakes, the kernel sorts (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5):
//
//   transport data                                    the tunnel's first socket
//   an initiation or a response that shows some MAC2  one of the last kSourceLanes
//   all else                                          one of the first kSourceLanes
//
// and within each half by the sender's address (IPv4 /32, IPv6 /64) and a salt.
// A flood of few sources fills their lanes and leaves the others empty; one of
// forged sources that shows no MAC2, which is cheapest, leaves the way free for
// who has been given a cookie. Only one of forged sources and made-up MAC2
// reaches all lanes: then a message gets through as often as we read. A new
// salt, now and then, sees to it that nobody shares a flooder's lane for long.
//
// Lanes are read in turn, some messages of each. What does not fit into a
// lane's buffer is the kernel's to drop.

#ifndef IM_TUNNEL_HANDSHAKE_LANES_H_
#define IM_TUNNEL_HANDSHAKE_LANES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/file_descriptor.h"
#include "base/status.h"
#include "tunnel/datagram_receiver.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

// A power of two. More would find a free lane more often, and cost every
// tunnel two descriptors each.
inline constexpr size_t kSourceLanes = 4;
inline constexpr size_t kHandshakeLanes = 2 * kSourceLanes;
// What waits in a lane: some 300 messages. So the lanes hold what a thousand
// peers send who all start anew; the kernel's memory for them is a megabyte.
inline constexpr int kHandshakeLaneBytes = 128 << 10;
// Messages that one Receive takes of one lane.
inline constexpr size_t kMessagesPerLane = 16;

// Has the kernel say of each message what DatagramReceiver reads.
void AskForMessageDetails(int fd, bool v6);

// Owned by one thread.
class HandshakeLanes {
 public:
  // `first` is bound, alone until now, so that a port that is taken was noticed;
  // from here on the port may be shared by its owner.
  static absl::StatusOr<std::unique_ptr<HandshakeLanes>> Join(int first, uint64_t salt);

  // Readable when any lane is (an epoll).
  int fd() const { return epoll_.get(); }
  // Adds what the next lane with something has, at most kMessagesPerLane runs,
  // whose bytes are this object's until the next Receive. False: all are empty.
  bool Receive(DatagramBatch& batch);
  // Sorts anew from now on.
  void SetSalt(uint64_t salt);

  uint64_t received_bytes() const { return receiver_.bytes(); }

 private:
  explicit HandshakeLanes(int first);
  absl::Status AddLane(size_t number, int family, bool only_v6, const sockaddr_storage& address,
                       socklen_t address_size);
  absl::Status Sort(uint64_t salt);
  void FindReady();

  const int first_;
  FileDescriptor epoll_;
  std::array<FileDescriptor, kHandshakeLanes> lanes_;
  uint32_t ready_ = 0;  // a bit for each lane, as of the last look
  DatagramReceiver receiver_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_HANDSHAKE_LANES_H_
