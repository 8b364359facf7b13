// What we read of CRIU's images: the established connections of a checkpoint.
//
// An image is two magic numbers of 32 bits, then messages, each behind its size in
// 32 bits (little-endian, as x86-64 has it). files.img lists what is open;
// tcp-stream-INODE.img begins with what TCP knows of one connection. The messages are
// CRIU's, with the fields that we need (proto/agent.proto).

#ifndef IM_ORCHESTRATOR_AGENT_CRIU_IMAGES_H_
#define IM_ORCHESTRATOR_AGENT_CRIU_IMAGES_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/agent.pb.h"

namespace im::agent {

// Further ones are left out: they are answered by the restored host alone.
inline constexpr size_t kConnectionsMax = 10'000;

// The messages of an image; those before a place that makes no sense.
std::vector<absl::string_view> ImageMessages(absl::string_view image);

// nullopt unless both are of one established connection with another host.
std::optional<proto::KeptConnection> ConnectionOf(const proto::CriuInetSocket& socket,
                                                  const proto::CriuTcpStream& stream);

// Of the images in `directory`.
std::vector<proto::KeptConnection> ReadConnections(const std::string& directory);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CRIU_IMAGES_H_
