// What proc(5) says about a process and the machine, and waiting for what a program does.

#ifndef IM_BENCH_PROCESS_FIGURES_H_
#define IM_BENCH_PROCESS_FIGURES_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace im::bench {

// 0 if it is gone.
double CpuSecondsOf(pid_t pid);
double ResidentMegabytesOf(pid_t pid);

// Processor time of the whole machine so far, in seconds: programs, their
// network and the kernel's own work. It counts what others do, too.
double MachineCpuSeconds();

// What a program does that has just been started it does in a moment: looks
// until then, for ten seconds at most.
absl::Status Await(const std::string& what, const std::function<bool()>& condition);

// The command, run in the network namespace of a process.
std::vector<std::string> InNamespaceOf(pid_t pid, const std::vector<std::string>& argv);

// Whether there is such a program in $PATH, or at that place.
bool IsInstalled(const std::string& program);

// The first line of what the shell prints for the command.
absl::StatusOr<std::string> FirstLine(const std::string& shell_command);

}  // namespace im::bench

#endif  // IM_BENCH_PROCESS_FIGURES_H_
