// im::netstack: a TCP/IP stack (lwIP) to embed: Stack, Dial, Listen, UDP.
//
// One stack per process (lwIP's state is global), any number of interfaces on
// it, IPv4 and IPv6 alike. Packets come and go through PacketSinks, so a stack
// runs over a tunnel, another process' stack, or anything else that moves IP
// packets.
//
//   im::netstack::Stack stack(*loop);
//   auto* nic = stack.AddInterface({.name = "im0", .address = ip, .prefix_length = 16}, tunnel);
//   auto connection = stack.Dial({.remote = endpoint}, &handler);
//
// Threads: everything belongs to the thread of one EventLoop; all calls are
// made on it, and callbacks run there, never from within the call that caused
// them. Other threads use EventLoop::Post, or blocking.h. Sizes are bytes, times
// are im::Duration.
//
// Errors, here and in blocking.h, in the words of sockets; NetErrno
// (net_error.h) turns them into errno:
//
//   absl::StatusCode     errno          when
//   FailedPrecondition   ECONNREFUSED   RST to a SYN, ICMP port unreachable
//   Aborted              ECONNRESET     RST on an established connection
//   DeadlineExceeded     ETIMEDOUT      Dial's timeout, retransmission or
//                                       keepalive given up, a blocking call's
//   Unavailable          EHOSTUNREACH   no interface of the family, ICMP
//                                       unreachable, interface removed
//   AlreadyExists        EADDRINUSE     the port or address is in use
//   NotFound             EADDRNOTAVAIL  no interface has the local address
//   ResourceExhausted    ENOBUFS        a limit, no free port, no memory
//   InvalidArgument      EINVAL         the arguments
//   Cancelled            ECANCELED      the stack is gone, closed by ourselves

#ifndef IM_NETSTACK_NET_H_
#define IM_NETSTACK_NET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/counters.h"
#include "base/event_loop.h"
#include "base/ip_address.h"
#include "base/packet_sink.h"

namespace im::netstack {

class Stack;

// Output that a blocked interface keeps, in bytes: a few full windows. Beyond
// it packets are dropped and counted.
inline constexpr size_t kBlockedBytesMax = 8 << 20;

// How long a destroyed TcpConnection tries to deliver what was written while its peer
// takes nothing: R2 of RFC 9293 3.8.3, which asks for 100 s at least.
inline constexpr Duration kAbandonedTimeout = std::chrono::seconds(100);

struct InterfaceOptions {
  std::string name = "im0";  // for messages alone
  IpAddress address;         // a unicast address of either family
  int prefix_length = 32;    // 1 to 32, or to 128
  int mtu = 1420;            // bytes: 576 (IPv6: 1280, RFC 8200 5) to 65,535
};

// A virtual interface of the stack. Owned by the Stack.
class Interface : public PacketSink {
 public:
  // Packets that arrive from the network.
  void Write(PacketBatch batch) override = 0;
  virtual const InterfaceOptions& options() const = 0;
  // While blocked, what leaves is kept (bounded: the connections' windows, and
  // kBlockedBytesMax) instead of written to the sink: for sinks that would
  // drop it.
  virtual void SetBlocked(bool blocked) = 0;
  // Packets that arrived and were not fit to be delivered.
  virtual const DropCounters& drops() const = 0;
};

// Whether a peer that is quiet is still there (RFC 1122 4.2.3.6). The defaults
// are Linux'.
struct KeepAlive {
  Duration idle = std::chrono::seconds(7200);    // quiet for so long: a probe
  Duration interval = std::chrono::seconds(75);  // without an answer: the next
  int probes = 9;                                // so many: timed out
};

// What is known of a connection's path, and of what is under way. All of it is 0
// once the connection is over; what is marked is, too, with a peer without SACK.
struct TcpFigures {
  uint32_t segment_bytes = 0;  // the MSS
  uint32_t congestion_window_bytes = 0;
  uint32_t slow_start_threshold_bytes = 0;
  uint32_t peer_window_bytes = 0;
  size_t queued_bytes = 0;  // written, not acknowledged
  uint32_t unsent_bytes = 0;
  Duration rtt{0};                 // smoothed (SACK)
  Duration rtt_variance{0};        // (SACK)
  Duration retransmit_timeout{0};  // (SACK)
  uint32_t sacked_bytes = 0;       // (SACK)
  uint32_t lost_bytes = 0;         // and not sent again yet (SACK)
  uint64_t retransmitted_bytes = 0;  // in all (SACK)
};

// One TCP connection (RFC 9293). Destroying it aborts the connection (RST) unless
// CloseWrite was called and all that came was read: then what was written is
// still delivered, and FIN.
//
// Backpressure: at most 2 MB wait in each direction; over a path whose bandwidth
// times its round trip is more, both limits grow, up to 32 MB. All
// connections together share 256 MB of the former's growth and 128 MB of the
// latter; once 16 MB wait to be sent, each begins with 192 KB. A program that does
// not read closes its peer's window; a Write that takes less than it is given is
// followed by OnWritable.
// A connection that was closed for writing and then destroyed still delivers what
// was written. It is reset when data comes that nobody will read, and when the
// peer has acknowledged nothing new for kAbandonedTimeout, though it may answer (a
// window that stays closed).
class TcpConnection {
 public:
  // At most one call at a time; a handler may destroy the connection in any
  // of them.
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnConnected() {}
    // Bytes can be read: call Read until it gives 0.
    virtual void OnReadable() = 0;
    // Write took less than it was given, and now there is room again.
    virtual void OnWritable() {}
    // The peer sent FIN; everything before it was readable. Our side may
    // still write.
    virtual void OnReadClosed() = 0;
    // The connection is over, and nothing else will be told. OK: both sides
    // closed. Otherwise refused, reset, timed out, unreachable (see above).
    virtual void OnClosed(const absl::Status& status) = 0;
  };

