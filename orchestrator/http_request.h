// The beginning of an HTTP/1.x request (RFC 9112 3 and 5), as far as a server
// needs it that answers one request a connection, and takes no bodies.

#ifndef IM_ORCHESTRATOR_HTTP_REQUEST_H_
#define IM_ORCHESTRATOR_HTTP_REQUEST_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
  // Names in lower case, values without spaces around them.
  std::vector<std::pair<std::string, std::string>> headers;

  // nullopt: there is none of this name (in lower case), or more than one, so
  // that nobody can be shown another one than the next to look.
  std::optional<absl::string_view> Header(absl::string_view name) const;
};

// `bytes`: all that came so far.
HttpRequest::Parse ParseHttpRequest(absl::string_view bytes, HttpRequest& request);

// With "Connection: close". `status`: "200 OK". `size` of the body; nullopt: it
// goes on until the connection is closed. `more`: further lines, each with its
// CRLF.
std::string HttpHeader(absl::string_view status, absl::string_view content_type,
                       std::optional<size_t> size, absl::string_view more = "");

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HTTP_REQUEST_H_
