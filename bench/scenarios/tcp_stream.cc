// tcp_stream: one TCP flow, as fast as it goes.

#include "absl/strings/str_cat.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"
#include "bench/veth_pair.h"

namespace im::bench {
namespace {

// Gb/s of one stream over connection `id`.
absl::StatusOr<double> Stream(Process& driver, int id, double duration_s) {
  const std::chrono::milliseconds duration(static_cast<int>(duration_s * 1000));
  IM_RETURN_IF_ERROR(driver.WriteLine(absl::StrCat("stream ", id, " ", duration.count())));
  IM_ASSIGN_OR_RETURN(const std::string line, driver.ReadLine(duration + kAnswerTimeout));
  double us = 0, bytes = 0;
  if (std::sscanf(line.c_str(), "{\"ok\": true, \"us\": %lf, \"bytes\": %lf", &us, &bytes) != 2) {
    return absl::InternalError(absl::StrCat("stream: ", line));
  }
  return bytes * 8 / us / 1000;
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::string peer = options.bin + "/im-peer";
  const std::string hosts =
      absl::StrCat("  server: {command: [", peer, ", serve, --sink, \"7001\"]}\n");
  IM_ASSIGN_OR_RETURN(auto cluster, TestCluster::Up(options.bin, hosts));
  IM_ASSIGN_OR_RETURN(Process through_im, cluster->Drive());
  IM_RETURN_IF_ERROR(AskUntilOk(through_im, "connect 1 server 7001"));
  IM_ASSIGN_OR_RETURN(auto narrow, TestCluster::Up(options.bin, hosts, ", mtu: 1420"));
  IM_ASSIGN_OR_RETURN(Process through_narrow, narrow->Drive());
  IM_RETURN_IF_ERROR(AskUntilOk(through_narrow, "connect 1 server 7001"));

  IM_ASSIGN_OR_RETURN(Process veth_server, StartBehindVeth({peer, "serve", "--sink", "7001"}));
  IM_ASSIGN_OR_RETURN(Process native, Process::Start({.argv = {peer, "drive"}}));
  IM_RETURN_IF_ERROR(AskUntilOk(native, absl::StrCat("connect 1 ", kVethServer, " 7001")));

  Row im{"tcp_stream", "im tun-tun", "Gb/s", {}};
  Row small{"tcp_stream", "im tun-tun, MTU 1420", "Gb/s", {}};
  Row veth{"tcp_stream", "native veth (not encrypted)", "Gb/s", {}};
  for (int i = 0; i < options.repeat; ++i) {
    options.progress(absl::StrCat("tcp_stream ", i + 1, "/", options.repeat));
    IM_ASSIGN_OR_RETURN(const double a, Stream(through_im, 1, options.duration_s));
    im.samples.Add(a);
    IM_ASSIGN_OR_RETURN(const double c, Stream(through_narrow, 1, options.duration_s));
    small.samples.Add(c);
    IM_ASSIGN_OR_RETURN(const double b, Stream(native, 1, options.duration_s));
    veth.samples.Add(b);
  }
  return std::vector<Row>{im, small, veth};
}

}  // namespace

Scenario TcpStream() {
  return {"tcp_stream", "throughput of one TCP flow between two hosts", 5, Run};
}

}  // namespace im::bench
