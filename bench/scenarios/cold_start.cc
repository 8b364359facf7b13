// cold_start: SYN to SYN-ACK of a host that does not run, its program being a
// trivial C server; beside that program's own start without anything.

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

// Microseconds from spawning the bare server to a connection to it.
absl::StatusOr<double> BareStart(const std::string& peer, Process& driver) {
  const RealClock clock;
  const Instant start = clock.Now();
  IM_ASSIGN_OR_RETURN(Process server,
                      Process::Start({.argv = {peer, "serve", "--echo", "7000"}}));
  IM_RETURN_IF_ERROR(AskUntilOk(driver, "connect 1 127.0.0.1 7000"));
  return std::chrono::duration<double, std::micro>(clock.Now() - start).count();
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::string peer = options.bin + "/im-peer";
  IM_ASSIGN_OR_RETURN(auto cluster,
                      TestCluster::Up(options.bin, absl::StrCat("  server: {command: [", peer,
                                                                ", serve, --echo, \"7000\"]}\n")));
  IM_ASSIGN_OR_RETURN(Process through_im, cluster->Drive());
  IM_ASSIGN_OR_RETURN(Process native, Process::Start({.argv = {peer, "drive"}}));

  Row cold{"cold_start", "SYN to SYN-ACK", "im", "us", {}};
  Row answer{"cold_start", "SYN to first answered byte", "im", "us", {}};
  Row bare{"cold_start", "start to connected", "bare program", "us", {}};
  for (int i = 0; i < options.repeat; ++i) {
    options.Progress(i, "");
    IM_ASSIGN_OR_RETURN(const double syn_us, AskNumber(through_im, "connect 1 server 7000", "us"));
    IM_ASSIGN_OR_RETURN(const double ping_us, AskNumber(through_im, "ping 1 1", "us"));
    cold.samples.Add(syn_us);
    answer.samples.Add(syn_us + ping_us);
    IM_RETURN_IF_ERROR(cluster->Im({"release", "server"}).status());
    IM_ASSIGN_OR_RETURN(const double bare_us, BareStart(peer, native));
    bare.samples.Add(bare_us);
  }
  return std::vector<Row>{cold, answer, bare};
}

}  // namespace

Scenario ColdStart() {
  return {"cold_start", "first connection to a host that does not run", 20, Run};
}

}  // namespace im::bench
