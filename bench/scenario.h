// A scenario measures one thing over several ways, interleaved (A B A B …), so
// that what the machine does meanwhile hits all ways alike.

#ifndef IM_BENCH_SCENARIO_H_
#define IM_BENCH_SCENARIO_H_

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
  std::function<void(const std::string&)> progress;
};

struct Scenario {
  std::string name;
  std::string description;
  int default_repeat;
  std::function<absl::StatusOr<std::vector<Row>>(const RunOptions&)> run;
};

const std::vector<Scenario>& AllScenarios();

Scenario TcpStream();
Scenario ColdStart();
Scenario Thaw();
Scenario Tunnel();
Scenario HubOfPeers();
Scenario Netstack();

// The number `key` of an answer of im-peer; an error if the answer is one.
absl::StatusOr<double> AskNumber(Process& driver, const std::string& command,
                                 const std::string& key);

// Asks again until the answer is ok: for a server that is only just starting.
absl::Status AskUntilOk(Process& driver, const std::string& command);

}  // namespace im::bench

#endif  // IM_BENCH_SCENARIO_H_
