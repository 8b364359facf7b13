// The two kinds of calls that ApiServer serves: unary and server stream, as
// gRPC reactors that may be finished from any thread, once.

#ifndef IM_ORCHESTRATOR_API_CALL_H_
#define IM_ORCHESTRATOR_API_CALL_H_

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "base/event_loop.h"
#include "orchestrator/api_backend.h"

namespace im::orchestrator {

// The codes have the same numbers.
inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::string_view message = status.message();
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(message.data(), message.size()));
}

class ApiCall;

// What calls share with their server, and what outlives it for the sake of
// functions that are still posted or wait in the backend.
struct ApiCore {
  ApiCore(EventLoop& the_loop, ApiBackend& the_backend, size_t the_calls_max)
      : loop(the_loop), backend(the_backend), calls_max(the_calls_max) {}

  // Loop's thread only, and only while !closed.
  EventLoop& loop;
  ApiBackend& backend;
  bool closed = false;

  const size_t calls_max;
  std::mutex mutex;  // guards what follows
  bool refusing = false;
  absl::flat_hash_set<std::shared_ptr<ApiCall>> calls;
  std::condition_variable drained;  // calls has become empty
};

// Kept alive by ApiCore::calls until gRPC's OnDone, and by whatever is posted.
class ApiCall : public std::enable_shared_from_this<ApiCall> {
 public:
  explicit ApiCall(std::shared_ptr<ApiCore> core) : core_(std::move(core)) {}
  virtual ~ApiCall() = default;

  // Ends the call unless it has ended or is about to. Any thread.
  virtual void Abort(const grpc::Status& status) = 0;

  // Registers the call and runs `start` on the loop's thread, unless the
  // server is full or going down, or the client gone by then.
  void Begin(std::function<void()> start);

  // What is to be undone on the loop's thread when the call is over.
  void set_cleanup(std::function<void()> cleanup) { cleanup_ = std::move(cleanup); }
  void RunCleanup();

 protected:
  // From gRPC's OnDone: nothing of gRPC's touches the call any more.
  void Done();
  virtual bool finished() const = 0;

  const std::shared_ptr<ApiCore> core_;

 private:
  std::function<void()> cleanup_;  // loop's thread
};

template <typename Reply>
class UnaryCall final : public ApiCall, public grpc::ServerUnaryReactor {
 public:
  UnaryCall(std::shared_ptr<ApiCore> core, Reply* reply)
      : ApiCall(std::move(core)), reply_(reply) {}

  void Answer(absl::StatusOr<Reply> reply) {
    grpc::Status status = ToGrpc(reply.status());
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (finished_) return;
      finished_ = true;
      if (reply.ok()) *reply_ = std::move(*reply);
    }
    Finish(std::move(status));
  }
  void Abort(const grpc::Status& status) override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (finished_) return;
      finished_ = true;
    }
    Finish(status);
  }

 private:
  void OnCancel() override { Abort(grpc::Status::CANCELLED); }
  void OnDone() override {
    // After OnCancel, which may have run on another thread. gRPC sees to that,
    // but by atomics of its own that ThreadSanitizer does not know.
    { std::lock_guard<std::mutex> lock(mutex_); }
    Done();
  }
  bool finished() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return finished_;
  }

  mutable std::mutex mutex_;  // guards what follows
  bool finished_ = false;
  Reply* const reply_;  // gRPC's, until Finish
};

template <typename Message>
class StreamCall final : public ApiCall, public grpc::ServerWriteReactor<Message> {
 public:
  StreamCall(std::shared_ptr<ApiCore> core, size_t queued_max)
      : ApiCall(std::move(core)), queued_max_(queued_max) {}

  // A reader that is slower than what it reads is cut off.
  void Push(Message message) {
    bool write = false;
    bool finish = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (end_) return;
      if (queue_.size() >= queued_max_) {
        end_ = grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "the reader is too slow");
        queue_.resize(writing_ ? 1 : 0);
      } else {
        queue_.push_back(std::move(message));
      }
      write = StartNext();
      finish = MayFinish();
    }
    Proceed(write, finish);
  }

  // After what was pushed.
  void End(const grpc::Status& status) {
    bool finish = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (end_) return;
      end_ = status;
      finish = MayFinish();
    }
    Proceed(false, finish);
  }

  // Leaves out what was not sent yet.
  void Abort(const grpc::Status& status) override {
    bool finish = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (end_) return;
      end_ = status;
      queue_.resize(writing_ ? 1 : 0);
      finish = MayFinish();
    }
    Proceed(false, finish);
  }

 private:
  void OnWriteDone(bool ok) override {
    bool write = false;
    bool finish = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      writing_ = false;
      queue_.pop_front();
      if (!ok) {
        if (!end_) end_ = grpc::Status::CANCELLED;
        queue_.clear();
      }
      write = StartNext();
      finish = MayFinish();
    }
    Proceed(write, finish);
  }
  void OnCancel() override { Abort(grpc::Status::CANCELLED); }
  void OnDone() override {
    // After OnCancel, which may have run on another thread. gRPC sees to that,
    // but by atomics of its own that ThreadSanitizer does not know.
    { std::lock_guard<std::mutex> lock(mutex_); }
    Done();
  }
  bool finished() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return end_.has_value();
  }

  // With the lock held. The front of the queue is being written while writing_.
  bool StartNext() {
    if (writing_ || queue_.empty()) return false;
    writing_ = true;
    return true;
  }
  bool MayFinish() {
    if (!end_ || writing_ || !queue_.empty() || finish_called_) return false;
    finish_called_ = true;
    return true;
  }
  // Without the lock: gRPC may call back from within. Nobody else changes the
  // queue's front while writing_, nor end_ once it is set.
  void Proceed(bool write, bool finish) {
    const std::shared_ptr<ApiCall> keep = this->shared_from_this();
    if (write) this->StartWrite(Front());
    if (finish) this->Finish(EndStatus());
  }
  const Message* Front() {
    std::lock_guard<std::mutex> lock(mutex_);
    return &queue_.front();  // a deque: stays where it is
  }
  grpc::Status EndStatus() {
    std::lock_guard<std::mutex> lock(mutex_);
    return *end_;
  }

  const size_t queued_max_;
  mutable std::mutex mutex_;  // guards what follows
  std::deque<Message> queue_;
  bool writing_ = false;
  bool finish_called_ = false;
  std::optional<grpc::Status> end_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_API_CALL_H_
