#include "orchestrator/cli/preflight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace im::orchestrator::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Preflight, NothingMissingIsNothingSaid) {
  EXPECT_EQ(ExplainPreflight({.root = true}), std::nullopt);
  EXPECT_EQ(ExplainPreflight({.root = false}), std::nullopt);
}

TEST(Preflight, AUserIsToldToBeRoot) {
  EXPECT_THAT(*ExplainPreflight({.namespaces_errno = EPERM, .tun_errno = EACCES}),
              HasSubstr("run it with sudo"));
}

TEST(Preflight, RootIsToldWhatTheMachineLacks) {
  const auto both = ExplainPreflight({.root = true, .namespaces_errno = EPERM,
                                      .tun_errno = ENOENT});
  EXPECT_THAT(*both, HasSubstr("namespaces: Operation not permitted; in a container"));
  EXPECT_THAT(*both, HasSubstr("/dev/net/tun: No such file or directory; load it with modprobe"));
  const auto chroot = ExplainPreflight({.root = true, .mounts_errno = EINVAL});
  EXPECT_THAT(*chroot, HasSubstr("mounts of its own: Invalid argument; this is a chroot"));
  EXPECT_THAT(*ExplainPreflight({.root = true, .mounts_errno = EACCES}), HasSubstr("AppArmor"));
  const auto tun = ExplainPreflight({.root = true, .tun_errno = EPERM});
  EXPECT_THAT(*tun, Not(HasSubstr("namespaces:")));
  EXPECT_THAT(*tun, HasSubstr("CAP_NET_ADMIN"));
}

}  // namespace
}  // namespace im::orchestrator::cli
