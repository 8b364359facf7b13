// healthcheck, and what depends_on waits for.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ParsedClusterSpec ParseReadiness(const std::string& text) {
  return ParseClusterSpec(text, "c.yaml", "/base/shop", FakeSources());
}
HostSpec ParseHost(const std::string& fields) {
  const ParsedClusterSpec parsed = ParseReadiness("hosts: {a: {command: a, " + fields + "}}");
  EXPECT_THAT(parsed.errors, IsEmpty()) << fields;
  EXPECT_THAT(parsed.warnings, IsEmpty()) << fields;
  return parsed.spec ? HostSpec(parsed.spec->hosts[0]) : HostSpec();
}

TEST(Healthcheck, AllOfIt) {
  const HostSpec host = ParseHost(
      "healthcheck: {test: [CMD, a, b c], interval: 1m30s, timeout: 500ms, retries: 7, "
      "start_period: 40s, start_interval: 2s}");
  ASSERT_TRUE(host.healthcheck);
  EXPECT_THAT(host.healthcheck->argv, ElementsAre("a", "b c"));
  EXPECT_EQ(host.healthcheck->interval, seconds(90));
  EXPECT_EQ(host.healthcheck->timeout, milliseconds(500));
  EXPECT_EQ(host.healthcheck->retries, 7u);
  EXPECT_EQ(host.healthcheck->start_period, seconds(40));
  EXPECT_EQ(host.healthcheck->start_interval, seconds(2));
}

TEST(Healthcheck, ATestIsACommandOrALineForTheShell) {
  const auto argv = [](const std::string& test) {
    return ParseHost("healthcheck: {test: " + test + "}").healthcheck->argv;
  };
  EXPECT_THAT(argv("[CMD, x]"), ElementsAre("x"));
  EXPECT_THAT(argv("[CMD-SHELL, x || exit 1]"), ElementsAre("/bin/sh", "-c", "x || exit 1"));
  EXPECT_THAT(argv("x || exit 1"), ElementsAre("/bin/sh", "-c", "x || exit 1"));
  EXPECT_THAT(argv("'test \"$$A\" = 1'"), ElementsAre("/bin/sh", "-c", "test \"$A\" = 1"));
}

TEST(Healthcheck, OneOfTheDefaultsCanBeTakenBack) {
  const ParsedClusterSpec parsed = ParseReadiness(
      "defaults: {healthcheck: {test: [CMD, x], retries: 9}}\n"
      "hosts:\n  a: {command: a}\n  b: {command: b, healthcheck: {disable: true}}\n"
      "  c: {command: c, healthcheck: {test: [NONE]}}\n"
      "  d: {command: d, healthcheck: {test: y}}\n");
  ASSERT_TRUE(parsed.spec);
  EXPECT_EQ(parsed.spec->hosts[0].healthcheck->retries, 9u);
  EXPECT_FALSE(parsed.spec->hosts[1].healthcheck);
  EXPECT_FALSE(parsed.spec->hosts[2].healthcheck);
  EXPECT_EQ(parsed.spec->hosts[3].healthcheck->retries, 3u);
}

TEST(Healthcheck, ItsPatienceIsTheStartTimeoutThatNobodyGave) {
  EXPECT_EQ(ParseHost("healthcheck: {test: x}").start_timeout, minutes(2));
  EXPECT_EQ(ParseHost("healthcheck: {test: x, interval: 2s, timeout: 1s}").start_timeout,
            seconds(30));
  EXPECT_EQ(ParseHost("healthcheck: {test: x}, start_timeout: 5s").start_timeout, seconds(5));
}

TEST(Healthcheck, WhatIsWrongIsSaid) {
  const auto errors = [](const std::string& fields) {
    std::vector<std::string> lines;
    for (const Diagnostic& error :
         ParseReadiness("hosts: {a: {command: a, healthcheck: {" + fields + "}}}").errors)
      lines.push_back(error.message);
    return lines;
  };
  EXPECT_THAT(errors("test: [curl, x]"), ElementsAre("healthcheck: test is none that is known"));
  EXPECT_THAT(errors("test: [CMD]"), SizeIs(1));
  EXPECT_THAT(errors("test: [CMD-SHELL, a, b]"), SizeIs(1));
  EXPECT_THAT(errors("test: x, interval: 0"),
              ElementsAre("healthcheck: interval must be at least 1ms"));
  EXPECT_THAT(errors("test: x, retries: 0"), SizeIs(1));
  EXPECT_THAT(errors("test: x, tries: 1"), ElementsAre(HasSubstr("unknown field \"tries\"")));
}

TEST(Healthcheck, WithoutATestThereIsAWarning) {
  const ParsedClusterSpec parsed = ParseReadiness("hosts: {a: {command: a, healthcheck: {interval: 5s}}}");
  ASSERT_TRUE(parsed.spec);
  EXPECT_FALSE(parsed.spec->hosts[0].healthcheck);
  ASSERT_THAT(parsed.warnings, SizeIs(1));
  EXPECT_EQ(parsed.warnings[0].message, "a healthcheck without a test is not honoured");
}

TEST(DependsOn, ConditionsAreRead) {
  const ParsedClusterSpec parsed = ParseReadiness(
      "hosts:\n  db: {command: a, replicas: 2}\n  job: {command: b}\n  other: {command: c}\n"
      "  web:\n    command: d\n    depends_on:\n      db: {condition: service_healthy}\n"
      "      job: {condition: service_completed_successfully, required: true}\n      other:\n");
  ASSERT_TRUE(parsed.spec);
  EXPECT_THAT(parsed.warnings, IsEmpty());
  using Condition = DependencySpec::Condition;
  EXPECT_THAT(parsed.spec->FindHost("web")->depends_on,
              ElementsAre(DependencySpec{"db-1", Condition::kHealthy},
                          DependencySpec{"db-2", Condition::kHealthy},
                          DependencySpec{"job", Condition::kCompleted},
                          DependencySpec{"other", Condition::kStarted}));
}

TEST(DependsOn, NobodyWaitsForThemselves) {
  const ParsedClusterSpec parsed = ParseReadiness(
      "hosts:\n  a: {command: a, depends_on: {b: {condition: service_healthy}}}\n"
      "  b: {command: b, depends_on: {c: {condition: service_completed_successfully}}}\n"
      "  c: {command: c, depends_on: [a]}\n");
  ASSERT_THAT(parsed.errors, SizeIs(1));
  EXPECT_EQ(parsed.errors[0].message, "depends_on goes round in a circle: a -> b -> c -> a");
}

}  // namespace
}  // namespace im::orchestrator