  virtual ~TcpConnection() = default;
  virtual void SetHandler(Handler* handler) = 0;
  // Copies as much as the send buffer takes; returns the number of bytes.
  virtual size_t Write(std::span<const uint8_t> bytes) = 0;
  virtual size_t WritableBytes() const = 0;
  // Moves received bytes out; opens the window by as much.
  virtual size_t Read(std::span<uint8_t> buffer) = 0;
  virtual size_t ReadableBytes() const = 0;
  // The same without a copy: the first bytes received, as many as lie together in
  // the stack's memory (empty: none), until Drop, Read, or the end of the turn;
  // Drop says that so many of those readable are done with.
  virtual std::span<const uint8_t> Front() const = 0;
  virtual void Drop(size_t bytes) = 0;
  // Half close: FIN after what was written; reading goes on, without a limit
  // of time.
  virtual void CloseWrite() = 0;
  // Discards what was not read or sent: RST (an attempt ends without a word).
  // The handler is told nothing more.
  virtual void Abort() = 0;
  virtual Endpoint local() const = 0;
  virtual Endpoint remote() const = 0;
  // Off at first: what is less than a segment waits for the acknowledgment of
  // what went before (RFC 896).
  virtual void SetNoDelay(bool on) = 0;
  // Off at first. Values out of range (100 ms to 32,767 s, 1 to 127 probes) are
  // moved into it.
  virtual void SetKeepAlive(const std::optional<KeepAlive>& keep_alive) = 0;
  virtual TcpFigures figures() const = 0;
};

class TcpListener {
 public:
  virtual ~TcpListener() = default;  // stops listening; accepted ones live on
  virtual Endpoint local() const = 0;
  // While paused, SYNs are dropped, and come again: for a program that has
  // more connections waiting than it likes. Those half open are still accepted.
  virtual void SetPaused(bool paused) = 0;
};

class UdpEndpoint {
 public:
  virtual ~UdpEndpoint() = default;
  virtual Endpoint local() const = 0;
  // At most 65,507 bytes; more than the MTU leaves in fragments. OK says that
  // it left, not that it came.
  virtual absl::Status SendTo(const Endpoint& remote, std::span<const uint8_t> payload) = 0;
  // `on_error` is told what ICMP and ICMPv6 say of datagrams sent to `remote`:
  // FailedPrecondition (nobody has the port) or Unavailable. A hint: anyone on
  // the path can make it up.
  virtual void SetErrorHandler(
      std::function<void(const Endpoint& remote, const absl::Status& error)> on_error) = 0;
};

struct DialOptions {
  Endpoint remote;
  std::optional<Endpoint> local;                 // default: by route, any port
  Duration timeout = std::chrono::seconds(127);  // Linux' default
};

class Stack {
 public:
  // Dies (IM_CHECK) if another Stack lives in this process.
  explicit Stack(EventLoop& loop);
  ~Stack();

  // `out` takes the packets that leave, super-packets among them (packet.h); it
  // must outlive the interface. Which interface a packet leaves by: the one whose
  // address is its source, else the one whose prefix holds the destination, else
  // the first of the family.
  absl::StatusOr<Interface*> AddInterface(const InterfaceOptions& options, PacketSink& out);
  // Its connections end as unreachable.
  void RemoveInterface(Interface* nic);

  // Returns at once; the outcome comes by OnConnected or OnClosed. An error is
  // what can be told without asking: InvalidArgument, Unavailable (no interface
  // of this family), NotFound, AlreadyExists (`local`), ResourceExhausted.
  absl::StatusOr<std::unique_ptr<TcpConnection>> Dial(const DialOptions& options,
                                                      TcpConnection::Handler* handler);
  // `on_accept` gets each established connection. `local` may be 0.0.0.0 (IPv4
  // only), :: (both families), an interface's address; port 0: any free one.
  // Errors: AlreadyExists, NotFound.
  absl::StatusOr<std::unique_ptr<TcpListener>> Listen(
      const Endpoint& local, std::function<void(std::unique_ptr<TcpConnection>)> on_accept);
  // `local` as with Listen. What is not taken off within a turn of the loop is
  // bounded (1 MB), and dropped beyond it.
  absl::StatusOr<std::unique_ptr<UdpEndpoint>> BindUdp(
      const Endpoint& local,
      std::function<void(const Endpoint& from, std::span<const uint8_t> payload)> on_datagram);

  EventLoop& loop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_NET_H_
