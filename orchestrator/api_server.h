// ApiServer: the gRPC service of proto/api.proto on a Unix socket.
//
// gRPC's own threads receive calls and post them to the loop's thread, where
// the ApiBackend answers; nothing blocks on either side, so a call that waits
// (`im wake`), a stream that is followed and a guest cost no thread.
//
// Lifetimes: a call is shared between gRPC (until its OnDone) and whatever is
// posted or waits in the backend. Finishing is once and for all, from any
// thread; what comes later is dropped. Shutdown() finishes every open call, so
// it neither waits for the loop nor leaves a client hanging.

#ifndef IM_ORCHESTRATOR_API_SERVER_H_
#define IM_ORCHESTRATOR_API_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "orchestrator/api_backend.h"

namespace im::orchestrator {

// Longest path of a Unix socket, in bytes: sun_path holds 108 with its NUL.
inline constexpr size_t kSocketPathBytesMax = 107;

// Made, shut down and destroyed on the loop's thread (or after the loop ended).
class ApiServer {
 public:
  struct Options {
    std::string socket_path;  // replaced if it is there; mode 0600
    std::optional<uid_t> owner;  // the socket's; nullopt: who runs this
    // Open calls and streams; further ones are told ResourceExhausted.
    size_t calls_max = 256;
    // Events that wait for one slow reader; beyond, its stream is ended.
    size_t queued_events_max = 20'000;
  };

  // `loop` and `backend` must outlive the server.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(const Options& options, EventLoop& loop,
                                                          ApiBackend& backend);
  ~ApiServer();  // shuts down
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  // Ends all calls with Unavailable and removes the socket.
  void Shutdown();
  size_t open_calls() const;

 private:
  class Impl;
  explicit ApiServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_API_SERVER_H_
