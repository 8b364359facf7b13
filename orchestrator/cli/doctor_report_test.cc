#include "orchestrator/cli/doctor_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <functional>

#include "orchestrator/cli/bounded_command.h"

namespace im::orchestrator::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using State = Finding::State;

// A machine that lacks nothing.
Machine Good() {
  Machine machine;
  machine.kernel = "6.18.2-amd64";
  machine.preflight.root = true;
  machine.tun_uso = true;
  machine.cgroups = Machine::Cgroups::kV2;
  machine.freezer = Machine::Freezer::kV2;
  machine.memory_limits = true;
  machine.cgroup_reclaim = true;
  machine.process_madvise = true;
  machine.swap_bytes = uint64_t{1} << 30;
  machine.seccomp_wait_killable = true;
  machine.seccomp_sync_wake_up = true;
  machine.ipsec_mb = true;
  machine.criu_version = "4.2.1";
  machine.criu_check = true;
  machine.descriptors_max = 1 << 20;
  return machine;
}

Finding Named(const DoctorReport& report, const std::string& name) {
  for (const Finding& finding : report.findings) {
    if (finding.name == name) return finding;
  }
  ADD_FAILURE() << "nothing is said about " << name;
  return {};
}

TEST(DoctorReport, AMachineThatLacksNothing) {
  const DoctorReport report = Diagnose(Good());
  EXPECT_TRUE(report.tun);
  EXPECT_TRUE(report.netstack);
  for (const Finding& finding : report.findings) {
    EXPECT_TRUE(finding.state == State::kFine || finding.state == State::kNeutral)
        << finding.name;
    EXPECT_EQ(finding.costs + finding.remedy, "") << finding.name;
  }
}

TEST(DoctorReport, EveryLackSaysWhatItCostsAndWhatToDo) {
  const std::pair<const char*, std::function<void(Machine&)>> lacks[] = {
      {"namespaces", [](Machine& m) { m.preflight.namespaces_errno = EPERM; }},
      {"namespaces", [](Machine& m) { m.preflight.mounts_errno = EINVAL; }},
      {"TUN devices", [](Machine& m) { m.preflight.tun_errno = ENOENT; }},
      {"TUN devices", [](Machine& m) { m.tun_uso = false; }},
      {"interception", [](Machine& m) { m.seccomp_errno = EBUSY; }},
      {"interception", [](Machine& m) { m.seccomp_wait_killable = false; }},
      {"interception", [](Machine& m) { m.seccomp_sync_wake_up = false; }},
      {"descriptors of children", [](Machine& m) { m.pidfd_getfd_errno = EPERM; }},
      {"pausing", [](Machine& m) { m.freezer = Machine::Freezer::kSignals; }},
      {"memory limits", [](Machine& m) { m.memory_limits = false; }},
      {"memory of paused hosts", [](Machine& m) { m.swap_bytes = 0; }},
      {"checkpoints", [](Machine& m) { m.criu_version = ""; }},
      {"checkpoints", [](Machine& m) { m.criu_version = "4.1.1"; }},
      {"checkpoints", [](Machine& m) { m.criu_check = false; }},
      {"UDP offload", [](Machine& m) { m.udp_gso = false; }},
      {"cipher", [](Machine& m) { m.ipsec_mb = false; }},
      {"open files", [](Machine& m) { m.descriptors_max = 1024; }}};
  for (const auto& [name, lack] : lacks) {
    Machine machine = Good();
    lack(machine);
    const Finding finding = Named(Diagnose(machine), name);
    EXPECT_TRUE(finding.state == State::kLacking || finding.state == State::kMissing) << name;
    EXPECT_NE(finding.found, "") << name;
    EXPECT_NE(finding.costs, "") << name;
    EXPECT_NE(finding.remedy, "") << name;
  }
}

TEST(DoctorReport, SaysWhetherAndHowClustersRun) {
  Machine machine = Good();
  machine.preflight = {.root = false, .namespaces_errno = EPERM, .tun_errno = EACCES};
  DoctorReport report = Diagnose(machine);
  EXPECT_FALSE(report.tun);
  EXPECT_TRUE(report.netstack);
  EXPECT_THAT(VerdictText(report), HasSubstr("attach: netstack"));
  EXPECT_THAT(Named(report, "namespaces").remedy, HasSubstr("sudo"));
  machine.seccomp_errno = ENOSYS;
  report = Diagnose(machine);
  EXPECT_FALSE(report.netstack);
  EXPECT_THAT(VerdictText(report), HasSubstr("do not run here"));
}

TEST(DoctorReport, AnOldCriuIsGoodForAnOldKernel) {
  Machine machine = Good();
  machine.criu_version = "3.17.1";
  machine.kernel = "6.1.0-32-amd64";
  EXPECT_EQ(Named(Diagnose(machine), "checkpoints").state, State::kFine);
  machine.criu_check = std::nullopt;
  EXPECT_EQ(Named(Diagnose(machine), "checkpoints").state, State::kUnknown);
}

TEST(DoctorReport, TextAndJson) {
  Machine machine = Good();
  machine.swap_bytes = 0;
  const DoctorReport report = Diagnose(machine);
  const std::string text = DoctorText(report, Terminal());
  EXPECT_THAT(text, HasSubstr("no swap\n"));
  EXPECT_THAT(text, HasSubstr("costs: paused hosts keep their memory\n"));
  EXPECT_THAT(text, HasSubstr("to do: add swap"));
  const std::string json = DoctorJson(report);
  EXPECT_THAT(json, HasSubstr("{\"tun\":true,\"netstack\":true,\"verdict\":\"Clusters run here"));
  EXPECT_THAT(json, HasSubstr("{\"name\":\"memory of paused hosts\",\"state\":\"lacking\","));
}

TEST(Machine, VersionsCompareByNumbers) {
  EXPECT_LT(ParseVersion("6.9.1"), ParseVersion("6.18.2-amd64"));
  EXPECT_EQ(ParseVersion("4.2.1"), (Version{4, 2}));
  EXPECT_EQ(ParseVersion("none"), (Version{0, 0}));
}

TEST(Machine, IsExaminedWithoutALoss) {
  const Machine machine = ExamineMachine();
  EXPECT_GE(ParseVersion(machine.kernel), (Version{4, 0}));
  EXPECT_GT(machine.descriptors_max, 0u);
  // Nothing that was tried has an effect on us.
  EXPECT_EQ(ExamineMachine().preflight.namespaces_errno, machine.preflight.namespaces_errno);
}

TEST(BoundedCommand, TellsOutputAndExitCode) {
  const CommandResult result =
      RunBounded({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, std::chrono::seconds(60));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.output, HasSubstr("out\n"));
  EXPECT_THAT(result.output, HasSubstr("err\n"));
  EXPECT_EQ(RunBounded({"/no/such/program"}, std::chrono::seconds(60)).exit_code, 127);
}

TEST(BoundedCommand, WhatTakesTooLongIsKilledWithAllThatItStarted) {
  const CommandResult result = RunBounded({"/bin/sh", "-c", "echo begun; sleep 1000 & wait"},
                                          std::chrono::milliseconds(300));
  EXPECT_EQ(result.exit_code, -1);
}

TEST(BoundedCommand, EndlessOutputIsCut) {
  const CommandResult result =
      RunBounded({"/bin/sh", "-c", "head -c 1000000 /dev/zero"}, std::chrono::seconds(60));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output.size(), kCommandOutputBytesMax);
}

}  // namespace
}  // namespace im::orchestrator::cli
