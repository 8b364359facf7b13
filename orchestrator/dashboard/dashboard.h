// Dashboard: the page of `im dashboard`, and what it asks for.
//
//   GET  /, /dashboard.js, …         the page (web/), as it was built
//   GET  /api/stream                 DashboardFeed, as server-sent events
//   GET  /api/hosts/NAME/why         what `im why` says
//   GET  /api/permission             200 with the token, 401 without
//   POST /api/hosts/NAME/wake|suspend|release
//                                    202: asked for, the stream tells the rest; 401
//                                    without the token; 4xx and a reason if it cannot be
//
// Whoever can connect may look. By default that is who is on this machine: not
// the web pages that somebody looks at there. Against those:
//  - a name that an attacker's DNS leads here (DNS rebinding): Host must be
//    localhost or an address;
//  - requests by another page: nothing allows another origin to read an answer
//    (no CORS); what says that it comes from one (Origin, Sec-Fetch-Site) is
//    refused; what changes something wants the token, which no other page knows;
//  - the page in another page's frame, or scripts in it that are not its own:
//    its Content-Security-Policy.
// The token comes to the page behind the # of its address, which browsers do not
// send; the page sends it as "Authorization: Bearer".

#ifndef IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_H_
#define IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/event_loop.h"
#include "base/ip_address.h"
#include "orchestrator/api_backend.h"
#include "orchestrator/dashboard/dashboard_token.h"
#include "orchestrator/http_server.h"

namespace im::orchestrator {

// Where it is if nobody says otherwise and nobody else has the port.
inline constexpr uint16_t kDashboardPort = 9601;

// Owned by the loop's thread.
class Dashboard {
 public:
  using OpenStream = std::function<std::unique_ptr<HttpStream>()>;

  static constexpr HttpServer::Limits kLimits = {.time_bound = std::chrono::seconds(10),
                                                 .connections_max = 32,
                                                 .streams_max = 32,
                                                 .stall_bound = std::chrono::seconds(15)};

  // All must outlive it.
  Dashboard(EventLoop& loop, ApiBackend& backend, DashboardToken token, OpenStream open_stream);

  // nullopt: 127.0.0.1:kDashboardPort, or another port there. If it listens
  // already: where, and FailedPrecondition if that is not the place asked for.
  absl::StatusOr<Endpoint> Listen(std::optional<Endpoint> at);
  void PollStreams() { server_.PollStreams(); }

  const std::string& token() const { return token_.text(); }
  size_t readers() const { return server_.streams(); }

 private:
  void OnRequest(const HttpRequest& request, const HttpServer::Respond& respond);
  void OnApi(const HttpRequest& request, const HttpServer::Respond& respond);
  void OnHost(const HttpRequest& request, absl::string_view name, absl::string_view verb,
              const HttpServer::Respond& respond);
  void Why(const std::string& host, const HttpServer::Respond& respond);
  void Act(const std::string& host, absl::string_view verb, const HttpServer::Respond& respond);
  bool Permitted(const HttpRequest& request) const;

  ApiBackend& backend_;
  const DashboardToken token_;
  const OpenStream open_stream_;
  std::optional<Endpoint> endpoint_;
  HttpServer server_;
};

// "127.0.0.1", "[::1]:9601", "localhost:80": no name that DNS could lead here.
bool IsAddressOrLocalhost(absl::string_view host);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_H_
