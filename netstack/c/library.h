// Library: what the functions of im_net.h share: the stack, the handles, the
// interfaces, and each thread's last error.
//
// A handle is the number of its object's eventfd. Should the program have closed
// that with close(2), the kernel gives the number out again, to one of our own
// new handles perhaps; the table then lets go of the old object.

#ifndef IM_NETSTACK_C_LIBRARY_H_
#define IM_NETSTACK_C_LIBRARY_H_

#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "netstack/c/uplinks.h"
#include "netstack/shared_listener.h"
#include "netstack/shared_stream.h"
#include "netstack/shared_udp.h"
#include "netstack/stack_thread.h"

namespace im::netstack {

// What im_net_input may have under way to an interface, in bytes.
inline constexpr size_t kInputBytesMax = 8 << 20;

// An interface of the C API. One with several addresses is several of the stack.
struct LibraryNic {
  std::vector<int> numbers;
  std::weak_ptr<TunnelUplink> tunnel;  // the stack's thread alone may lock it
  // Where im_net_input may be used: what is under way.
  std::shared_ptr<std::atomic<size_t>> input_bytes;
};

class Library {
 public:
  using Object = std::variant<std::monostate, std::shared_ptr<SharedStream>,
                              std::shared_ptr<SharedListener>, std::shared_ptr<SharedUdp>>;

  static Library& Get();

  // ---- errors: all give -1 and set errno ----
  static int Fail(int error, std::string message);
  static int Fail(const absl::Status& status);
  static const std::string& message();

  // ---- the stack ----
  int Start();
  int Stop();
  std::shared_ptr<StackThread> thread();  // null: there is none

  // ---- handles ----
  // Gives the handle.
  int Add(Object object);
  // monostate: EBADF is set.
  Object Find(int handle);
  // Null: EBADF or EOPNOTSUPP is set.
  template <typename T>
  std::shared_ptr<T> FindA(int handle) {
    const Object object = Find(handle);
    if (const auto* found = std::get_if<std::shared_ptr<T>>(&object)) return *found;
    if (!std::holds_alternative<std::monostate>(object))
      Fail(EOPNOTSUPP, "a handle of another kind");
    return nullptr;
  }
  int Close(int handle);

  // ---- interfaces ----
  // Gives its number, that of its first address.
  int AddNic(LibraryNic nic);
  std::optional<LibraryNic> FindNic(int number);
  std::optional<LibraryNic> TakeNic(int number);

  static Readiness* ReadinessOf(const Object& object);

 private:
  std::mutex mutex_;
  std::shared_ptr<StackThread> thread_;
  absl::flat_hash_map<int, Object> objects_;
  absl::flat_hash_map<int, LibraryNic> nics_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_C_LIBRARY_H_
