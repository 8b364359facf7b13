// Confinement: a run in namespaces of its own, so that all it starts and makes
// ends with it, however it ends.
//
//   im-bench ── pid 1 of a new PID namespace ── the worker, and all it starts
//
// The worker's network namespace has nothing but a loopback device. What it
// writes to temp_directory_path() and /run/wireguard lies in file systems of its
// own. The end of pid 1 is the end of all processes of its namespace, by the
// kernel's hand; with them go network namespaces, TUN devices and mounts. pid 1
// ends when the worker does, and when im-bench does (a pipe tells it). What
// namespaces do not hold are cgroups: whoever of the two is left removes them.
//
// As root, or as any user where user namespaces are allowed; then the worker is
// root in one of its own.

#ifndef IM_BENCH_CONFINEMENT_H_
#define IM_BENCH_CONFINEMENT_H_

#include <functional>
#include <string>

#include "base/status.h"

namespace im::bench {

// The name that a cluster of this run should begin with: what lies in cgroups
// im/NAME… is removed at the end.
std::string ConfinedClusterPrefix();

// Runs `work` confined; gives its exit code, 128 + signal if one ended it or us.
// Precondition: the process has one thread.
absl::StatusOr<int> RunConfined(const std::function<int()>& work);

}  // namespace im::bench

#endif  // IM_BENCH_CONFINEMENT_H_
