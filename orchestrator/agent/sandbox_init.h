// The init process of a host, and what it says to the agent.
//
// A fork of the agent without exec, so that nothing has to be found, read and
// linked: it makes the inside (inside.h), starts the program as its child, so
// that the default actions of signals work for it, reaps whatever ends, and
// starts further processes for `im exec`. When the agent goes, however it
// goes, the socket to it ends: init kills what runs, removes the cgroup, and
// ends. (Should init die first, the kernel kills the rest of the namespace.)
//
// Without namespaces there is no inside, and init keeps what descends from it
// together by being the parent of orphans; each process that it starts is put
// under a filter (intercept/socket_filter.h). Should it die first, the kernel
// kills those, and the agent what they have started.
//
// Messages on a socket pair, one struct InitMessage and a text each:
//
//   init → agent   kDescriptor   a descriptor of im0, or the listener of a filter
//                  kStarted      id, sender's pid = the process (by SCM_CREDENTIALS);
//                                without namespaces value = the process
//                  kNotStarted   id, text: why (id 0: the host has failed)
//                  kSandbox      text: why the inside could not be made
//                  kEnded        id, value = wait status
//                  kReady        the inside is made (told only if a restore is to follow)
//                  kCriuEnded    value = wait status, text: why CRIU was not run
//   agent → init   kRun          id > 0, text = proto::ExecRequest, three descriptors
//                  kSignal       id, value = signal; to the program (id 0) alone, or to
//                                an exec session's process group
//                  kCriu         text = proto::CriuOrder, its descriptors
//
// The program has id 0; exec sessions have theirs from the agent. A program that is
// to be restored is not started: a kCriu starts it, and it becomes our child when
// CRIU, which is ours, has ended (kStarted then instead of kCriuEnded).

#ifndef IM_ORCHESTRATOR_AGENT_SANDBOX_INIT_H_
#define IM_ORCHESTRATOR_AGENT_SANDBOX_INIT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/agent.pb.h"

namespace im::agent {

struct InitMessage {
  enum class Kind : uint32_t {
    kDescriptor,
    kStarted,
    kNotStarted,
    kSandbox,
    kEnded,
    kRun,
    kSignal,
    kReady,
    kCriu,
    kCriuEnded
  };
  Kind kind;
  uint32_t id = 0;
  int32_t value = 0;

  // The bytes of one message, and back.
  std::string Encode(absl::string_view text = {}) const;
  static std::optional<InitMessage> Decode(absl::string_view bytes, absl::string_view& text);
};

// The descriptors of a kCriu, in CRIU: this one, the next, …
inline constexpr int kCriuFirstFd = 10;

struct InitOptions {
  proto::StartRequest* request = nullptr;
  bool namespaces = true;
  int socket = -1;  // to the agent
  // -1: the agent's own are inherited, and its session and process group.
  std::array<int, 3> stdio = {-1, -1, -1};
  int cgroup_fd = -1;
  std::vector<int> cgroup_joins;
  int thaw_fd = -1;                             // Cgroup::thaw_fd
  std::vector<std::string> cgroup_directories;  // Cgroup::directories
};

// What the init process does after clone(2), in new PID, mount, UTS and IPC
// namespaces if it has any. All descriptors but those of `options` are closed.
[[noreturn]] void RunInit(const InitOptions& options);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_SANDBOX_INIT_H_
