#include "orchestrator/own_process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

namespace im::orchestrator {

OwnProcess OwnProcess::Measure() {
  OwnProcess process;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    unsigned long long all = 0;
    unsigned long long resident = 0;
    if (std::fscanf(file, "%llu %llu", &all, &resident) == 2) {
      process.virtual_bytes = all * page;
      process.resident_bytes = resident * page;
    }
    std::fclose(file);
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    process.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) process.descriptors_max = limit.rlim_cur;
  return process;
}

}  // namespace im::orchestrator
