// What a machine's lacks mean: for each thing that clusters use, whether it is
// here, what its lack costs, and how to get it; and whether clusters run here
// at all.

#ifndef IM_ORCHESTRATOR_CLI_DOCTOR_REPORT_H_
#define IM_ORCHESTRATOR_CLI_DOCTOR_REPORT_H_

#include <string>
#include <vector>

#include "orchestrator/cli/machine.h"
#include "orchestrator/cli/terminal.h"

namespace im::orchestrator::cli {

struct Finding {
  enum class State {
    kFine,
    kLacking,   // clusters run, but worse
    kMissing,   // a way to run them is closed
    kUnknown,   // only root can tell
    kNeutral,   // says how it is; neither is better
  };
  std::string name;
  State state = State::kFine;
  std::string found;   // how it is
  std::string costs;   // what that costs; empty: nothing
  std::string remedy;  // how to get it; empty: nothing to be done
};

struct DoctorReport {
  std::vector<Finding> findings;
  // Hosts with networks, files and processes of their own (attach: tun), and
  // with a network alone (attach: netstack).
  bool tun = false;
  bool netstack = false;
};

DoctorReport Diagnose(const Machine& machine);

// "Clusters run here with …", and what to do if they do not.
std::string VerdictText(const DoctorReport& report);
std::string DoctorText(const DoctorReport& report, const Terminal& terminal);
// {"tun":…,"netstack":…,"verdict":…,"findings":[{"name":…,"state":…,"found":…,"costs":…,"remedy":…},…]}
std::string DoctorJson(const DoctorReport& report);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_DOCTOR_REPORT_H_
