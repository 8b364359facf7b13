// A scenario measures one thing over several ways, interleaved (A B A B …), so
// that what the machine does meanwhile hits all ways alike.

#ifndef IM_BENCH_SCENARIO_H_
#define IM_BENCH_SCENARIO_H_

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/process.h"
#include "bench/samples.h"

namespace im::bench {

struct RunOptions {
  std::string bin;         // folder of the programs
  int repeat = 5;          // of every way
  double duration_s = 3;   // of one throughput measurement
  bool quick = false;      // only to see that everything works
  std::vector<std::string> peers;  // of others, that are wanted; empty: all
  // How far the scenario is (0 to 1), and what it does now.
  std::function<void(double share, const std::string& doing)> progress;
  // A way, or a part, that gives no figures: it cannot be had here, or `failed`.
  std::function<void(const std::string& what, const std::string& why, bool failed)> skip;

  bool WantsPeer(const std::string& name) const {
    return peers.empty() || std::find(peers.begin(), peers.end(), name) != peers.end();
  }
  void Progress(int done, const std::string& doing) const {
    progress(static_cast<double>(done) / repeat, doing);
  }
};

struct Scenario {
  std::string name;
  std::string description;
  int default_repeat;
  using Body = std::function<absl::StatusOr<std::vector<Row>>(const RunOptions&)>;
  Body run;
  // What it takes here, roughly: for the time that is left.
  double start_s = 2;
  double repeat_s = 0.1;        // for each repetition …
  double repeat_durations = 0;  // … and so many throughput measurements
};

const std::vector<Scenario>& AllScenarios();

Scenario TcpStream();
Scenario UdpStream();
Scenario TcpRr();
Scenario TcpRrUnderLoad();
Scenario TcpCrr();
Scenario UdpRr();
Scenario Mtu();
Scenario LossRtt();
Scenario Crypto();
Scenario AppRedis();
Scenario AppHttp();
Scenario ColdStart();
Scenario Thaw();
Scenario Restore();
Scenario Timers();
Scenario Storm();
Scenario IdleCost();
Scenario Hosts();
Scenario Tunnel();
Scenario Peers();
Scenario Handshakes();
Scenario Starts();
Scenario Netstack();

// The number `key` of an answer of im-peer; an error if the answer is one.
absl::StatusOr<double> AskNumber(Process& driver, const std::string& command,
                                 const std::string& key);

// Asks again until the answer is ok: for a server that is only just starting.
absl::Status AskUntilOk(Process& driver, const std::string& command);

}  // namespace im::bench

#endif  // IM_BENCH_SCENARIO_H_
