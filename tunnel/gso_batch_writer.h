// GsoBatchWriter: sends runs of datagrams with as few system calls as the
// kernel allows.
//
// A run is one message with UDP_SEGMENT (Linux 4.18), which the stack carries
// as one packet and cuts as late as it can; many messages are one sendmmsg.
//
// What can happen to the first unsent message, and what is done:
//   [0] sent                    the next one
//   [1] EAGAIN                  the socket's buffer is full: the rest waits for
//                               OnWritable, up to kUnsentBytesMax, then newest
//                               are dropped (kQueueFull)
//   [2] EIO of a train          the path cannot do UDP_SEGMENT at all: never
//                               again for this socket; sent one by one
//   [3] EINVAL, EMSGSIZE of a train
//                               segments larger than this path's MTU: sent one
//                               by one (the kernel fragments), and so are the
//                               next kSinglyRuns runs to this peer
//   [4] EINVAL, ENETUNREACH with a local address
//                               the address is gone (newer kernels say the
//                               latter for IPv4): sent without
//   [5] ECONNREFUSED            a left-over of an ICMP error: tried again
//   [6] EMSGSIZE of a probe
//                               larger than the link: told, TakeRefusedProbes
//   [7] anything else           dropped and counted (kTooBig for EMSGSIZE,
//                               else kSendFailed); the next one
// A probe (DatagramRun::probe) is a message of its own, sent unfragmented.
// So a bad peer or a broken path never stops the others.

#ifndef IM_TUNNEL_GSO_BATCH_WRITER_H_
#define IM_TUNNEL_GSO_BATCH_WRITER_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "base/counters.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

// Datagram bytes that wait for a writable socket: about what the socket's own
// buffer holds. More would only be delay.
inline constexpr size_t kUnsentBytesMax = 8 << 20;
// Messages of one sendmmsg.
inline constexpr size_t kMessagesPerSend = 32;
// Peers whose path takes no trains of our segment size, and for how many runs
// that is believed before it is tried again.
inline constexpr size_t kSinglyPeersMax = 16;
inline constexpr uint32_t kSinglyRuns = 1000;

// Owned by one thread.
class GsoBatchWriter {
 public:
  // sendmmsg(2), or a test's double: the number of messages sent, or -1 with
  // errno about the first.
  class Sender {
   public:
    virtual ~Sender() = default;
    virtual int Send(mmsghdr* messages, unsigned count) = 0;
    // Whether UDP_SEGMENT may be used at all; asked before the first train.
    virtual bool CanSendTrains() { return true; }
    // One message, which nobody on the way may fragment, ourselves included.
    virtual int SendUnfragmented(mmsghdr* message) = 0;
  };

  // `v6_socket`: addresses are given to the kernel v4-mapped.
  GsoBatchWriter(Sender& sender, bool v6_socket, DropCounters& drops);
  ~GsoBatchWriter();
  GsoBatchWriter(const GsoBatchWriter&) = delete;
  GsoBatchWriter& operator=(const GsoBatchWriter&) = delete;

  // Sends all runs and clears the batch; what cannot be sent now is kept.
  void Write(DatagramBatch& batch);
  // The socket is writable again.
  void OnWritable();
  // Something waits for the socket to become writable.
  bool blocked() const { return !unsent_.empty(); }

  // Of the probes that were larger than the link; forgets them.
  std::vector<uint64_t> TakeRefusedProbes() { return std::exchange(refused_probes_, {}); }

  bool gso() const { return gso_; }
  uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  // Where in a batch: before byte `offset` of run `run`.
  struct Cursor {
    size_t run = 0;
    size_t offset = 0;
  };
  struct Unsent {
    DatagramBatch batch;
    Cursor cursor;
    size_t bytes = 0;  // when it was kept
  };
  struct Messages;
  struct SinglyPeer {
    Endpoint peer;
    uint32_t runs_left = 0;
  };

  // False if it stopped at EAGAIN.
  bool SendFrom(DatagramBatch& batch, Cursor& cursor);
  void Fill(const DatagramBatch& batch, Cursor& cursor);
  void AddMessage(const DatagramRun& run, std::span<uint8_t> bytes, bool with_local);
  void Advance(const DatagramBatch& batch, Cursor& cursor, size_t bytes);
  void HandleError(int error, const DatagramBatch& batch, Cursor& cursor);
  void Keep(DatagramBatch& batch, Cursor cursor);
  bool Singly(const Endpoint& peer) const;
  void StartSingly(const Endpoint& peer);
  void CountSinglyRun(const Endpoint& peer);

  Sender& sender_;
  const bool v6_socket_;
  DropCounters& drops_;
  bool gso_ = true;
  bool asked_ = false;  // whether trains can be sent
  std::unique_ptr<Messages> messages_;
  std::deque<Unsent> unsent_;
  size_t unsent_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
  std::vector<uint64_t> refused_probes_;  // at most one for each peer
  std::array<SinglyPeer, kSinglyPeersMax> singly_{};
  size_t next_singly_ = 0;
  // About the run under way: a train was refused; its local address is gone; a
  // message of it was refused once.
  bool run_singly_ = false;
  bool run_without_local_ = false;
  bool run_retried_ = false;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_GSO_BATCH_WRITER_H_
