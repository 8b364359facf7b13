// DatagramReceiver: recvmmsg into buffers of its own, and what the kernel says
// of each message: its sender, our address, the ECN mark, the size of the
// datagrams of a train (UDP_GRO).

#ifndef IM_TUNNEL_DATAGRAM_RECEIVER_H_
#define IM_TUNNEL_DATAGRAM_RECEIVER_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/ip_address.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

// Of an address that the kernel gives, v4-mapped or not.
Endpoint EndpointFromKernel(const sockaddr_storage& address);

// Owned by one thread; may serve several sockets in turn.
class DatagramReceiver {
 public:
  // What one Receive takes at most. Pages of the buffers take no memory before
  // they are used. What is longer than a buffer is cut.
  DatagramReceiver(size_t messages_max, size_t message_bytes_max);
  ~DatagramReceiver();

  // Adds what is there to `batch`; the bytes are this object's until the next
  // Receive. False if nothing was.
  bool Receive(int fd, DatagramBatch& batch);

  size_t messages_max() const { return messages_max_; }
  uint64_t bytes() const { return bytes_; }  // received so far
  bool saw_train() const { return saw_train_; }

 private:
  struct Slot;

  const size_t messages_max_;
  const size_t message_bytes_max_;
  std::unique_ptr<mmsghdr[]> headers_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<uint8_t[]> buffer_;
  uint64_t bytes_ = 0;
  bool saw_train_ = false;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_DATAGRAM_RECEIVER_H_
