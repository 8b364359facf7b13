// im::netstack: a TCP/IP stack (lwIP) to embed: Stack, Dial, Listen, UDP.
//
// One stack per process (lwIP's state is global), any number of interfaces on
// it. Everything happens on the thread of one EventLoop; callbacks run there.
// Packets come and go through PacketSinks, so a stack runs over a tunnel,
// another stack, or anything else that moves IP packets.
//
//   im::netstack::Stack stack(*loop);
//   auto* nic = stack.AddInterface({.name = "im0", .address = ip, .prefix_length = 16}, tunnel);
//   auto connection = stack.Dial({.remote = endpoint}, &handler);

#ifndef IM_NETSTACK_NET_H_
#define IM_NETSTACK_NET_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

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

struct InterfaceOptions {
  std::string name = "im0";
  IpAddress address;
  int prefix_length = 32;
  int mtu = 1420;  // bytes
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

// One TCP connection. Destroying it aborts the connection (RST) unless it was
// closed. All calls and callbacks on the loop's thread.
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
    // The connection is over. OK: both sides closed. Otherwise:
    //   ConnectionRefused → FailedPrecondition "connection refused"
    //   reset by peer     → Aborted            "connection reset"
    //   timed out         → DeadlineExceeded   "connection timed out"
    //   no route, ICMP    → Unavailable        "host unreachable"
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
  // FIN after what was written; reading goes on.
  virtual void CloseWrite() = 0;
  // Discards what was not read or sent: RST.
  virtual void Abort() = 0;
  virtual Endpoint local() const = 0;
  virtual Endpoint remote() const = 0;
  virtual void SetNoDelay(bool on) = 0;
};

class TcpListener {
 public:
  virtual ~TcpListener() = default;  // stops listening
  virtual Endpoint local() const = 0;
};

class UdpEndpoint {
 public:
  virtual ~UdpEndpoint() = default;
  virtual Endpoint local() const = 0;
  virtual absl::Status SendTo(const Endpoint& remote, std::span<const uint8_t> payload) = 0;
};

struct DialOptions {
  Endpoint remote;
  std::optional<Endpoint> local;                      // default: by route, any port
  Duration timeout = std::chrono::seconds(127);       // Linux' default
};

class Stack {
 public:
  // Dies (IM_CHECK) if another Stack lives in this process.
  explicit Stack(EventLoop& loop);
  ~Stack();

  // `out` takes the packets that leave; it must outlive the interface.
  absl::StatusOr<Interface*> AddInterface(const InterfaceOptions& options, PacketSink& out);
  void RemoveInterface(Interface* nic);

  // Returns at once; the outcome comes by OnConnected or OnClosed.
  absl::StatusOr<std::unique_ptr<TcpConnection>> Dial(const DialOptions& options,
                                                      TcpConnection::Handler* handler);
  // `on_accept` gets each established connection. AlreadyExists: in use.
  absl::StatusOr<std::unique_ptr<TcpListener>> Listen(
      const Endpoint& local, std::function<void(std::unique_ptr<TcpConnection>)> on_accept);
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
