// im doctor: what this machine permits, what its lacks cost, how to get them.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "orchestrator/cli/context.h"
#include "orchestrator/cli/doctor_report.h"
#include "orchestrator/cli/exit_code.h"

namespace im::orchestrator::cli {
namespace {

int Examine(const Context& context, bool json) {
  const DoctorReport report = Diagnose(ExamineMachine());
  if (json) {
    std::puts(DoctorJson(report).c_str());
  } else {
    std::fputs(DoctorText(report, context.terminal).c_str(), stdout);
  }
  if (report.tun) return kExitOk;
  return report.netstack ? kExitNetstackOnly : kExitNotPermitted;
}

}  // namespace

void AddDoctor(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "doctor", "Say what this machine permits, what its lacks cost, and how to get them");
  auto json = std::make_shared<bool>(false);
  verb->add_flag("--json", *json, "As JSON: {tun, netstack, verdict, findings}");
  verb->footer(
      "Everything is tried out, and nothing is left of it. What root may do can only be found\n"
      "out by root: with sudo it tells of clusters that are brought up with sudo.\n"
      "Exit codes: 0 clusters run with networks of the kernel's (attach: tun); 5 without\n"
      "privileges alone (attach: netstack); 4 not at all.");
  verb->callback([&context, json] { context.run = [&context, json] { return Examine(context, *json); }; });
}

}  // namespace im::orchestrator::cli
