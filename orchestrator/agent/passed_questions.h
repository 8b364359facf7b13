// PassedQuestions: DNS questions that went on to imd, until it answers.
//
// While imd is down nobody answers them, and a resolver library waits 5 s and more for each.
// So a question that has waited for kAnswerTime is given up, and its asker told SERVFAIL. Then
// imd is silent: further questions, which go on to it all the same, wait for kSilentTime alone,
// until anything is heard of it (OnHeard). An answer that comes later is passed like others.
//
// Limit: kQuestionsMax. Of those beyond it nothing is known; their askers wait as long as they like.

#ifndef IM_ORCHESTRATOR_AGENT_PASSED_QUESTIONS_H_
#define IM_ORCHESTRATOR_AGENT_PASSED_QUESTIONS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"

namespace im::agent {

class PassedQuestions {
 public:
  // imd answers within a millisecond; a machine that is too busy for a second of its time
  // has other troubles.
  static constexpr Duration kAnswerTime = std::chrono::seconds(1);
  static constexpr Duration kSilentTime = std::chrono::milliseconds(100);
  // Some threads of a program ask at once, each for both families; of 300 bytes at most, as a rule.
  static constexpr size_t kQuestionsMax = 256;

  struct Question {
    Endpoint asker;
    Endpoint resolver;
    std::vector<uint8_t> query;  // its first two bytes are its ID (RFC 1035 4.1.1)
    Instant until;
  };

  // One that is asked again before it is answered waits no longer for it.
  void OnQuestion(const Endpoint& asker, const Endpoint& resolver, std::span<const uint8_t> query,
                  Instant now);
  // A DNS message that imd sent to `asker`.
  void OnAnswer(const Endpoint& asker, std::span<const uint8_t> answer);
  // A sign of life.
  void OnHeard() { silent_ = false; }

  // When to call TakeLate; kNever: nothing is waited for.
  Instant NextDeadline() const;
  // Those that have waited long enough, in the order in which they came.
  std::vector<Question> TakeLate(Instant now);

 private:
  std::vector<Question> questions_;
  bool silent_ = false;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_PASSED_QUESTIONS_H_
