// The version of imd.

#ifndef IM_ORCHESTRATOR_VERSION_H_
#define IM_ORCHESTRATOR_VERSION_H_

namespace im::orchestrator {

inline constexpr char kVersion[] = IM_VERSION;  // of the project, by CMake

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_VERSION_H_
