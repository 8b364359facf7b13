// A host's facts in words, for `im ps` and `im why`.

#ifndef IM_ORCHESTRATOR_CLI_HOST_VIEW_H_
#define IM_ORCHESTRATOR_CLI_HOST_VIEW_H_

#include <cstdint>
#include <string>
#include <vector>

#include "orchestrator/cli/terminal.h"
#include "proto/api.pb.h"

namespace im::orchestrator::cli {

// "12s", how long it has been in its state.
std::string TextSince(const proto::HostInfo& host, int64_t now_unix_nanos);
// "cold 8.1ms", "thaw 85µs"; empty if it never woke.
std::string TextOfWake(const proto::HostInfo& host, const Terminal& terminal);
// What comes next, or what is in the way: "pauses in 3s", "released in 9m",
// "busy: cpu 12%", "exec nginxx: No such file; again in 2s".
std::string TextOfNext(const proto::HostInfo& host);

// The table of `im ps`.
std::string HostTable(const std::vector<proto::HostInfo>& hosts, int64_t now_unix_nanos,
                      const Terminal& terminal);

// The table of `im ps --drops`; empty if nothing was dropped. The gateway's own
// come first.
std::string DropTable(const proto::Cluster& cluster, const std::vector<proto::HostInfo>& hosts,
                      const Terminal& terminal);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_HOST_VIEW_H_
