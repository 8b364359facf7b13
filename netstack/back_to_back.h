// Two interfaces of one stack, each the other's network: for tests, and for
// programs whose parts talk to each other by addresses.

#ifndef IM_NETSTACK_BACK_TO_BACK_H_
#define IM_NETSTACK_BACK_TO_BACK_H_

#include <utility>

#include "netstack/stack_thread.h"

namespace im::netstack {

// The uplinks of both. Dial has to say from which of them
// (DialOptions::local), as both addresses are the stack's own.
std::pair<StackThread::Uplink, StackThread::Uplink> BackToBack();

}  // namespace im::netstack

#endif  // IM_NETSTACK_BACK_TO_BACK_H_
