#include "orchestrator/host.h"

namespace im::orchestrator {

absl::string_view HostStateName(HostState state) {
  switch (state) {
    case HostState::kImaginary:
      return "imaginary";
    case HostState::kStarting:
      return "starting";
    case HostState::kRunning:
      return "running";
    case HostState::kPaused:
      return "paused";
    case HostState::kReleasing:
      return "releasing";
    case HostState::kCheckpointed:
      return "checkpointed";
    case HostState::kRestoring:
      return "restoring";
  }
  return "unknown";
}

bool TransitionAllowed(HostState from, HostState to) {
  using enum HostState;
  switch (from) {
    case kImaginary:
      return to == kStarting || to == kCheckpointed;
    case kStarting:
      return to == kRunning || to == kImaginary || to == kReleasing;
    case kRunning:
      return to == kPaused || to == kReleasing || to == kImaginary;
    case kPaused:
      return to == kRunning || to == kReleasing || to == kImaginary;
    case kReleasing:
      return to == kImaginary || to == kRunning || to == kCheckpointed;
    case kCheckpointed:
      return to == kRestoring || to == kImaginary;
    case kRestoring:
      return to == kRunning || to == kCheckpointed || to == kImaginary || to == kReleasing;
  }
  return false;
}

bool HasInstance(HostState state) {
  return state != HostState::kImaginary && state != HostState::kCheckpointed;
}

}  // namespace im::orchestrator
