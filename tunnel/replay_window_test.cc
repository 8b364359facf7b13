#include "tunnel/replay_window.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "base/random.h"

namespace im::tunnel {
namespace {

constexpr uint64_t kWindow = kReplayWindowBits;

TEST(ReplayWindowTest, Scripts) {
  struct Step {
    uint64_t counter;
    bool accepted;
  };
  const std::vector<std::vector<Step>> scripts = {
      {{0, true}, {0, false}, {1, true}, {1, false}, {0, false}},
      {{1, true}, {0, true}, {0, false}},
      {{63, true}, {64, true}, {63, false}, {62, true}},
      {{kWindow, true}, {0, false}, {1, true}, {1, false}, {kWindow - 1, true}},
      {{kWindow - 1, true}, {0, true}},
      {{kWindow + 1, true}, {1, false}, {2, true}},
      // A word is used again only after it was cleared.
      {{5, true}, {5 + kWindow + 64, true}, {5 + 64, false}, {5 + 65, true}},
      // A jump over the whole ring, and one of several rings.
      {{7, true}, {7 + 3 * (kWindow + 64), true}, {7 + 2 * (kWindow + 64), false},
       {7 + 3 * (kWindow + 64) - 1, true}},
      {{kRejectAfterMessages - 1, true}, {kRejectAfterMessages - 1, false}, {0, false},
       {kRejectAfterMessages - kWindow, true}, {kRejectAfterMessages - kWindow - 1, false}},
      {{UINT64_MAX, true}, {UINT64_MAX, false}, {UINT64_MAX - 1, true}},
  };
  for (size_t s = 0; s < scripts.size(); ++s) {
    ReplayWindow window;
    for (size_t i = 0; i < scripts[s].size(); ++i) {
      const Step& step = scripts[s][i];
      EXPECT_EQ(window.MayAccept(step.counter), step.accepted) << "script " << s << " step " << i;
      EXPECT_EQ(window.Accept(step.counter), step.accepted) << "script " << s << " step " << i;
    }
  }
}

// Remembers everything.
class Model {
 public:
  bool Accept(uint64_t counter) {
    if (!seen_.empty() && *seen_.rbegin() >= kWindow && counter <= *seen_.rbegin() - kWindow)
      return false;
    return seen_.insert(counter).second;
  }

 private:
  std::set<uint64_t> seen_;
};

TEST(ReplayWindowTest, AgreesWithAModelThatForgetsNothing) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SeededRandom random(seed);
    ReplayWindow window;
    Model model;
    uint64_t head = 0;
    for (int i = 0; i < 20'000; ++i) {
      uint64_t counter;
      switch (random.Below(8)) {
        case 0:
          counter = head += random.Below(200);
          break;
        case 1:
          counter = random.Below(20) == 0 ? head += random.Below(3 * kWindow) : head;
          break;
        case 2:  // around the far edge
          counter = head > kWindow + 70 ? head - kWindow - 70 + random.Below(140) : 0;
          break;
        case 3:
          counter = head - random.Below(std::min<uint64_t>(head, 100) + 1);
          break;
        default:
          counter = ++head;
          break;
      }
      const bool expected = model.Accept(counter);
      ASSERT_EQ(window.MayAccept(counter), expected) << "seed " << seed << " step " << i;
      ASSERT_EQ(window.Accept(counter), expected) << "seed " << seed << " step " << i;
    }
  }
}

}  // namespace
}  // namespace im::tunnel
