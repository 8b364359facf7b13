// SharedUdp: a UDP endpoint that other threads send and receive with.
//
// Datagrams wait in a queue in each direction, bounded in bytes: what comes to
// a full one is dropped and counted, what is sent to a full one has to wait.
// An error of an earlier datagram is told once, by the next call: that it could
// not be sent, and, of a connected endpoint, what ICMP said of it (RFC 1122
// 4.1.3.3).

#ifndef IM_NETSTACK_SHARED_UDP_H_
#define IM_NETSTACK_SHARED_UDP_H_

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "netstack/plain_status.h"
#include "netstack/readiness.h"
#include "netstack/shared_stream.h"
#include "netstack/stack_thread.h"

namespace im::netstack {

// Bytes that wait in each direction, 64 more for each datagram.
inline constexpr size_t kSharedUdpBytes = 1 << 20;

// 65,535 less the IPv4 and UDP headers.
inline constexpr size_t kUdpPayloadMax = 65507;

class SharedUdp final : public Readiness,
                        public StackThread::Resident,
                        public std::enable_shared_from_this<SharedUdp> {
 public:
  static absl::StatusOr<std::shared_ptr<SharedUdp>> Bind(const std::shared_ptr<StackThread>& thread,
                                                         const Endpoint& local);

  // ---- any thread ----
  // Datagrams of others are dropped from now on, and errors told.
  void Connect(const Endpoint& remote);
  std::optional<Endpoint> remote();
  // A datagram that is longer than the buffer is cut, and its whole size told.
  IoResult Receive(std::span<uint8_t> buffer, Endpoint* from);
  // InvalidArgument: too long.
  IoResult Send(const Endpoint& remote, std::span<const uint8_t> payload);
  void Close();
  Endpoint local() const { return local_; }
  uint64_t dropped();

 private:
  struct Datagram {
    Endpoint remote;
    std::vector<uint8_t> payload;
  };

  SharedUdp(std::weak_ptr<StackThread> handle, StackThread& thread)
      : handle_(std::move(handle)), thread_(thread) {}
  void OnDatagram(const Endpoint& from, std::span<const uint8_t> payload);
  void OnError(const Endpoint& remote, const absl::Status& error);
  void SendAll();
  void OnStackGone() override { End(); }
  void End();
  void UpdateReady();  // mutex held

  const std::weak_ptr<StackThread> handle_;
  StackThread& thread_;  // the stack's thread alone, as endpoint_
  std::unique_ptr<UdpEndpoint> endpoint_;
  Endpoint local_;
  // Guarded by mutex():
  std::optional<Endpoint> remote_;
  std::deque<Datagram> in_;
  std::deque<Datagram> out_;
  size_t in_bytes_ = 0;
  size_t out_bytes_ = 0;
  PlainStatus error_;  // told by the next call
  uint64_t dropped_ = 0;
  bool posted_ = false;
  bool over_ = false;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SHARED_UDP_H_
