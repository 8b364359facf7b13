#include "netstack/stack_thread.h"

#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "netstack/core.h"

namespace im::netstack {
namespace {

std::atomic<bool> stack_thread_lives = false;

// Signals belong to the program's threads.
std::thread StartWithoutSignals(std::function<void()> main) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(main));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

// Tells a waiting thread that a function has run, or never will.
class Outcome {
 public:
  void Tell(bool ran) {
    const std::lock_guard lock(mutex_);
    if (!told_.has_value()) told_ = ran;
    condition_.notify_all();
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    condition_.wait(lock, [this] { return told_.has_value(); });
    return *told_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  std::optional<bool> told_;
};

// Held by a posted function: gone without having run, it says so.
class Ticket {
 public:
  explicit Ticket(std::shared_ptr<Outcome> outcome) : outcome_(std::move(outcome)) {}
  ~Ticket() { outcome_->Tell(false); }
  void Ran() { outcome_->Tell(true); }

 private:
  const std::shared_ptr<Outcome> outcome_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<StackThread>> StackThread::Create() {
  if (stack_thread_lives.exchange(true))
    return absl::AlreadyExistsError("there is a stack in this process");
  std::shared_ptr<StackThread> self(new StackThread());
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(self->clock_);
  if (!loop.ok() || Core::current() != nullptr) {
    stack_thread_lives = false;
    if (!loop.ok()) return loop.status();
    return absl::AlreadyExistsError("there is a stack in this process");
  }
  self->loop_ = loop->get();
  auto shared_loop = std::make_shared<std::unique_ptr<EventLoop>>(*std::move(loop));
  self->thread_ = StartWithoutSignals(
      [raw = self.get(), shared_loop] { raw->Main(std::move(*shared_loop)); });
  return self;
}

StackThread::~StackThread() { Stop(); }

void StackThread::Stop() {
  if (!thread_.joinable()) return;
  IM_CHECK(!OnOwnThread());
  {
    const std::lock_guard lock(mutex_);
    loop_->Stop();  // the loop is there until the thread has seen it
  }
  thread_.join();
  stack_thread_lives = false;
}

void StackThread::Main(std::unique_ptr<EventLoop> loop) {
  id_ = std::this_thread::get_id();
  {
    Stack stack(*loop);
    stack_ = &stack;
    loop->Run();
    bool last_ran = false;
    {
      const std::lock_guard lock(mutex_);
      loop_ = nullptr;
      loop->Post([&last_ran] { last_ran = true; });
    }
    while (!last_ran) loop->RunOnce(Duration::zero());  // what was taken still runs
    while (!residents_.empty()) {
      const std::shared_ptr<Resident> resident = residents_.begin()->second;
      residents_.erase(residents_.begin());
      resident->OnStackGone();
    }
    for (auto& [number, nic] : nics_) nic.inside->Attach(nullptr);
    stack_ = nullptr;
  }
  nics_.clear();
}

bool StackThread::OnOwnThread() const { return id_ == std::this_thread::get_id(); }

bool StackThread::Post(std::function<void(Stack&)> function) {
  const std::lock_guard lock(mutex_);
  if (loop_ == nullptr) return false;
  loop_->Post([this, function = std::move(function)] { function(*stack_); });
  return true;
}

bool StackThread::Run(const std::function<void(Stack&)>& function) {
  if (OnOwnThread()) {
    if (stack_ == nullptr) return false;
    function(*stack_);
    return true;
  }
  const auto outcome = std::make_shared<Outcome>();
  auto ticket = std::make_shared<Ticket>(outcome);
  if (!Post([&function, ticket](Stack& stack) {
        function(stack);
        ticket->Ran();
      }))
    return false;
  ticket.reset();
  return outcome->Wait();
}

// ---- interfaces ----

absl::StatusOr<int> StackThread::AddInterface(const InterfaceOptions& options,
                                              const Uplink& uplink) {
  absl::StatusOr<int> result = absl::CancelledError("the stack is gone");
  Run([&](Stack& stack) {
    Nic nic{.inside = std::make_shared<LateInterface>()};
    result = [&]() -> absl::StatusOr<int> {
      IM_ASSIGN_OR_RETURN(nic.uplink, uplink(stack.loop(), *nic.inside));
      IM_ASSIGN_OR_RETURN(Interface * made, stack.AddInterface(options, *nic.uplink));
      nic.inside->Attach(made);
      nics_.emplace(++last_number_, std::move(nic));
      return last_number_;
    }();
  });
  return result;
}

absl::Status StackThread::RemoveInterface(int number) {
  absl::Status result = absl::CancelledError("the stack is gone");
  Run([&](Stack& stack) {
    if (nics_.contains(number)) {
      RemoveNow(stack, number);
      result = absl::OkStatus();
    } else {
      result = absl::NotFoundError(absl::StrCat("no interface ", number));
    }
  });
  return result;
}

void StackThread::RemoveNow(Stack& stack, int number) {
  const auto it = nics_.find(number);
  Nic nic = std::move(it->second);
  nics_.erase(it);
  Interface* gone = nic.inside->nic();
  nic.inside->Attach(nullptr);
  stack.RemoveInterface(gone);
}

LateInterface* StackThread::FindInterface(int number) {
  const auto it = nics_.find(number);
  return it == nics_.end() ? nullptr : it->second.inside.get();
}

// ---- residents ----

void StackThread::Admit(std::shared_ptr<Resident> resident) {
  Resident* key = resident.get();
  residents_.emplace(key, std::move(resident));
}

void StackThread::Dismiss(Resident* resident) {
  const auto node = residents_.extract(resident);  // it may be destroyed here
}

}  // namespace im::netstack
