#include "tunnel/keypairs.h"

#include <chrono>
#include <utility>

namespace im::tunnel {

void Keypairs::Retire(std::unique_ptr<Session>& session, Retired& retired) {
  if (session != nullptr) retired.push_back(std::move(session));
}

void Keypairs::Displace(std::unique_ptr<Session>& session, const Session* successor, Instant now,
                        Retired& retired) {
  Retire(older_, retired);
  if (session != nullptr && successor != nullptr && now - successor->born() < kUnderWay) {
    older_ = std::move(session);
  } else {
    Retire(session, retired);
  }
}

void Keypairs::BeginAsInitiator(std::unique_ptr<Session> session, Retired& retired) {
  if (next_ != nullptr) {
    // The other end seals under one of the two, or already under both.
    Retire(previous_, retired);
    Retire(older_, retired);
    previous_ = std::move(next_);
    older_ = std::move(current_);
  } else {
    Displace(previous_, current_.get(), session->born(), retired);
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
    Displace(previous_, current_.get(), next_->born(), retired);
    previous_ = std::move(current_);
    current_ = std::move(next_);
    return true;
  }
  if (&session == previous_.get() && current_ != nullptr &&
      previous_->initiator() != remote_key_is_smaller &&
      current_->initiator() == remote_key_is_smaller &&
      std::chrono::abs(current_->born() - previous_->born()) < crossing) {
    std::swap(current_, previous_);
  }
  return false;
}

void Keypairs::Clear(Retired& retired) {
  Retire(current_, retired);
  Retire(previous_, retired);
  Retire(next_, retired);
  Retire(older_, retired);
}

}  // namespace im::tunnel
