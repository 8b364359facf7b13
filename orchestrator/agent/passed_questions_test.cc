#include "orchestrator/agent/passed_questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using Bytes = std::vector<uint8_t>;

const Endpoint kResolver{IpAddress::V4(0x0a4d0001), 53};

class PassedQuestionsTest : public testing::Test {
 protected:
  static Endpoint Asker(uint16_t port) { return {IpAddress::V4(0x0a4d0003), port}; }
  static Bytes Query(uint8_t id) { return {0, id, 1, 0, 'q'}; }
  void Ask(uint16_t port, uint8_t id) { passed_.OnQuestion(Asker(port), kResolver, Query(id), now_); }
  // The IDs of those that are late when so much time has passed.
  std::vector<int> After(Duration time) {
    now_ += time;
    std::vector<int> ids;
    for (const auto& question : passed_.TakeLate(now_)) {
      EXPECT_EQ(question.resolver, kResolver);
      ids.push_back(question.query[1]);
    }
    return ids;
  }

  PassedQuestions passed_;
  Instant now_ = Instant(std::chrono::seconds(1000));
};

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(PassedQuestionsTest, WhatIsAnsweredIsWaitedForNoLonger) {
  EXPECT_EQ(passed_.NextDeadline(), kNever);
  Ask(5000, 1);
  Ask(5000, 2);  // as for A and AAAA
  Ask(5001, 1);
  EXPECT_EQ(passed_.NextDeadline(), now_ + PassedQuestions::kAnswerTime);
  passed_.OnAnswer(Asker(5000), Query(1));
  passed_.OnAnswer(Asker(5002), Query(1));  // what nobody has asked
  passed_.OnAnswer(Asker(5000), {});
  EXPECT_THAT(After(PassedQuestions::kAnswerTime - milliseconds(1)), IsEmpty());
  EXPECT_THAT(After(milliseconds(1)), ElementsAre(2, 1));
  EXPECT_EQ(passed_.NextDeadline(), kNever);
}

TEST_F(PassedQuestionsTest, WhoAsksAgainWaitsNoLongerForIt) {
  Ask(5000, 1);
  now_ += milliseconds(900);
  Ask(5000, 1);
  EXPECT_THAT(After(milliseconds(100)), ElementsAre(1));
  EXPECT_THAT(After(milliseconds(1000)), IsEmpty()) << "and is told once";
  // With the same ID another question of the same port.
  Ask(5000, 1);
  passed_.OnQuestion(Asker(5000), kResolver, Bytes{0, 1, 'z'}, now_);
  EXPECT_THAT(After(PassedQuestions::kAnswerTime), ElementsAre(1, 1));
}

TEST_F(PassedQuestionsTest, WhileImdIsSilentNobodyWaitsLong) {
  Ask(5000, 1);
  EXPECT_THAT(After(PassedQuestions::kAnswerTime), ElementsAre(1));
  Ask(5000, 2);
  EXPECT_THAT(After(PassedQuestions::kSilentTime), ElementsAre(2));
  // It is there again, which one hears by its answer, even to a question that was given up, ...
  passed_.OnAnswer(Asker(5000), Query(2));
  Ask(5000, 3);
  EXPECT_THAT(After(PassedQuestions::kSilentTime), IsEmpty());
  EXPECT_THAT(After(PassedQuestions::kAnswerTime), ElementsAre(3));
  // ... or otherwise.
  passed_.OnHeard();
  Ask(5000, 4);
  EXPECT_THAT(After(PassedQuestions::kSilentTime), IsEmpty());
}

TEST_F(PassedQuestionsTest, ALongerOneDoesNotHoldUpAShorterOne) {
  Ask(5000, 1);
  now_ += milliseconds(950);
  Ask(5000, 2);
  EXPECT_THAT(After(milliseconds(50)), ElementsAre(1));
  Ask(5000, 3);
  EXPECT_EQ(passed_.NextDeadline(), now_ + PassedQuestions::kSilentTime);
  EXPECT_THAT(After(PassedQuestions::kSilentTime), ElementsAre(3));
  EXPECT_THAT(After(PassedQuestions::kAnswerTime), ElementsAre(2));
}

TEST_F(PassedQuestionsTest, ThereIsALimit) {
  for (size_t i = 0; i < PassedQuestions::kQuestionsMax + 5; ++i)
    Ask(static_cast<uint16_t>(5000 + i), 1);
  passed_.OnQuestion(Asker(1), kResolver, Bytes{0}, now_);  // of no use
  EXPECT_EQ(After(PassedQuestions::kAnswerTime).size(), PassedQuestions::kQuestionsMax);
}

}  // namespace
}  // namespace im::agent
