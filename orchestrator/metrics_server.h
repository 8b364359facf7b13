// MetricsServer: GET /metrics over HTTP/1.1, on a Unix socket or a TCP port.
//
// Goals: whoever connects, and whatever they send or do not read, imd goes on
// as if they were not there: bounded memory, bounded time, nothing blocks.
//
// One request a connection, which is then closed. A connection has
// kTimeBound from its accept to its end, and there are at most
// kConnectionsMax a server: one more takes the place of the oldest, so
// connections that only wait do not shut an honest scrape out, which takes
// milliseconds. All connections share one rendered text.
//
// The text is made on demand, on the loop's thread. After making it took t the
// same one is served for kRenderQuiet * t, so scrapes take at most a twentieth
// of the thread's time, however many there are: of a cluster with few hosts it
// is as new as can be, of a large one up to a tenth of a second old.
//
//   GET, HEAD /metrics  200    another path    404    another method  405
//   no HTTP             400    more than kHttpRequestBytesMax         431

#ifndef IM_ORCHESTRATOR_METRICS_SERVER_H_
#define IM_ORCHESTRATOR_METRICS_SERVER_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "orchestrator/http_request.h"

namespace im::orchestrator {

inline constexpr char kMetricsPath[] = "/metrics";

// Owned by the loop's thread.
class MetricsServer {
 public:
  static constexpr Duration kTimeBound = std::chrono::seconds(5);
  static constexpr size_t kConnectionsMax = 16;
  static constexpr int kRenderQuiet = 20;

  // `render` makes the text. `loop` must outlive the server.
  MetricsServer(EventLoop& loop, std::function<std::string()> render);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // The socket is replaced if it is there, for `owner` (nullopt: our own user)
  // alone, and removed in the end. `directory` must exist; its path may be
  // longer than a socket's can be.
  absl::Status ListenUnix(const std::string& directory, const std::string& name,
                          std::optional<uid_t> owner);
  // Returns the bound endpoint. AlreadyExists: another program has the port.
  absl::StatusOr<Endpoint> ListenTcp(const Endpoint& at);

  size_t connections() const { return connections_.size(); }

 private:
  struct Connection {
    FileDescriptor socket;
    std::string request;
    std::string header;
    std::shared_ptr<const std::string> body;  // of the answer; null: none yet
    size_t sent = 0;                          // of header and body
    bool sent_all = false;                    // what still comes is thrown away
    EventLoop::Watch watch;
    EventLoop::Timer bound;
  };
  using Connections = std::list<Connection>;
  struct Listener {
    FileDescriptor socket;
    EventLoop::Watch watch;
    EventLoop::Timer retry;
  };

  void Accept(Listener& listener);
  void Listen(FileDescriptor socket);
  void OnReady(Connections::iterator it);
  // False: the connection is at its end.
  bool Read(Connection& connection);
  bool Send(Connection& connection);
  void Answer(Connection& connection, const HttpRequest& request);
  void AnswerError(Connection& connection, absl::string_view status);
  std::shared_ptr<const std::string> Text();

  EventLoop& loop_;
  const std::function<std::string()> render_;
  std::shared_ptr<const std::string> text_;
  Instant text_good_until_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Connections connections_;  // the oldest first
  std::string socket_path_;
  FileDescriptor socket_directory_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_METRICS_SERVER_H_
