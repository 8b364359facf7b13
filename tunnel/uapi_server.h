// UapiServer: answers wg(8) on a Unix socket.
//
// Each connection may ask any number of times. A connection that sends more
// than kUapiRequestBytesMax without an empty line, or lets its answers pile up,
// is closed; so is the oldest of more than kUapiConnectionsMax.

#ifndef IM_TUNNEL_UAPI_SERVER_H_
#define IM_TUNNEL_UAPI_SERVER_H_

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::tunnel {

class Driver;

// A request with some 100,000 peers.
inline constexpr size_t kUapiRequestBytesMax = 32 << 20;
inline constexpr size_t kUapiConnectionsMax = 16;

// Where wg(8) looks.
inline constexpr char kUapiDirectory[] = "/var/run/wireguard";
std::string UapiSocketPath(absl::string_view interface_name);

// A listening socket with mode 0600 at `path`, in a directory made with mode
// 0755 if there is none. AlreadyExists if somebody listens there; the left-over
// of a dead process is replaced.
absl::StatusOr<FileDescriptor> ListenUapi(const std::string& path);

// "get=1…" or "set=1…" without the empty line at the end; gives the answer.
std::string AnswerUapi(absl::string_view request, Driver& driver);

// Owned by the loop's thread.
class UapiServer {
 public:
  // `loop` must outlive the server. `answer` gets each request without its
  // empty line. `on_removed` is called once when the socket file at `path`
  // has gone: wg-quick(8) ends an interface so. An empty path is not watched.
  static absl::StatusOr<std::unique_ptr<UapiServer>> Create(
      FileDescriptor listener, const std::string& path, EventLoop& loop,
      std::function<std::string(absl::string_view)> answer, std::function<void()> on_removed);
  // Removes the socket file if it is still there.
  ~UapiServer();

 private:
  struct Connection;

  UapiServer(FileDescriptor listener, std::string path, EventLoop& loop,
             std::function<std::string(absl::string_view)> answer,
             std::function<void()> on_removed);
  absl::Status WatchFile();
  void OnFileEvent();
  void Accept();
  void OnReady(Connection& connection, uint32_t events);
  bool ReadRequests(Connection& connection);
  bool WriteAnswers(Connection& connection);

  FileDescriptor listener_;
  std::string path_;
  EventLoop& loop_;
  std::function<std::string(absl::string_view)> answer_;
  std::function<void()> on_removed_;
  std::list<Connection> connections_;
  FileDescriptor inotify_;
  EventLoop::Watch listener_watch_;
  EventLoop::Watch inotify_watch_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_UAPI_SERVER_H_
