#include "bench/ways.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/iperf3.h"
#include "bench/process_figures.h"
#include "bench/tunnel_pair.h"
#include "bench/user_network.h"

namespace im::bench {
namespace {

std::vector<std::string> EchoServer(const std::string& peer) {
  return {peer,    "serve",
          "--echo", absl::StrCat(kEchoPort),
          "--sink", absl::StrCat(kSinkPort),
          "--udp",  absl::StrCat(kUdpPort)};
}

}  // namespace

absl::StatusOr<std::string> Way::Run(const std::vector<std::string>& argv,
                                     Duration timeout) const {
  std::vector<std::string> all = place_;
  all.insert(all.end(), argv.begin(), argv.end());
  return RunCommand(all, environment_, timeout);
}

absl::StatusOr<Process> Way::Drive() const {
  std::vector<std::string> all = place_;
  all.insert(all.end(), {peer_, "drive"});
  return Process::Start({.argv = all, .environment = environment_});
}

double Way::ResidentMegabytes() const {
  double most = 0;
  for (const pid_t pid : network_()) most = std::max(most, ResidentMegabytesOf(pid));
  return most;
}

absl::StatusOr<std::unique_ptr<Ways>> Ways::Up(const RunOptions& options,
                                               const std::vector<Server>& servers) {
  std::unique_ptr<Ways> ways(new Ways(servers));
  const auto attempt = [&](const std::string& what, absl::Status status) {
    if (!status.ok()) options.skip(what, std::string(status.message()), /*failed=*/true);
  };
  attempt("im", ways->AddCluster(options, "", "", /*all=*/true));
  attempt("im, MTU 1420", ways->AddCluster(options, ", mtu: 1420", ", MTU 1420", /*all=*/false));
  ways->AddTunnels(options);
  ways->AddUserNetworks(options);
  if (servers.empty()) ways->AddEmbedded(options);
  ways->AddVeth(options);
  if (ways->ways_.empty()) return absl::UnavailableError("no way works");
  return ways;
}

std::string Ways::HostCommand(const std::string& peer) const {
  std::string commands = "iperf3 -s > /dev/null & ";
  for (const Server& server : extra_servers_) {
    absl::StrAppend(&commands, server.command, " > /dev/null 2>&1 & ");
  }
  return absl::StrCat("[sh, -c, \"", commands, "exec ", absl::StrJoin(EchoServer(peer), " "), "\"]");
}

void Ways::Add(const RunOptions& options, Way way) {
  way.peer_ = options.bin + "/im-peer";
  absl::Status status;
  if (auto driver = way.Drive(); !driver.ok()) {
    status = driver.status();
  } else {
    status = AskUntilOk(*driver, absl::StrCat("connect 1 ", way.server_, " ", kEchoPort));
    for (const Server& server : extra_servers_) {
      if (!status.ok()) break;
      status = AskUntilOk(*driver, absl::StrCat("connect 2 ", way.server_, " ", server.port));
    }
  }
  if (status.ok()) {
    ways_.push_back(std::move(way));
  } else {
    options.skip(way.name_, std::string(status.message()), /*failed=*/true);
  }
}

absl::Status Ways::AddCluster(const RunOptions& options, const std::string& network,
                              const std::string& suffix, bool all) {
  const std::string command = HostCommand(options.bin + "/im-peer");
  std::string hosts = absl::StrCat("  tun: {command: ", command, ", attach: tun");
  if (all) {
    std::vector<int> ports = {kEchoPort, kSinkPort, kIperf3Port};
    for (const Server& server : extra_servers_) ports.push_back(server.port);
    absl::StrAppend(&hosts, ", ports: [",
                    absl::StrJoin(ports, ", ",
                                  [](std::string* out, int port) {
                                    absl::StrAppend(out, "\"127.0.0.1:", port, ":", port, "\"");
                                  }),
                    "]");
  }
  absl::StrAppend(&hosts, "}\n");
  if (all) absl::StrAppend(&hosts, "  net: {command: ", command, ", attach: netstack}\n");
  IM_ASSIGN_OR_RETURN(auto made, TestCluster::Up(options.bin, hosts, network));
  TestCluster* const cluster = made.get();
  clusters_.push_back(std::move(made));
  const auto agents_of = [cluster](const std::string& host) {
    return [cluster, host] {
      std::vector<pid_t> pids;
      const auto all_hosts = cluster->Hosts();
      if (!all_hosts.ok()) return pids;
      for (const auto& found : *all_hosts) {
        if (found.name == host && found.agent_pid > 0) pids.push_back(found.agent_pid);
      }
      return pids;
    };
  };
  const auto guest = [&](const std::string& name, const std::string& attach,
                         const std::string& host) {
    Way way;
    way.name_ = name;
    way.server_ = host;
    way.place_ = cluster->AsGuest({}, attach);
    way.environment_ = cluster->environment();
    way.network_ = agents_of(host);
    return way;
  };
  Add(options, guest("im tun-tun" + suffix, "tun", "tun"));
  if (!all) return absl::OkStatus();
  Add(options, guest("im tun-netstack", "tun", "net"));
  Add(options, guest("im netstack-netstack", "netstack", "net"));
  Way published;
  published.name_ = "im published port";
  published.server_ = "127.0.0.1";
  published.has_udp_ = false;
  published.network_ = agents_of("tun");
  Add(options, std::move(published));
  return absl::OkStatus();
}

void Ways::AddTunnels(const RunOptions& options) {
  for (const auto& [name, program] : TunnelPrograms(options)) {
    if (name == "im-tunnel") continue;
    AddPair(options, name + ", MTU 1420",
            TunnelPair::Up(program, static_cast<int>(pairs_.size()), options.bin + "/im-peer"));
  }
}

void Ways::AddUserNetworks(const RunOptions& options) {
  for (const std::string& program : UserNetwork::Programs()) {
    if (!options.WantsPeer(program)) continue;
    if (!IsInstalled(program)) {
      options.skip(program, "it is not installed (bench/peers/README.md)", /*failed=*/false);
      continue;
    }
    AddPair(options, program + ", not encrypted",
            UserNetwork::Up(program, options.bin + "/im-peer"));
  }
}

void Ways::AddVeth(const RunOptions& options) {
  AddPair(options, "veth, not encrypted",
          TunnelPair::Up("", static_cast<int>(pairs_.size() + embedded_.size()),
                         options.bin + "/im-peer"));
}

void Ways::AddEmbedded(const RunOptions& options) {
  const auto start = [&](const std::string& name,
                         const std::string& program) -> absl::StatusOr<Embedded> {
    IM_ASSIGN_OR_RETURN(auto pair,
                        TunnelPair::Up("", static_cast<int>(pairs_.size() + embedded_.size()),
                                       options.bin + "/im-peer"));
    IM_ASSIGN_OR_RETURN(Embedded embedded, StartEmbedded(name, program, std::move(pair)));
    IM_RETURN_IF_ERROR(Ask(embedded.peers[0], "ping 1").status());
    return embedded;
  };
  for (const auto& [name, program] : EmbeddedPrograms(options)) {
    auto started = start(name + ", MTU 1420", program);
    if (!started.ok()) {
      options.skip(name, std::string(started.status().message()), /*failed=*/true);
      continue;
    }
    embedded_.push_back(std::make_unique<Embedded>(*std::move(started)));
    Embedded* const embedded = embedded_.back().get();
    Way way;
    way.name_ = embedded->name;
    way.embedded_ = embedded;
    way.network_ = [embedded] { return embedded->Pids(); };
    ways_.push_back(std::move(way));
  }
}

absl::Status Ways::StartServers(const NamespacePair& pair, const std::string& peer) {
  std::vector<std::vector<std::string>> programs = {{"iperf3", "-s"}, EchoServer(peer)};
  for (const Server& server : extra_servers_) {
    programs.push_back({"sh", "-c", "exec " + server.command});
  }
  for (const auto& argv : programs) {
    IM_ASSIGN_OR_RETURN(Process server, pair.StartFar(argv));
    servers_.push_back(std::move(server));
  }
  return pair.AwaitListener(kIperf3Port);
}

void Ways::AddPair(const RunOptions& options, const std::string& name,
                   absl::StatusOr<std::unique_ptr<NamespacePair>> made) {
  absl::Status status = made.status();
  if (status.ok()) status = StartServers(**made, options.bin + "/im-peer");
  if (!status.ok()) {
    options.skip(name, std::string(status.message()), /*failed=*/true);
    return;
  }
  NamespacePair* const pair = made->get();
  pairs_.push_back(*std::move(made));
  Way way;
  way.name_ = name;
  way.server_ = pair->server();
  way.place_ = pair->AtNear({});
  way.network_ = [pair] { return pair->CarrierPids(); };
  Add(options, std::move(way));
}

void Ways::Measure(const RunOptions& options, Table& table,
                   const std::function<absl::Status(const Way&, Table&)>& measure) {
  for (int i = 0; i < options.repeat; ++i) {
    for (size_t w = 0; w < ways_.size();) {
      options.progress((i + static_cast<double>(w) / static_cast<double>(ways_.size())) /
                           options.repeat,
                       ways_[w].name());
      const absl::Status status = measure(ways_[w], table);
      if (status.ok()) {
        ++w;
        continue;
      }
      options.skip(ways_[w].name(), std::string(status.message()), /*failed=*/true);
      ways_.erase(ways_.begin() + static_cast<ptrdiff_t>(w));
    }
  }
}

}  // namespace im::bench
