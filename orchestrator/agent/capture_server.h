// CaptureServer: copies of the host's packets, for `im capture`.
//
// A client connects to capture.sock (SOCK_STREAM) and gets a pcap file from
// then on. When it has shut its side down it gets what was copied until then,
// and a trailer in the place of a record: captured_bytes is
// kCaptureTrailerMark, the two words of the time are how many packets it got,
// and original_bytes how many it lost.
//
// The packets themselves never wait: a client that does not read fast enough
// has kBufferBytesMax of copies, and loses, counted, what does not fit. While
// nobody looks the data path has one pointer to compare, and nothing is copied.
// To look keeps no host up, and wakes none.

#ifndef IM_ORCHESTRATOR_AGENT_CAPTURE_SERVER_H_
#define IM_ORCHESTRATOR_AGENT_CAPTURE_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/packet_tap.h"

namespace im::agent {

inline constexpr uint32_t kCaptureTrailerMark = UINT32_MAX;

class CaptureServer final : public PacketTap {
 public:
  // Copies that wait for one client: a tenth of a second of a busy host.
  static constexpr size_t kBufferBytesMax = 8 << 20;
  // Clients at once; further ones are closed at once.
  static constexpr size_t kClientsMax = 4;

  // `on_used`: somebody looks now, or nobody does any more. `loop` must
  // outlive it. A socket that an earlier agent left is replaced.
  static absl::StatusOr<std::unique_ptr<CaptureServer>> Listen(
      const std::string& path, EventLoop& loop, std::function<void(bool used)> on_used);
  ~CaptureServer() override;  // removes the socket

  void OnPacket(std::span<const uint8_t> packet) override;
  size_t clients() const { return clients_.size(); }

 private:
  struct Client {
    FileDescriptor socket;
    EventLoop::Watch watch;
    std::string buffer;
    size_t sent = 0;  // of the buffer
    uint64_t captured = 0;
    uint64_t lost = 0;
    bool ending = false;   // no more is copied
    bool blocked = false;  // the socket takes no more for now
  };
  using Clients = std::list<Client>;

  CaptureServer(std::string path, FileDescriptor listener, EventLoop& loop,
                std::function<void(bool)> on_used);
  void OnConnection();
  void OnReady(Clients::iterator it, uint32_t events);
  // False: the client is to be forgotten.
  bool Flush(Client& client);
  void Forget(Clients::iterator it);

  const std::string path_;
  FileDescriptor listener_;
  EventLoop& loop_;
  const std::function<void(bool)> on_used_;
  EventLoop::Watch watch_;
  Clients clients_;
  bool flush_due_ = false;
  // Cleared by the destructor, so that what waits for the turn's end finds nobody.
  std::shared_ptr<CaptureServer*> self_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CAPTURE_SERVER_H_
