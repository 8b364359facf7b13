// TopModel: hosts as im top shows them: what two looks at them, some time
// apart, say about CPU and traffic, and in which order.

#ifndef IM_ORCHESTRATOR_CLI_TOP_MODEL_H_
#define IM_ORCHESTRATOR_CLI_TOP_MODEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "proto/api.pb.h"

namespace im::orchestrator::cli {

enum class TopOrder { kFile, kName, kState, kCpu, kMemory, kIn, kOut, kNext };
inline constexpr int kTopOrders = 8;

// "file", "name", "state", …
absl::string_view TopOrderName(TopOrder order);
std::optional<TopOrder> TopOrderOf(absl::string_view name);

struct TopRow {
  proto::HostInfo host;
  // Since the look before; nullopt: there was none.
  std::optional<double> cpu_percent;  // of one core
  std::optional<double> in_per_s;     // bytes to the program
  std::optional<double> out_per_s;
};

class TopModel {
 public:
  // What ListHosts said at `now`, in the order of cluster.yaml.
  void Update(std::vector<proto::HostInfo> hosts, Instant now);

  // The most first: most CPU, most memory, what pauses or goes soonest. Equal
  // ones by the order of cluster.yaml.
  std::vector<TopRow> Sorted(TopOrder order, bool reversed) const;
  const std::vector<TopRow>& rows() const { return rows_; }

 private:
  struct Look {
    uint64_t incarnation = 0;
    uint64_t cpu_ns = 0;
    uint64_t in_bytes = 0;
    uint64_t out_bytes = 0;
  };

  std::vector<TopRow> rows_;
  absl::flat_hash_map<std::string, Look> looks_;
  std::optional<Instant> looked_at_;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_TOP_MODEL_H_
