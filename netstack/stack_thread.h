// StackThread: a stack with a loop and a thread of its own, for programs whose
// threads do other things.
//
// Other threads hand functions over (Post, Run). What they share with the
// stack are Residents: objects with a face for any thread, guarded by a mutex,
// and a face for the stack's thread. The stack's thread keeps each one alive
// until it has let go of what it holds of the stack.
//
// The end: first nothing more is taken, then every resident is told (who waits
// on one is woken), then go the stack and its interfaces, then what serves
// them, then the loop; all on the thread itself.

#ifndef IM_NETSTACK_STACK_THREAD_H_
#define IM_NETSTACK_STACK_THREAD_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "netstack/late_interface.h"
#include "netstack/net.h"

namespace im::netstack {

class StackThread {
 public:
  class Resident {
   public:
    virtual ~Resident() = default;
    // On the stack's thread: the stack is about to go.
    virtual void OnStackGone() = 0;
  };

  // Makes what takes an interface's packets, on the stack's thread; `inside` is
  // the interface, once it is there. What it gives lives as long as the
  // interface does.
  using Uplink =
      std::function<absl::StatusOr<std::shared_ptr<PacketSink>>(EventLoop& loop,
                                                                LateInterface& inside)>;

  // AlreadyExists: there is a stack in this process.
  static absl::StatusOr<std::shared_ptr<StackThread>> Create();
  ~StackThread();
  // Everything open ends with Cancelled. From any thread but the stack's own,
  // and once; others may hold on to this object, of which nothing is left.
  void Stop();

  bool OnOwnThread() const;

  // On any thread. False: the stack is gone, and `function` does not run.
  bool Post(std::function<void(Stack&)> function);
  // The same, and waits until it has run. On the stack's own thread: at once.
  bool Run(const std::function<void(Stack&)>& function);

  // On any thread. The interface is known by its number from then on.
  absl::StatusOr<int> AddInterface(const InterfaceOptions& options, const Uplink& uplink);
  // NotFound: there is no such interface.
  absl::Status RemoveInterface(int number);
  // On the stack's thread; nullptr if there is none.
  LateInterface* FindInterface(int number);

  // On the stack's thread; nullptr while it ends.
  Stack* stack() { return stack_; }
  void Admit(std::shared_ptr<Resident> resident);
  void Dismiss(Resident* resident);

 private:
  struct Nic {
    std::shared_ptr<LateInterface> inside;
    std::shared_ptr<PacketSink> uplink;
  };

  StackThread() = default;
  void Main(std::unique_ptr<EventLoop> loop);
  void RemoveNow(Stack& stack, int number);

  const RealClock clock_{};  // clang wants it initialized
  std::mutex mutex_;
  EventLoop* loop_ = nullptr;  // guarded by mutex_; null: nothing more is taken
  std::thread thread_;
  std::atomic<std::thread::id> id_;
  // The stack's thread alone:
  Stack* stack_ = nullptr;
  absl::flat_hash_map<Resident*, std::shared_ptr<Resident>> residents_;
  absl::flat_hash_map<int, Nic> nics_;
  int last_number_ = 0;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_STACK_THREAD_H_
