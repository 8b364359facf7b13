// ParseHttpRequest takes what anybody sends.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "orchestrator/http_request.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using im::orchestrator::HttpRequest;
  HttpRequest request;
  const auto parse = im::orchestrator::ParseHttpRequest(
      absl::string_view(reinterpret_cast<const char*>(data), size), request);
  if (parse == HttpRequest::Parse::kComplete) {
    IM_CHECK(!request.method.empty() && request.path.front() == '/');
  }
  if (parse == HttpRequest::Parse::kIncomplete) {
    IM_CHECK(size < im::orchestrator::kHttpRequestBytesMax);
  }
  return 0;
}
