// CRIU, the program that takes processes to disk and back: which one is to be used.

#ifndef IM_ORCHESTRATOR_CRIU_H_
#define IM_ORCHESTRATOR_CRIU_H_

#include <string>

#include "base/status.h"

namespace im::orchestrator {

// The path of a CRIU that works on this machine: $IM_CRIU, else the one beside this
// program's own file (./setup puts one there where the machine's does not work), else the
// first in PATH and the sbin directories. FailedPrecondition says why there is none: no
// root, none installed, or what `criu check` said. Runs it twice; some 0.1 s.
absl::StatusOr<std::string> FindCriu();

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CRIU_H_
