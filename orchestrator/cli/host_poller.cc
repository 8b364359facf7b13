#include "orchestrator/cli/host_poller.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/check.h"

namespace im::orchestrator::cli {
HostPoller::HostPoller(Client& client)
    : client_(client), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  IM_CHECK(event_.valid());
}

HostPoller::~HostPoller() {
  std::unique_lock lock(mutex_);
  leaving_ = true;
  if (question_ != nullptr) {
    question_->cluster_call.TryCancel();
    question_->hosts_call.TryCancel();
  }
  over_.wait(lock, [this] { return question_ == nullptr; });
}

void HostPoller::Ask(bool all) {
  Question* question;
  {
    const std::lock_guard lock(mutex_);
    if (question_ != nullptr) return;
    question_ = std::make_unique<Question>();
    question = question_.get();
    const auto deadline = std::chrono::system_clock::now() + kAnswerTimeout;
    question->cluster_call.set_deadline(deadline);
    question->hosts_call.set_deadline(deadline);
    question->hosts_request.set_fresh(true);
    question->hosts_request.set_running_only(!all);
  }
  client_.stub().async()->GetCluster(&question->cluster_call, &question->cluster_request,
                                     &question->cluster, [this](grpc::Status status) {
                                       if (status.ok()) {
                                         AskForHosts();
                                       } else {
                                         End(status);
                                       }
                                     });
}

void HostPoller::AskForHosts() {
  Question* question;
  {
    const std::lock_guard lock(mutex_);
    question = question_.get();
    // What is called off before it began ends at once.
    if (leaving_) question->hosts_call.TryCancel();
  }
  client_.stub().async()->ListHosts(&question->hosts_call, &question->hosts_request,
                                    &question->hosts,
                                    [this](grpc::Status status) { End(status); });
}

void HostPoller::End(const grpc::Status& status) {
  const std::lock_guard lock(mutex_);
  if (status.ok()) {
    Answer answer;
    answer.cluster = std::move(question_->cluster);
    answer.hosts.assign(std::make_move_iterator(question_->hosts.mutable_hosts()->begin()),
                        std::make_move_iterator(question_->hosts.mutable_hosts()->end()));
    answer_ = std::move(answer);
  } else {
    answer_ = FromGrpc(status);
  }
  question_.reset();
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(event_.get(), &one, sizeof(one));
  over_.notify_all();
}

std::optional<absl::StatusOr<HostPoller::Answer>> HostPoller::Take() {
  const std::lock_guard lock(mutex_);
  uint64_t count;
  [[maybe_unused]] const ssize_t n = read(event_.get(), &count, sizeof(count));
  return std::exchange(answer_, std::nullopt);
}

}  // namespace im::orchestrator::cli
