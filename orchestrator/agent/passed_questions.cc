#include "orchestrator/agent/passed_questions.h"

#include <algorithm>
#include <iterator>

namespace im::agent {
namespace {

constexpr size_t kIdBytes = 2;

bool IsAbout(const PassedQuestions::Question& question, const Endpoint& asker,
             std::span<const uint8_t> message) {
  return question.asker == asker && message.size() >= kIdBytes &&
         std::equal(message.begin(), message.begin() + kIdBytes, question.query.begin());
}

}  // namespace

void PassedQuestions::OnQuestion(const Endpoint& asker, const Endpoint& resolver,
                                 std::span<const uint8_t> query, Instant now) {
  if (query.size() < kIdBytes || questions_.size() >= kQuestionsMax) return;
  const bool known = std::any_of(questions_.begin(), questions_.end(), [&](const Question& q) {
    return IsAbout(q, asker, query) && std::ranges::equal(q.query, query);
  });
  if (known) return;
  questions_.push_back({.asker = asker,
                        .resolver = resolver,
                        .query = {query.begin(), query.end()},
                        .until = now + (silent_ ? kSilentTime : kAnswerTime)});
}

void PassedQuestions::OnAnswer(const Endpoint& asker, std::span<const uint8_t> answer) {
  OnHeard();
  std::erase_if(questions_, [&](const Question& q) { return IsAbout(q, asker, answer); });
}

Instant PassedQuestions::NextDeadline() const {
  Instant next = kNever;
  for (const Question& question : questions_) next = std::min(next, question.until);
  return next;
}

std::vector<PassedQuestions::Question> PassedQuestions::TakeLate(Instant now) {
  const auto rest = std::stable_partition(questions_.begin(), questions_.end(),
                                          [&](const Question& q) { return q.until <= now; });
  std::vector<Question> late(std::make_move_iterator(questions_.begin()),
                             std::make_move_iterator(rest));
  questions_.erase(questions_.begin(), rest);
  silent_ |= !late.empty();
  return late;
}

}  // namespace im::agent
