#include "tunnel/keypairs.h"

#include <chrono>
#include <utility>

namespace im::tunnel {

void Keypairs::Retire(std::unique_ptr<Session>& session, Retired& retired) {
  if (session != nullptr) retired.push_back(std::move(session));
}

void Keypairs::BeginAsInitiator(std::unique_ptr<Session> session, Retired& retired) {
  Retire(previous_, retired);
  if (next_ != nullptr) {
    // The other end may already seal under it.
    previous_ = std::move(next_);
    Retire(current_, retired);
  } else {
    previous_ = std::move(current_);
  }
  current_ = std::move(session);
}

void Keypairs::BeginAsResponder(std::unique_ptr<Session> session, Retired& retired) {
  Retire(next_, retired);
  next_ = std::move(session);
}

bool Keypairs::ReceivedOn(const Session& session, bool remote_key_is_smaller, Duration crossing,
                          Retired& retired) {
  if (&session == next_.get()) {
    Retire(previous_, retired);
    previous_ = std::move(current_);
    current_ = std::move(next_);
    return true;
  }
  if (&session == previous_.get() && current_ != nullptr && remote_key_is_smaller &&
      !previous_->initiator() && current_->initiator() &&
      std::chrono::abs(current_->born() - previous_->born()) < crossing) {
    std::swap(current_, previous_);
  }
  return false;
}

void Keypairs::Clear(Retired& retired) {
  Retire(current_, retired);
  Retire(previous_, retired);
  Retire(next_, retired);
}

}  // namespace im::tunnel
