// What this process itself costs.

#ifndef IM_ORCHESTRATOR_OWN_PROCESS_H_
#define IM_ORCHESTRATOR_OWN_PROCESS_H_

#include <cstdint>

namespace im::orchestrator {

struct OwnProcess {
  uint64_t resident_bytes = 0;
  uint64_t virtual_bytes = 0;
  double cpu_seconds = 0;
  uint64_t descriptors_max = 0;  // the soft limit

  static OwnProcess Measure();
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_OWN_PROCESS_H_
