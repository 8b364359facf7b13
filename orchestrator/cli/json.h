// JSON for other programs to read: protobuf messages with their field names as
// they are and numbers as numbers (protobuf's own printer makes strings of
// 64-bit ones, which jq cannot calculate with).

#ifndef IM_ORCHESTRATOR_CLI_JSON_H_
#define IM_ORCHESTRATOR_CLI_JSON_H_

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator::cli {

// All fields, set or not, except unset messages. Enums by name; bytes of 4 or
// 16 bytes as IP addresses, other bytes in hexadecimal. In one line.
std::string ToJson(const google::protobuf::Message& message);

// With its quotes.
std::string JsonString(absl::string_view text);

// [{"file":…,"line":…,"column":…,"message":…,"hint":…},…]
std::string ToJson(const std::vector<Diagnostic>& diagnostics);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_JSON_H_
