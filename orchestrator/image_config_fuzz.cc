// Any bytes as an image's configuration, and as its name: no crash, and what is read is read
// again out of what is kept of it.

#include <cstdlib>
#include <string>

#include "orchestrator/image/image_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = im::orchestrator::ParseImageConfig(text);
  if (config.ok() && !im::orchestrator::ParseImageConfig(config->ToJson()).ok()) std::abort();
  const auto name = im::orchestrator::CanonicalImageName(text);
  if (!name.ok()) return 0;
  const auto again = im::orchestrator::CanonicalImageName(*name);
  if (!again.ok() || *again != *name) std::abort();
  return 0;
}
