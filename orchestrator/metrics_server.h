// MetricsServer: GET /metrics over HTTP/1.1, on a Unix socket or a TCP port.
//
// All connections share one rendered text. It is made on demand, on the loop's
// thread. After making it took t the same one is served for kRenderQuiet * t,
// so scrapes take at most a twentieth of the thread's time, however many there
// are: of a cluster with few hosts it is as new as can be, of a large one up to
// a tenth of a second old. What connections may cost: http_server.h.
//
//   GET, HEAD /metrics  200    another path    404    another method  405

#ifndef IM_ORCHESTRATOR_METRICS_SERVER_H_
#define IM_ORCHESTRATOR_METRICS_SERVER_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/ip_address.h"
#include "orchestrator/http_server.h"

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

  // As HttpServer's.
  absl::Status ListenUnix(const std::string& directory, const std::string& name,
                          std::optional<uid_t> owner) {
    return server_.ListenUnix(directory, name, owner);
  }
  absl::StatusOr<Endpoint> ListenTcp(const Endpoint& at) { return server_.ListenTcp(at); }

  size_t connections() const { return server_.connections(); }

 private:
  HttpResponse Answer(const HttpRequest& request);
  std::shared_ptr<const std::string> Text();

  EventLoop& loop_;
  const std::function<std::string()> render_;
  std::shared_ptr<const std::string> text_;
  Instant text_good_until_;
  HttpServer server_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_METRICS_SERVER_H_
