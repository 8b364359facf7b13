#include "orchestrator/metrics_server.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

constexpr char kTextType[] = "text/plain; version=0.0.4; charset=utf-8";

HttpResponse Error(absl::string_view status) {
  HttpResponse response;
  response.status = std::string(status);
  response.body = std::make_shared<std::string>(
      absl::StrCat(status, "; what there is: GET ", kMetricsPath, "\n"));
  return response;
}

}  // namespace

MetricsServer::MetricsServer(EventLoop& loop, std::function<std::string()> render)
    : loop_(loop),
      render_(std::move(render)),
      server_(loop, "metrics",
              {.time_bound = kTimeBound, .connections_max = kConnectionsMax},
              [this](const HttpRequest& request, const HttpServer::Respond& respond) {
                respond(Answer(request));
              }) {}

HttpResponse MetricsServer::Answer(const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return Error("405 Method Not Allowed");
  if (request.path != kMetricsPath) return Error("404 Not Found");
  HttpResponse response;
  response.content_type = kTextType;
  response.body = Text();
  return response;
}

std::shared_ptr<const std::string> MetricsServer::Text() {
  const Instant begin = loop_.clock().Now();
  if (text_ == nullptr || begin >= text_good_until_) {
    text_ = std::make_shared<const std::string>(render_());
    const Instant end = loop_.clock().Now();
    text_good_until_ = end + kRenderQuiet * (end - begin);
  }
  return text_;
}

}  // namespace im::orchestrator
