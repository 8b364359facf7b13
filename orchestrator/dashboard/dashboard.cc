#include "orchestrator/dashboard/dashboard.h"

#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "orchestrator/dashboard/dashboard_json.h"
#include "orchestrator/dashboard/dashboard_page.h"

namespace im::orchestrator {
namespace {

constexpr char kJsonType[] = "application/json";

// Of every answer. The page has no script or style but its own files.
constexpr char kHeaders[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\n";

HttpResponse Answer(absl::string_view status, absl::string_view content_type, std::string body) {
  HttpResponse response;
  response.status = std::string(status);
  response.content_type = std::string(content_type);
  response.headers = kHeaders;
  response.body = std::make_shared<const std::string>(std::move(body));
  return response;
}

HttpResponse Refuse(absl::string_view status, absl::string_view reason) {
  return Answer(status, kJsonType,
                JsonText({{"error", std::string(reason)}}) + "\n");
}

HttpResponse Refuse(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return Refuse("404 Not Found", status.message());
    case absl::StatusCode::kFailedPrecondition:
      return Refuse("409 Conflict", status.message());
    default:
      return Refuse("503 Service Unavailable", status.message());
  }
}

// Says itself that another page asks.
bool FromElsewhere(const HttpRequest& request, absl::string_view host) {
  for (const auto& [name, value] : request.headers) {
    if (name == "origin" && value != absl::StrCat("http://", host)) return true;
    if (name == "sec-fetch-site" && value != "same-origin" && value != "none") return true;
  }
  return false;
}

}  // namespace

bool IsAddressOrLocalhost(absl::string_view host) {
  absl::string_view port;
  if (absl::StartsWith(host, "[")) {
    const size_t end = host.find(']');
    if (end == absl::string_view::npos) return false;
    port = host.substr(end + 1);
    const auto address = IpAddress::Parse(host.substr(1, end - 1));
    if (!address || address->is_v4()) return false;
  } else {
    const size_t colon = host.find(':');
    if (colon != absl::string_view::npos) port = host.substr(colon);
    const absl::string_view name = host.substr(0, colon);
    if (!absl::EqualsIgnoreCase(name, "localhost") && !IpAddress::Parse(name)) {
      return false;
    }
  }
  uint32_t number = 0;
  return port.empty() || (port[0] == ':' && port.size() <= 6 &&
                          absl::SimpleAtoi(port.substr(1), &number) && number <= 65535);
}

Dashboard::Dashboard(EventLoop& loop, ApiBackend& backend, DashboardToken token,
                     OpenStream open_stream)
    : backend_(backend),
      token_(std::move(token)),
      open_stream_(std::move(open_stream)),
      server_(loop, "dashboard", kLimits,
              [this](const HttpRequest& request, const HttpServer::Respond& respond) {
                OnRequest(request, respond);
              }) {}

absl::StatusOr<Endpoint> Dashboard::Listen(std::optional<Endpoint> at) {
  if (endpoint_) {
    if (at && *at != *endpoint_) {
      return absl::FailedPreconditionError(
          absl::StrCat("the dashboard is at ", endpoint_->ToString(), " already"));
    }
    return *endpoint_;
  }
  const Endpoint usual{IpAddress::V4(0x7f000001), kDashboardPort};
  absl::StatusOr<Endpoint> bound = server_.ListenTcp(at.value_or(usual));
  if (!at && absl::IsAlreadyExists(bound.status())) bound = server_.ListenTcp({usual.address, 0});
  if (bound.ok()) endpoint_ = *bound;
  return bound;
}

bool Dashboard::Permitted(const HttpRequest& request) const {
  const auto shown = request.Header("authorization");
  return shown && token_.Permits(*shown);
}

void Dashboard::OnRequest(const HttpRequest& request, const HttpServer::Respond& respond) {
  const auto host = request.Header("host");
  if (!host || !IsAddressOrLocalhost(*host)) {
    return respond(Refuse("421 Misdirected Request",
                          "reach the dashboard by an address or as localhost, by no other name"));
  }
  if (absl::StartsWith(request.path, "/api/")) {
    if (FromElsewhere(request, *host)) {
      return respond(Refuse("403 Forbidden", "asked by another page"));
    }
    return OnApi(request, respond);
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return respond(Refuse("405 Method Not Allowed", "GET alone"));
  }
  for (const DashboardFile& file : DashboardFiles()) {
    if (file.path == request.path) {
      return respond(Answer("200 OK", file.content_type, std::string(file.bytes)));
    }
  }
  respond(Refuse("404 Not Found", "there is no such page"));
}

void Dashboard::OnApi(const HttpRequest& request, const HttpServer::Respond& respond) {
  const std::vector<absl::string_view> parts = absl::StrSplit(request.path, '/');  // "", "api", …
  if (parts.size() == 5 && parts[2] == "hosts") {
    return OnHost(request, parts[3], parts[4], respond);
  }
  const bool stream = request.path == "/api/stream";
  if (!stream && request.path != "/api/permission") {
    return respond(Refuse("404 Not Found", "there is no such thing to ask for"));
  }
  if (request.method != "GET") return respond(Refuse("405 Method Not Allowed", "GET alone"));
  if (!stream) {
    return respond(Permitted(request) ? Answer("200 OK", kJsonType, "{}")
                                      : Refuse("401 Unauthorized", "not with this token"));
  }
  HttpResponse response = Answer("200 OK", "text/event-stream", "");
  response.stream = open_stream_();
  respond(std::move(response));
}

void Dashboard::OnHost(const HttpRequest& request, absl::string_view name, absl::string_view verb,
                       const HttpServer::Respond& respond) {
  if (verb == "why") {
    if (request.method != "GET") return respond(Refuse("405 Method Not Allowed", "GET alone"));
    return Why(std::string(name), respond);
  }
  if (verb != "wake" && verb != "suspend" && verb != "release") {
    return respond(Refuse("404 Not Found", "there is no such thing to do"));
  }
  if (request.method != "POST") return respond(Refuse("405 Method Not Allowed", "POST alone"));
  if (!Permitted(request)) {
    return respond(Refuse("401 Unauthorized", "im dashboard prints an address with the token"));
  }
  Act(std::string(name), verb, respond);
}

void Dashboard::Why(const std::string& host, const HttpServer::Respond& respond) {
  backend_.Refresh({host}, [this, host, respond] {
    const absl::StatusOr<proto::WhyReply> why = backend_.Why(host);
    respond(why.ok() ? Answer("200 OK", kJsonType, JsonText(WhyJson(*why))) : Refuse(why.status()));
  });
}

void Dashboard::Act(const std::string& host, absl::string_view verb,
                    const HttpServer::Respond& respond) {
  // What fails at once is told; how the rest goes on, the stream tells.
  const ApiBackend::HostDone done = [respond](const absl::StatusOr<proto::HostInfo>& answer) {
    respond(answer.ok() ? Answer("202 Accepted", kJsonType, "{}") : Refuse(answer.status()));
  };
  if (verb == "wake") {
    proto::WakeRequest request;
    request.set_name(host);
    request.set_cause(proto::WakeCause::USER);
    request.set_detail("dashboard");
    backend_.Wake(request, done);
  } else if (verb == "suspend") {
    backend_.Suspend(host, done);
  } else {
    backend_.Release(host, done);
  }
  done(proto::HostInfo());
}

}  // namespace im::orchestrator
