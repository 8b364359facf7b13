// Log lines of the programs: "12:03:04.512 imd: W gateway.cc:41 text".
//
// Small on purpose: im-agent must stay small and start in a millisecond, so
// no logging library is linked into it.

#ifndef IM_BASE_LOG_H_
#define IM_BASE_LOG_H_

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace im {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kSilent };

// The least severe level that is written; kInfo at the start. `program` stands
// in every line. Writes go to stderr as one write(2) each. Thread-safe.
void InitLog(absl::string_view program, LogLevel least);
bool LogEnabled(LogLevel level);
void LogLine(LogLevel level, const char* file, int line, absl::string_view text);

}  // namespace im

// IM_LOG(kWarning, "socket buffer clamped to ", bytes, " bytes");
#define IM_LOG(level, ...)                                                             \
  do {                                                                                 \
    if (::im::LogEnabled(::im::LogLevel::level))                                       \
      ::im::LogLine(::im::LogLevel::level, __FILE__, __LINE__, absl::StrCat(__VA_ARGS__)); \
  } while (false)

#endif  // IM_BASE_LOG_H_
