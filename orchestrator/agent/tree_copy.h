// A directory's content, and its copy in another: what an image has in the place of a volume.

#ifndef IM_ORCHESTRATOR_AGENT_TREE_COPY_H_
#define IM_ORCHESTRATOR_AGENT_TREE_COPY_H_

#include <string>
#include <vector>

#include "base/status.h"

namespace im::agent {

// What is in a directory (a descriptor), without "." and "..".
absl::StatusOr<std::vector<std::string>> NamesIn(int directory);

// All that is in the directory `from` into the empty directory `to` (descriptors): files,
// directories and links, with owners, modes and times; no devices, FIFOs and sockets, no
// extended attributes, and files with several names become several files. An error: what
// was copied so far stays. Whoever copies from what others may write to follows no link.
absl::Status CopyContent(int from, int to);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TREE_COPY_H_
