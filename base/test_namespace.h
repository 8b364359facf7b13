// For tests that need a network, and TUN devices, of their own.

#ifndef IM_BASE_TEST_NAMESPACE_H_
#define IM_BASE_TEST_NAMESPACE_H_

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <functional>
#include <thread>

namespace im {

// Runs `body` on a thread with a fresh network namespace; skips the test where
// that is not permitted.
inline void InNamespace(const std::function<void()>& body) {
  bool permitted = true;
  std::thread thread([&] {
    permitted = unshare(CLONE_NEWNET) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0;
    if (permitted) body();
  });
  thread.join();
  if (!permitted) GTEST_SKIP() << "needs network namespaces and /dev/net/tun";
}

}  // namespace im

#endif  // IM_BASE_TEST_NAMESPACE_H_
