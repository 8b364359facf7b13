// The value of getsockopt(TCP_INFO), as Linux' struct tcp_info, from what the
// stack knows.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_INFO_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_INFO_H_

#include <cstdint>
#include <vector>

#include "netstack/net.h"

namespace im::agent {

// Linux' numbers of states (net/tcp_states.h).
enum class TcpInfoState : uint8_t {
  kEstablished = 1,
  kSynSent = 2,
  kFinWait2 = 5,
  kClose = 7,
  kCloseWait = 8,
  kListen = 10,
};

struct TcpInfoSource {
  TcpInfoState state = TcpInfoState::kClose;
  netstack::TcpFigures figures;
  uint64_t written_bytes = 0;   // taken from the program
  uint64_t received_bytes = 0;  // given to it
  // Of a listener: who waits, and how many may.
  uint32_t waiting = 0;
  uint32_t backlog = 0;
};

std::vector<uint8_t> MakeTcpInfo(const TcpInfoSource& source);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_TCP_INFO_H_
