// Readiness: what an object that threads share is ready for, to be waited for
// by a thread or polled as a descriptor.
//
// The derived class changes its state under mutex() and calls SetReady. The
// descriptor is an eventfd, readable while the object is ready for anything
// that interests its owner (SetInterest), so it fits epoll, poll and whatever
// is built on them. It is made when it is first asked for.

#ifndef IM_NETSTACK_READINESS_H_
#define IM_NETSTACK_READINESS_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "base/clock.h"
#include "base/file_descriptor.h"

namespace im::netstack {

class Readiness {
 public:
  enum Event : uint32_t {
    kReadable = 1,  // a read, accept or receive does not block (it may give an error)
    kWritable = 2,  // a write or send takes something (or gives an error)
    kOver = 4,      // both directions ended; always of interest
  };

  virtual ~Readiness() = default;

  // Waits until one of `events`, or kOver; gives what is ready, 0 at the
  // deadline.
  uint32_t Wait(uint32_t events, Instant deadline);
  uint32_t ready();

  // -1: the process has no descriptors left. Stays this object's.
  int poll_fd();
  // kReadable at first.
  void SetInterest(uint32_t events);
  // Gives the descriptor away: it is not changed any more.
  FileDescriptor TakePollFd();

 protected:
  std::mutex& mutex() { return mutex_; }
  // With the mutex held.
  void SetReady(uint32_t events);

 private:
  void UpdateFd();

  std::mutex mutex_;
  std::condition_variable condition_;
  uint32_t ready_ = 0;
  uint32_t interest_ = kReadable;
  FileDescriptor event_fd_;
  bool signalled_ = false;  // event_fd_ is readable
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_READINESS_H_
