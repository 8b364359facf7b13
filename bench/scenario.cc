#include "bench/scenario.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace im::bench {

const std::vector<Scenario>& AllScenarios() {
  static const auto* const scenarios =
      new std::vector<Scenario>{TcpStream(), UdpStream(), TcpRr(),    TcpRrUnderLoad(), TcpCrr(),
                                UdpRr(),     Mtu(),       LossRtt(),  AppRedis(),       AppHttp(),
                                ColdStart(), Starts(),    Thaw(),     Restore(),        Timers(),
                                Storm(),     IdleCost(),  Hosts(),    Tunnel(),         Peers(),
                                Handshakes(), Netstack(), Crypto()};
  return *scenarios;
}

absl::StatusOr<double> AskNumber(Process& driver, const std::string& command,
                                 const std::string& key) {
  IM_ASSIGN_OR_RETURN(const std::string line, driver.Ask(command));
  const auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object() || !answer.value("ok", false) || !answer.contains(key)) {
    return absl::InternalError(absl::StrCat(command, ": ", line));
  }
  return answer[key].get<double>();
}

absl::Status AskUntilOk(Process& driver, const std::string& command) {
  const RealClock clock;
  const Instant deadline = clock.Now() + kAnswerTimeout;
  absl::Status last;
  do {
    last = AskNumber(driver, command, "us").status();
  } while (absl::IsInternal(last) && clock.Now() < deadline);
  return last;
}

}  // namespace im::bench
