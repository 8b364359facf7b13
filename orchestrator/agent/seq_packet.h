// Messages with descriptors over SOCK_SEQPACKET Unix sockets.

#ifndef IM_ORCHESTRATOR_AGENT_SEQ_PACKET_H_
#define IM_ORCHESTRATOR_AGENT_SEQ_PACKET_H_

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::agent {

// Of one message. Far above any command line in use, below the socket buffer
// that Linux gives by default (208 KiB).
inline constexpr size_t kSeqPacketBytesMax = 128 << 10;
inline constexpr size_t kSeqPacketFdsMax = 4;

struct SeqPacket {
  std::string bytes;
  std::vector<FileDescriptor> fds;
  pid_t pid = 0;  // with SO_PASSCRED: of the sender, or the one that it named
};

// Both ends are close-on-exec; the first is non-blocking and learns pids.
absl::StatusOr<std::pair<FileDescriptor, FileDescriptor>> MakeSeqPacketPair();

// `pid`: named to the receiver, in its own numbers; 0: the sender's.
absl::Status SendSeqPacket(int socket, absl::string_view bytes, std::span<const int> fds = {},
                           pid_t pid = 0);

// nullopt: nothing is there now. OutOfRange: the other side has closed.
absl::StatusOr<std::optional<SeqPacket>> ReceiveSeqPacket(int socket);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_SEQ_PACKET_H_
