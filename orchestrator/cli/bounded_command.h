// A program of the machine, run for what it prints, for a bounded time.

#ifndef IM_ORCHESTRATOR_CLI_BOUNDED_COMMAND_H_
#define IM_ORCHESTRATOR_CLI_BOUNDED_COMMAND_H_

#include <string>
#include <vector>

#include "base/clock.h"

namespace im::orchestrator::cli {

// Of what a command prints; more is thrown away.
inline constexpr size_t kCommandOutputBytesMax = 64 << 10;

struct CommandResult {
  int exit_code = -1;  // 128 + n for signal n; 127: not found; -1: could not be run, or took too long
  std::string output;  // stdout and stderr
};

// With nothing to read and no terminal.
CommandResult RunBounded(const std::vector<std::string>& argv, Duration bound);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_BOUNDED_COMMAND_H_
