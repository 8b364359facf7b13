// QR codes in a terminal, for phones to read a configuration from (ISO/IEC 18004, by
// libqrencode).

#ifndef IM_ORCHESTRATOR_CLI_QR_CODE_H_
#define IM_ORCHESTRATOR_CLI_QR_CODE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "orchestrator/cli/terminal.h"

namespace im::orchestrator::cli {

// Two rows of modules a line, in half blocks, with the quiet zone of four modules around.
// A block is a light module: without colours this is right on a dark screen. In a locale
// that is not UTF-8: two "#" for a light module and two spaces for a dark one.
// InvalidArgument: more text than a code holds.
absl::StatusOr<std::string> QrCode(absl::string_view text, const Terminal& terminal);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_QR_CODE_H_
