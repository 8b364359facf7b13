#include "orchestrator/http_request.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

using Parse = HttpRequest::Parse;

// RFC 9110 5.6.2.
bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("!#$%&'*+-.^_`|~", c);
  });
}

// Lines up to the empty one; false if one is none (a folded one, RFC 9112 5.2,
// neither).
bool ParseHeaders(absl::string_view lines, HttpRequest& request) {
  while (true) {
    const size_t end = lines.find('\n');
    absl::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) return true;
    const size_t colon = line.find(':');
    if (colon == absl::string_view::npos || !IsToken(line.substr(0, colon))) return false;
    const absl::string_view value = absl::StripAsciiWhitespace(line.substr(colon + 1));
    request.headers.emplace_back(absl::AsciiStrToLower(line.substr(0, colon)),
                                 std::string(value));
  }
}

// As far as methods use tokens.
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
  request.headers.clear();
  return ParseHeaders(bytes.substr(line_end + 1), request) ? Parse::kComplete : Parse::kBad;
}

std::optional<absl::string_view> HttpRequest::Header(absl::string_view name) const {
  std::optional<absl::string_view> found;
  for (const auto& [known, value] : headers) {
    if (known != name) continue;
    if (found) return std::nullopt;
    found = value;
  }
  return found;
}

std::string HttpHeader(absl::string_view status, absl::string_view content_type,
                       std::optional<size_t> size, absl::string_view more) {
  return absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", content_type,
                      size ? absl::StrCat("\r\nContent-Length: ", *size) : "",
                      "\r\nX-Content-Type-Options: nosniff\r\n", more,
                      "Connection: close\r\n\r\n");
}

}  // namespace im::orchestrator
