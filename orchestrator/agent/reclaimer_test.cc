#include "orchestrator/agent/reclaimer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ReclaimerTest, ReadsWhatIsMapped) {
  EXPECT_THAT(
      ParseMaps("55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]\n"
                "7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
                "7f1000000000-7f1000200000 r--p 00000000 fe:00 1234                       /a b\n"
                "7ffd00000000-7ffd00001000 r--p 00000000 00:00 0                          [vvar]\n"
                "7ffd00001000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]\n"
                "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0              [vsyscall]\n"),
      ElementsAre(MappedRange{0x55d0c0000000, 0x55d0c0021000},
                  MappedRange{0x7f1000000000, 0x7f1000200000}));
}

TEST(ReclaimerTest, OtherTextsMapNothing) {
  EXPECT_THAT(ParseMaps(""), IsEmpty());
  EXPECT_THAT(ParseMaps("x\n1-2\n1-2 \nzz-2 r--p 0\n2-1 r--p 0\n5 r--p 0\n"), IsEmpty());
}

}  // namespace
}  // namespace im::agent
