// NamespacePair: two fresh network namespaces, near (the client's) and far (the
// server's), and the programs that carry packets between them, if any do.

#ifndef IM_BENCH_NAMESPACE_PAIR_H_
#define IM_BENCH_NAMESPACE_PAIR_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "bench/process.h"

namespace im::bench {

class NamespacePair {
 public:
  virtual ~NamespacePair() = default;
  NamespacePair(const NamespacePair&) = delete;
  NamespacePair& operator=(const NamespacePair&) = delete;

  // Where the far end is, seen from the near one.
  const std::string& server() const { return server_; }
  // `argv` run at an end; what a server at the far one writes is not kept.
  std::vector<std::string> AtNear(const std::vector<std::string>& argv) const;
  std::vector<std::string> AtFar(const std::vector<std::string>& argv) const;
  absl::StatusOr<Process> StartFar(const std::vector<std::string>& argv) const;
  // Until a server at the far end listens.
  absl::Status AwaitListener(int tcp_port) const;

  bool has_carriers() const { return !carriers_.empty(); }
  std::vector<pid_t> CarrierPids() const;
  // Processor time of all programs that carry, so far.
  double CpuSeconds() const;
  // The largest one's resident memory.
  double ResidentMegabytes() const;

 protected:
  NamespacePair() = default;
  // `peer`: im-peer, which holds the namespaces.
  absl::Status MakeNamespaces(const std::string& peer);
  pid_t near_pid() const { return ends_[0].pid(); }
  pid_t far_pid() const { return ends_[1].pid(); }

  std::string server_;
  std::vector<Process> ends_;  // hold the namespaces: near, far
  std::vector<Process> carriers_;
};

// One after the other, until one fails.
absl::Status RunAll(const std::vector<std::vector<std::string>>& commands);

}  // namespace im::bench

#endif  // IM_BENCH_NAMESPACE_PAIR_H_
