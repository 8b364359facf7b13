// Exit codes of `im`, as `im --help` tells them. im run and im exec pass on
// the program's own.

#ifndef IM_ORCHESTRATOR_CLI_EXIT_CODE_H_
#define IM_ORCHESTRATOR_CLI_EXIT_CODE_H_

namespace im::orchestrator::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitBadInput = 2;      // a word on the command line, or a cluster.yaml
inline constexpr int kExitRunning = 3;       // the cluster runs already, or does not run
inline constexpr int kExitNotPermitted = 4;  // the machine or the user lacks something
inline constexpr int kExitNetstackOnly = 5;  // im doctor: there are no namespaces or TUN devices
inline constexpr int kExitNoSuchProgram = 127;

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_EXIT_CODE_H_
