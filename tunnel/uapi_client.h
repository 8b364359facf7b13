// Asks a running interface over the socket of wg(8).

#ifndef IM_TUNNEL_UAPI_CLIENT_H_
#define IM_TUNNEL_UAPI_CLIENT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace im::tunnel {

// `request` without the empty line at its end. The answer's lines without
// errno=0; NotFound if nobody listens, FailedPrecondition for another errno.
// Blocks, for some seconds at most.
absl::StatusOr<std::string> AskUapi(const std::string& path, absl::string_view request);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_UAPI_CLIENT_H_
