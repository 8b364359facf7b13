#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>

#include "base/clock.h"

namespace im {
namespace {

std::atomic<LogLevel> least_level = LogLevel::kInfo;
// Written by InitLog before there are threads; then only read.
char program_name[32] = "im";

char Letter(LogLevel level) { return "DIWE?"[static_cast<int>(level)]; }

}  // namespace

void InitLog(absl::string_view program, LogLevel least) {
  const size_t size = std::min(program.size(), sizeof(program_name) - 1);
  std::memcpy(program_name, program.data(), size);
  program_name[size] = '\0';
  least_level.store(least, std::memory_order_relaxed);
}

bool LogEnabled(LogLevel level) { return level >= least_level.load(std::memory_order_relaxed); }

void LogLine(LogLevel level, const char* file, int line, absl::string_view text) {
  const char* slash = std::strrchr(file, '/');
  const char* base = slash != nullptr ? slash + 1 : file;
  const int64_t now = RealClock().UnixNanos();
  const time_t seconds = now / 1'000'000'000;
  tm local;
  localtime_r(&seconds, &local);

  char head[160];
  std::snprintf(head, sizeof(head), "%02d:%02d:%02d.%03d %s: %c %s:%d ", local.tm_hour,
                local.tm_min, local.tm_sec, static_cast<int>(now / 1'000'000 % 1000), program_name,
                Letter(level), base, line);
  std::string whole = absl::StrCat(head, text);
  // One record is one line, whatever a remote name or a program's output holds.
  for (char& c : whole)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  whole += '\n';
  // Nothing sensible can be done when stderr is gone.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, whole.data(), whole.size());
}

}  // namespace im
