// ProgramMessage: what sendto, sendmsg, recvfrom and recvmsg were given, in the
// program's memory: pieces of a buffer, and where an address stands.
//
// All of it is read once; what is decided is decided on our copy.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_MESSAGE_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_MESSAGE_H_

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/ip_address.h"
#include "orchestrator/agent/intercept/pending_call.h"

namespace im::agent {

// The largest payload of a UDP datagram over IPv4.
inline constexpr size_t kDatagramBytesMax = 65507;

// struct mmsghdr: a header and a length, padded.
inline constexpr uint64_t kManyMessagesStride = 64;
inline constexpr uint64_t kManyMessagesLength = 56;

struct ProgramMessage {
  std::vector<iovec> pieces;  // addresses of the program
  size_t size = 0;            // of all pieces
  uint64_t name = 0;          // 0: no address
  uint64_t name_size = 0;     // as given
  uint64_t name_size_at = 0;  // where its size is to be written; 0: nowhere
  uint64_t header = 0;        // the struct msghdr, if there is one

  // A buffer and an address, as sendto and recvfrom have them.
  static ProgramMessage OfBuffer(uint64_t buffer, uint64_t size);
  // 0 or an errno.
  int ReadHeader(const PendingCall& call, uint64_t at);

  // 0, or an errno: EMSGSIZE if it is more than a datagram carries.
  int Gather(const PendingCall& call, std::vector<uint8_t>& bytes) const;
  // Fills the pieces with as much as they take.
  int Scatter(const PendingCall& call, std::span<const uint8_t> bytes) const;
  // The source's address, and the header's other fields.
  int WriteSource(const PendingCall& call, const Endpoint& from, int family, int flags) const;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_MESSAGE_H_
