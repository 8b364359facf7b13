// tcp_stream: one TCP flow, as fast as it goes: between two hosts of a cluster,
// with the path's own MTU and with that of a WireGuard interface, beside
// wireguard-go with the latter and a plain veth pair.

#include "absl/strings/str_cat.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"
#include "bench/tunnel_pair.h"
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

// Of a way: who drives, and what came of it.
struct Way {
  Process driver;
  Row row;
};

Way MakeWay(const std::string& name, Process driver) {
  return {std::move(driver), {"tcp_stream", name, "Gb/s", {}}};
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::string peer = options.bin + "/im-peer";
  const std::string hosts =
      absl::StrCat("  server: {command: [", peer, ", serve, --sink, \"7001\"]}\n");
  const std::vector<std::string> server = {peer, "serve", "--sink", "7001"};
  std::vector<Way> ways;
  std::vector<std::unique_ptr<TestCluster>> clusters;
  for (const auto& [name, network] :
       {std::pair("im tun-tun", ""), std::pair("im tun-tun, MTU 1420", ", mtu: 1420")}) {
    IM_ASSIGN_OR_RETURN(auto cluster, TestCluster::Up(options.bin, hosts, network));
    IM_ASSIGN_OR_RETURN(Process driver, cluster->Drive());
    IM_RETURN_IF_ERROR(AskUntilOk(driver, "connect 1 server 7001"));
    clusters.push_back(std::move(cluster));
    ways.push_back(MakeWay(name, std::move(driver)));
  }
  std::vector<std::unique_ptr<TunnelPair>> pairs;
  std::vector<Process> servers;
  std::vector<std::pair<std::string, std::string>> programs = TunnelPrograms(options.bin);
  programs.erase(programs.begin());  // im-tunnel
  for (const auto& [name, program] : programs) {
    IM_ASSIGN_OR_RETURN(auto pair, TunnelPair::Up(program, static_cast<int>(pairs.size()), peer));
    IM_ASSIGN_OR_RETURN(Process far, pair->StartFar(server));
    IM_ASSIGN_OR_RETURN(Process driver, Process::Start({.argv = pair->AtNear({peer, "drive"})}));
    IM_RETURN_IF_ERROR(AskUntilOk(driver, absl::StrCat("connect 1 ", pair->server(), " 7001")));
    pairs.push_back(std::move(pair));
    servers.push_back(std::move(far));
    ways.push_back(MakeWay(absl::StrCat(name, ", MTU 1420"), std::move(driver)));
  }
  IM_ASSIGN_OR_RETURN(Process veth_server, StartBehindVeth(server));
  IM_ASSIGN_OR_RETURN(Process native, Process::Start({.argv = {peer, "drive"}}));
  IM_RETURN_IF_ERROR(AskUntilOk(native, absl::StrCat("connect 1 ", kVethServer, " 7001")));
  ways.push_back(MakeWay("native veth (not encrypted)", std::move(native)));

  for (int i = 0; i < options.repeat; ++i) {
    options.progress(absl::StrCat("tcp_stream ", i + 1, "/", options.repeat));
    for (Way& way : ways) {
      IM_ASSIGN_OR_RETURN(const double gigabits, Stream(way.driver, 1, options.duration_s));
      way.row.samples.Add(gigabits);
    }
  }
  std::vector<Row> rows;
  for (Way& way : ways) rows.push_back(std::move(way.row));
  return rows;
}

}  // namespace

Scenario TcpStream() {
  return {"tcp_stream", "throughput of one TCP flow between two hosts", 5, Run};
}

}  // namespace im::bench
