// Tells ThreadSanitizer how gRPC hands things from thread to thread.
//
// Debian's gRPC and Abseil are not instrumented, and absl::Mutex is a futex that
// the sanitizer does not know: what one thread gives to gRPC and another gets
// back looks like a race. Suppressions would hide our handlers, which gRPC
// calls. So the functions by which order comes about stand here, in front of
// the libraries', and tell of it: a lock's next holder comes after the last
// one, and the end of an operation, known by its tag, after its start.

#include <absl/synchronization/mutex.h>
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <sanitizer/tsan_interface.h>

namespace {

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// The library's function behind `ours`, which has the same name.
template <typename Function>
Function* Behind(void* ours) {
  Dl_info info;
  return dladdr(ours, &info) != 0 ? Next<Function>(info.dli_sname) : nullptr;
}

grpc_event Ended(const grpc_event& event) {
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

}  // namespace

extern "C" {

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t count, void* tag,
                                      void* reserved) {
  static auto* const next = Next<decltype(grpc_call_start_batch)>("grpc_call_start_batch");
  __tsan_release(tag);
  return next(call, ops, count, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_next)>("grpc_completion_queue_next");
  return Ended(next(queue, deadline, reserved));
}

grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue, void* tag,
                                       gpr_timespec deadline, void* reserved) {
  static auto* const next =
      Next<decltype(grpc_completion_queue_pluck)>("grpc_completion_queue_pluck");
  return Ended(next(queue, tag, deadline, reserved));
}

}  // extern "C"

// As a function's address: a call through the member's pointer would end here.
#pragma GCC diagnostic ignored "-Wpmf-conversions"

void absl::Mutex::Lock() {
  static auto* const next = Behind<void(Mutex*)>(
      reinterpret_cast<void*>(static_cast<void (Mutex::*)()>(&Mutex::Lock)));
  next(this);
  __tsan_acquire(this);
}

void absl::Mutex::Unlock() {
  static auto* const next = Behind<void(Mutex*)>(
      reinterpret_cast<void*>(static_cast<void (Mutex::*)()>(&Mutex::Unlock)));
  __tsan_release(this);
  next(this);
}

bool absl::Mutex::TryLock() {
  static auto* const next = Behind<bool(Mutex*)>(
      reinterpret_cast<void*>(static_cast<bool (Mutex::*)()>(&Mutex::TryLock)));
  const bool locked = next(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

#if ABSL_LTS_RELEASE_VERSION > 20220623

// Wait() and its like are inline, around this.
bool absl::CondVar::WaitCommon(Mutex* mutex, synchronization_internal::KernelTimeout timeout) {
  using Function = bool(CondVar*, Mutex*, synchronization_internal::KernelTimeout);
  static auto* const next = Behind<Function>(reinterpret_cast<void*>(&CondVar::WaitCommon));
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

#else

void absl::CondVar::Wait(Mutex* mutex) {
  static auto* const next = Behind<void(CondVar*, Mutex*)>(
      reinterpret_cast<void*>(static_cast<void (CondVar::*)(Mutex*)>(&CondVar::Wait)));
  __tsan_release(mutex);
  next(this, mutex);
  __tsan_acquire(mutex);
}

bool absl::CondVar::WaitWithTimeout(Mutex* mutex, absl::Duration timeout) {
  static auto* const next = Behind<bool(CondVar*, Mutex*, absl::Duration)>(reinterpret_cast<void*>(
      static_cast<bool (CondVar::*)(Mutex*, absl::Duration)>(&CondVar::WaitWithTimeout)));
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, timeout);
  __tsan_acquire(mutex);
  return timed_out;
}

bool absl::CondVar::WaitWithDeadline(Mutex* mutex, absl::Time deadline) {
  static auto* const next = Behind<bool(CondVar*, Mutex*, absl::Time)>(reinterpret_cast<void*>(
      static_cast<bool (CondVar::*)(Mutex*, absl::Time)>(&CondVar::WaitWithDeadline)));
  __tsan_release(mutex);
  const bool timed_out = next(this, mutex, deadline);
  __tsan_acquire(mutex);
  return timed_out;
}

#endif
