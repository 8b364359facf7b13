// Programs that sleep and then do something by themselves (timer_programs_test.cc).

#ifndef IM_ORCHESTRATOR_AGENT_TIMER_PROGRAMS_H_
#define IM_ORCHESTRATOR_AGENT_TIMER_PROGRAMS_H_

#include <string>

namespace im::agent {

// Sleeps `ms` in the call of that name, prints "KIND late MICROSECONDS", and so
// on. With `deeds` false it says nothing.
[[noreturn]] void RunTimerProgram(const std::string& kind, int ms, bool deeds);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TIMER_PROGRAMS_H_
