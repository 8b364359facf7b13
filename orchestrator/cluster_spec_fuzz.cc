// Whatever the bytes are: a spec or errors, never both, never neither.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/test_sources.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace im::orchestrator;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // The same bytes also stand in for the files that it may name.
  SpecSources sources = FakeSources({}, {{"A", "1"}, {"EMPTY", ""}});
  sources.read_file = [&](const std::string&) -> absl::StatusOr<std::string> { return text; };
  const ParsedClusterSpec parsed = ParseClusterSpec(text, "c.yaml", "/base", sources);
  IM_CHECK(parsed.spec.has_value() == parsed.errors.empty());
  for (const auto& list : {parsed.errors, parsed.warnings}) {
    for (const Diagnostic& d : list) IM_CHECK(!d.ToString().empty());
  }
  if (!parsed.spec) return 0;
  IM_CHECK(!parsed.spec->hosts.empty());
  for (const HostSpec& host : parsed.spec->hosts) {
    IM_CHECK(!host.argv.empty() && !host.argv[0].empty());
    IM_CHECK(parsed.spec->network.Contains(host.address));
    IM_CHECK(host.address != parsed.spec->gateway);
  }
  return 0;
}
