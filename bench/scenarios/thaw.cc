// thaw: one byte to a paused host and back, over a connection that is open;
// beside the same to the running host, and to a bare server over veth.
//
// A round trip after a quiet spell finds everybody asleep, whether or not one of
// them is frozen. So what a thaw adds is the difference to a host that runs, and
// was left alone as long; the byte right after it shows what being awake is worth.

#include "absl/strings/str_cat.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"
#include "bench/veth_pair.h"

namespace im::bench {
namespace {

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::string peer = options.bin + "/im-peer";
  IM_ASSIGN_OR_RETURN(auto cluster,
                      TestCluster::Up(options.bin, absl::StrCat("  server: {command: [", peer,
                                                                ", serve, --echo, \"7000\"]}\n")));
  IM_ASSIGN_OR_RETURN(Process through_im, cluster->Drive());
  IM_RETURN_IF_ERROR(AskUntilOk(through_im, "connect 1 server 7000"));
  IM_ASSIGN_OR_RETURN(Process veth_server, StartBehindVeth({peer, "serve", "--echo", "7000"}));
  IM_ASSIGN_OR_RETURN(Process native, Process::Start({.argv = {peer, "drive"}}));
  IM_RETURN_IF_ERROR(AskUntilOk(native, absl::StrCat("connect 1 ", kVethServer, " 7000")));

  Row paused{"thaw", "round trip", "im: paused host", "us", {}};
  Row quiet{"thaw", "round trip", "im: running host, quiet as long", "us", {}};
  Row running{"thaw", "round trip", "im: running host, in use", "us", {}};
  Row veth{"thaw", "round trip", "native veth, quiet as long", "us", {}};
  for (int i = 0; i < options.repeat; ++i) {
    options.Progress(i, "");
    IM_RETURN_IF_ERROR(cluster->Im({"suspend", "server"}).status());
    IM_ASSIGN_OR_RETURN(const double paused_us, AskNumber(through_im, "ping 1 1", "us"));
    paused.samples.Add(paused_us);
    // Asks the host's agent something, too.
    IM_RETURN_IF_ERROR(cluster->Im({"wake", "server"}).status());
    IM_ASSIGN_OR_RETURN(const double quiet_us, AskNumber(through_im, "ping 1 1", "us"));
    quiet.samples.Add(quiet_us);
    IM_ASSIGN_OR_RETURN(const double running_us, AskNumber(through_im, "ping 1 1", "us"));
    running.samples.Add(running_us);
    IM_ASSIGN_OR_RETURN(const double native_us, AskNumber(native, "ping 1 1", "us"));
    veth.samples.Add(native_us);
  }
  through_im.Finish();
  return std::vector<Row>{paused, quiet, running, veth};
}

}  // namespace

Scenario Thaw() { return {"thaw", "round trip of one byte to a paused host", 100, Run}; }

}  // namespace im::bench
