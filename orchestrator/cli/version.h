#ifndef IM_ORCHESTRATOR_CLI_VERSION_H_
#define IM_ORCHESTRATOR_CLI_VERSION_H_

namespace im::orchestrator::cli {

inline constexpr char kVersion[] = IM_VERSION;  // of the project, by CMake

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_VERSION_H_
