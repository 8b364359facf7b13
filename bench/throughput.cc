#include "bench/throughput.h"

#include "base/check.h"

namespace im::bench {

void Throughput::AddTo(Table& table, const std::string& what, const std::string& way,
                       const std::string& unit) const {
  IM_CHECK(gigabytes > 0);
  table.Add(what, way, unit, unit == "Mb/s" ? gigabits_per_s * 1e3 : gigabits_per_s);
  table.Add(what + ", processor time", way, "s/GB", machine_s / gigabytes);
  if (resident_megabytes > 0) table.Add(what + ", memory", way, "MB", resident_megabytes);
}

}  // namespace im::bench
