// Splice: one client's socket joined to one connection inside.
//
// Bytes go both ways, at most kSpliceBytesMax of them waiting in each
// direction: when the slower side takes no more, the faster one is not read,
// and its window closes. The end of one direction is passed on (half close);
// when the connection inside fails, the client gets a RST, and the other way
// round. One that is refused may be tried once more, elsewhere. Quiet connections
// stay for ever and hold no buffers.

#ifndef IM_ORCHESTRATOR_SPLICE_H_
#define IM_ORCHESTRATOR_SPLICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "netstack/net.h"

namespace im::orchestrator {

// Bytes read from one side that the other has not taken yet, each way. What
// one read gives; more would only add to the sockets' own buffers.
inline constexpr size_t kSpliceBytesMax = 64 * 1024;

// Owned by the loop's thread.
class Splice final : public netstack::TcpConnection::Handler {
 public:
  // Called once, when it is over: OK, or why the connection inside failed. The
  // callee destroys the splice (within the call, if it likes).
  using DoneFunction = std::function<void(Splice*, const absl::Status&)>;
  // Asked when the connection is refused, once: where else to try; nullopt: nowhere.
  using OtherwiseFunction = std::function<std::optional<Endpoint>()>;

  // `client` is connected and non-blocking.
  Splice(EventLoop& loop, FileDescriptor client, DoneFunction on_done);
  ~Splice() override;

  // Starts the connection to `target`; a failure also comes by on_done. `stack` must outlive
  // the splice. Null: as nullopt.
  void Start(netstack::Stack& stack, const Endpoint& target, OtherwiseFunction otherwise = nullptr);

  void OnConnected() override;
  void OnReadable() override;
  void OnWritable() override;
  void OnReadClosed() override;
  void OnClosed(const absl::Status& status) override;

 private:
  void Dial(const Endpoint& target);
  void OnClientReady(uint32_t events);
  // Both move what can be moved; false when the splice is over (destroyed).
  bool PumpInward();
  bool PumpOutward();
  void UpdateWatch();
  // The client goes away with a RST, the connection inside too.
  void Fail(const absl::Status& status);
  void Finish(const absl::Status& status);

  FileDescriptor client_;
  EventLoop::Watch watch_;
  DoneFunction on_done_;
  netstack::Stack* stack_ = nullptr;
  OtherwiseFunction otherwise_;
  std::unique_ptr<netstack::TcpConnection> inside_;
  std::vector<uint8_t> inward_;   // read from the client, not yet written
  std::vector<uint8_t> outward_;  // read from inside, not yet sent
  bool connected_ = false;
  bool client_eof_ = false;      // the client sent FIN
  bool inside_eof_ = false;      // the host sent FIN
  bool inside_closed_ = false;   // both sides of the inner connection are closed
  bool client_shut_ = false;     // FIN was sent to the client
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPLICE_H_
