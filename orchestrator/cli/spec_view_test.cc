#include "orchestrator/cli/spec_view.h"

#include <gtest/gtest.h>

#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator::cli {
namespace {

TEST(SpecSummary, ShowsAddressesAndPublishedPorts) {
  const auto parsed = ParseClusterSpec(
      "name: shop\nhosts:\n  web: {command: a, ports: ['8080:80']}\n  database: {command: a}\n"
      "  cache: {command: a, attach: netstack, ports: ['8081:80']}\n",
      "c", "/base", FakeSources());
  EXPECT_EQ(SpecSummary(*parsed.spec, Terminal()),
            "shop: 3 hosts in 10.77.0.0/16\n"
            "  web       10.77.0.2  127.0.0.1:8080 -> :80\n"
            "  database  10.77.0.3\n"
            "  cache     10.77.0.4  netstack  127.0.0.1:8081 -> :80\n");
}

TEST(SpecSummary, IsShortForManyHosts) {
  const auto parsed = ParseClusterSpec("name: big\nhosts: {a: {command: a, replicas: 100}}\n", "c",
                                       "/base", FakeSources());
  const std::string summary = SpecSummary(*parsed.spec, Terminal());
  EXPECT_NE(summary.find("  ... and 80 more\n"), std::string::npos);
}

}  // namespace
}  // namespace im::orchestrator::cli
