// TcpConnectionImpl: one lwIP pcb and the program's side of it.
//
// lwIP's callbacks note events (core.h says why); RunDeferred tells them to
// the handler in the order connected, readable, read closed, writable, closed.
//
// Receiving: bytes wait in a PbufQueue and are taken off the window as they
// are read, so a program that does not read stops its peer. As many wait as
// receive_window.h allows. Sending: lwIP copies into its send buffer. What is
// written leaves at the end of the turn, so that several writes share a segment,
// which may be a large one (tcp_segments.h).
//
// The pcb's life: lwIP frees it on error (OnError), when both sides are closed,
// or long after, from TIME_WAIT. We let go of it (Detach) as soon as it is in
// TIME_WAIT, and never touch it after any of these.
//
//   program              pcb                       events
//   Dial                 SYN_SENT                  connected | closed(error)
//   CloseWrite           FIN_WAIT_1, LAST_ACK
//   (peer's FIN)         CLOSE_WAIT, TIME_WAIT     read closed
//   (both)               TIME_WAIT or freed        closed(OK)
//   Abort, destructor    freed, RST sent           none

#ifndef IM_NETSTACK_TCP_CONNECTION_H_
#define IM_NETSTACK_TCP_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "lwip/tcp.h"
#include "netstack/core.h"
#include "netstack/input_filter.h"
#include "netstack/keep_alive.h"
#include "netstack/net.h"
#include "netstack/pbuf.h"
#include "netstack/receive_window.h"
#include "netstack/syn_timer.h"

namespace im::netstack {

// Connections that the program may hold at once. One costs about 1 KB when it
// is quiet. Beyond it Dial fails and accepted connections are reset.
inline constexpr int kTcpConnectionsMax = 50'000;

// A connection queues what is sent within kSendBufferTrips of the path's shortest
// round trip (lost data waits for one or two more), and at least the first of
// these bounds, at most TCP_SND_BUF. Beyond so much in all it is the least, which
// still fills a path inside a machine: a hundred busy connections do not take a
// hundred times the memory. Beyond the maximum even a long path gets no more.
inline constexpr int kSendBufferTrips = 3;
inline constexpr size_t kSendBufferFirstBytes = 1 << 20;
inline constexpr size_t kSendBufferLeastBytes = 128 << 10;
inline constexpr size_t kQueuedBytesMuch = 4 << 20;
inline constexpr size_t kQueuedBytesMax = 128 << 20;

class TcpConnectionImpl final : public TcpConnection, public Core::Member {
 public:
  static absl::StatusOr<std::unique_ptr<TcpConnectionImpl>> Dial(Core& core,
                                                                 const DialOptions& options,
                                                                 Handler* handler);
  // Takes over a pcb that was just established.
  static std::unique_ptr<TcpConnectionImpl> Accept(Core& core, tcp_pcb* pcb);
  ~TcpConnectionImpl() override;

  void SetHandler(Handler* handler) override;
  size_t Write(std::span<const uint8_t> bytes) override;
  size_t WritableBytes() const override;
  size_t Read(std::span<uint8_t> buffer) override;
  size_t ReadableBytes() const override { return received_.size(); }
  std::span<const uint8_t> Front() const override { return received_.Front(); }
  void Drop(size_t bytes) override;
  void CloseWrite() override;
  void Abort() override;
  Endpoint local() const override { return local_; }
  Endpoint remote() const override { return remote_; }
  void SetNoDelay(bool on) override;
  void SetKeepAlive(const std::optional<KeepAlive>& keep_alive) override;
  TcpFigures figures() const override;  // tcp_figures.cc

  // A segment for `pcb` is about to be processed (hooks.cc).
  static void OnSegment(tcp_pcb* pcb);
  // An ICMP error: ends the connection attempt that it is about, if any.
  static void OnUnreachable(Core& core, const Unreachable& unreachable);

 private:
  enum Event : uint8_t {
    kConnected = 1,
    kReadable = 2,
    kReadClosed = 4,
    kWritable = 8,
    kClosed = 16,
  };

  TcpConnectionImpl(Core* core, tcp_pcb* pcb);
  // The connection of a pcb, or nullptr if it is not (or no longer) one's.
  static TcpConnectionImpl* Of(const tcp_pcb* pcb);
  void NoteEndpoints();

  void RunDeferred() override;
  void OnStackGone() override;
  void Note(uint8_t events);
  void Close(const absl::Status& status);
  // Calls the handler for each noted event; false if that destroyed *this.
  bool TellHandler();

  void OnDialTimeout();
  void OnPeerGone();
  // The pcb is up: what lwIP measured of the handshake is put right.
  void OnEstablished();
  // Bytes that may be queued in all.
  size_t SendBufferBytes() const;
  // Keeps Core::queued_bytes right.
  void CountQueued();
  // Begins with a window of our own, and gives it back.
  void OpenWindow();
  void ForgetWindow();
  // Tells lwIP that bytes were read, and how much more may come.
  void OfferWindow(size_t read);
  // Puts bytes into lwIP's send buffer; returns how many. `more` will follow.
  size_t Queue(std::span<const uint8_t> bytes, bool more);
  void SendFin();
  // Lets go of the pcb; lwIP goes on with it alone.
  tcp_pcb* Detach();

  static err_t OnConnectedPcb(void* self, tcp_pcb* pcb, err_t error);
  static err_t OnReceived(void* self, tcp_pcb* pcb, pbuf* data, err_t error);
  static err_t OnSent(void* self, tcp_pcb* pcb, u16_t size);
  static void OnError(void* self, err_t error);

  tcp_pcb* pcb_;  // nullptr when it is over
  Handler* handler_ = nullptr;
  bool* destroyed_ = nullptr;  // set while the handler is called
  PbufQueue received_;
  absl::Status status_;
  Endpoint local_;
  Endpoint remote_;
  size_t queued_bytes_ = 0;  // as counted in the core
  std::optional<ReceiveWindow> window_;  // with a peer that can scale it
  uint8_t events_ = 0;  // noted, not yet told
  bool connected_ = false;
  bool established_seen_ = false;
  bool read_closed_ = false;
  bool write_closed_ = false;  // CloseWrite was called
  bool fin_sent_ = false;
  bool want_writable_ = false;
  bool output_waits_ = false;  // for the end of the turn
  std::unique_ptr<SynTimer> syn_timer_;  // while dialling
  std::unique_ptr<KeepAliveTimer> keep_alive_;  // where asked for
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_TCP_CONNECTION_H_
