// The version of imd and im.

#ifndef IM_ORCHESTRATOR_VERSION_H_
#define IM_ORCHESTRATOR_VERSION_H_

namespace im::orchestrator {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_VERSION_H_
