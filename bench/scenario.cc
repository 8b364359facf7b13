#include "bench/scenario.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace im::bench {

const std::vector<Scenario>& AllScenarios() {
  static const auto* const scenarios =
      new std::vector<Scenario>{TcpStream(), ColdStart(), Thaw(), Tunnel()};
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
  constexpr int kAttemptsMax = 20'000;
  absl::Status last;
  for (int i = 0; i < kAttemptsMax; ++i) {
    last = AskNumber(driver, command, "us").status();
    if (last.ok() || !absl::IsInternal(last)) return last;
  }
  return last;
}

}  // namespace im::bench
