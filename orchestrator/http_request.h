// The first lines of an HTTP/1.x request (RFC 9112 3), as far as a server
// needs them that answers one GET and closes.

#ifndef IM_ORCHESTRATOR_HTTP_REQUEST_H_
#define IM_ORCHESTRATOR_HTTP_REQUEST_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace im::orchestrator {

// Request line and headers, in bytes; browsers and proxies stay below.
inline constexpr size_t kHttpRequestBytesMax = 8 << 10;

struct HttpRequest {
  enum class Parse {
    kIncomplete,  // more is to come
    kComplete,
    kBad,       // no HTTP/1.x: 400
    kTooLarge,  // 431
  };
  std::string method;
  std::string path;  // without the query
};

// `bytes`: all that came so far.
HttpRequest::Parse ParseHttpRequest(absl::string_view bytes, HttpRequest& request);

// With "Connection: close". `status`: "200 OK".
std::string HttpHeader(absl::string_view status, absl::string_view content_type, size_t size);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HTTP_REQUEST_H_
