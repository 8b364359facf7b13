// One end of im cp: "HOST:PATH", or a path on this machine.

#ifndef IM_ORCHESTRATOR_CLI_COPY_PLACE_H_
#define IM_ORCHESTRATOR_CLI_COPY_PLACE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace im::orchestrator::cli {

struct CopyPlace {
  std::string host;  // empty: this machine
  std::string path;

  // As scp(1) has it: what has a colon before any slash is a host's.
  // InvalidArgument: an empty path or host.
  static absl::StatusOr<CopyPlace> Parse(absl::string_view text);

  // The last part of the path, which the copy has, too: "etc" of "/etc/".
  // InvalidArgument: the path has no name of its own ("/", "..").
  absl::StatusOr<std::string> Name() const;
  // What the name is in: "/" of "/etc/", "." of "file".
  std::string Directory() const;
};

// Writes what `from` is to stdout, as a tar archive with `name` at its top.
std::vector<std::string> PackCommand(const CopyPlace& from, const std::string& name);
// Reads such an archive: into `to` if that is a directory, else as `to`, which
// is there as a whole or not at all.
std::vector<std::string> UnpackCommand(const CopyPlace& to, const std::string& name);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_COPY_PLACE_H_
