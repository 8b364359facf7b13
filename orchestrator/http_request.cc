#include "orchestrator/http_request.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

using Parse = HttpRequest::Parse;

// RFC 9110 5.6.2, as far as methods use it.
bool IsMethod(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isupper(static_cast<unsigned char>(c));
  });
}

bool Printable(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
}

}  // namespace

Parse ParseHttpRequest(absl::string_view bytes, HttpRequest& request) {
  const size_t line_end = bytes.find('\n');
  if (line_end == absl::string_view::npos) {
    return bytes.size() >= kHttpRequestBytesMax ? Parse::kTooLarge : Parse::kIncomplete;
  }
  absl::string_view line = bytes.substr(0, line_end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == absl::string_view::npos || first == last) return Parse::kBad;
  const absl::string_view method = line.substr(0, first);
  const absl::string_view target = line.substr(first + 1, last - first - 1);
  if (!IsMethod(method) || target.empty() || target.front() != '/' || !Printable(target) ||
      !absl::StartsWith(line.substr(last + 1), "HTTP/1.")) {
    return Parse::kBad;
  }
  // The headers end with an empty line.
  const size_t crlf = bytes.find("\n\r\n");
  const size_t lf = bytes.find("\n\n");
  if (std::min(crlf, lf) == absl::string_view::npos) {
    return bytes.size() >= kHttpRequestBytesMax ? Parse::kTooLarge : Parse::kIncomplete;
  }
  request.method = std::string(method);
  request.path = std::string(target.substr(0, target.find('?')));
  return Parse::kComplete;
}

std::string HttpHeader(absl::string_view status, absl::string_view content_type, size_t size) {
  return absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", content_type,
                      "\r\nContent-Length: ", size,
                      "\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n");
}

}  // namespace im::orchestrator
