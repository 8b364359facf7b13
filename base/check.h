// IM_CHECK: for what only a bug of ours can cause. Never for remote input.

#ifndef IM_BASE_CHECK_H_
#define IM_BASE_CHECK_H_

namespace im {
// Prints "file:line: check failed: expression" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);
}  // namespace im

#define IM_CHECK(condition)                                           \
  (__builtin_expect(static_cast<bool>(condition), 1)                  \
       ? static_cast<void>(0)                                         \
       : ::im::CheckFailed(__FILE__, __LINE__, #condition))

#endif  // IM_BASE_CHECK_H_
