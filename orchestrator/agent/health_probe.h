// HealthProbe: runs a host's healthcheck in it, as an exec session that no client has.
//
// The user, environment and working directory are the program's. Of its output the end is
// kept, for people: what a test has to say of a failure it says last.

#ifndef IM_ORCHESTRATOR_AGENT_HEALTH_PROBE_H_
#define IM_ORCHESTRATOR_AGENT_HEALTH_PROBE_H_

#include <cstdint>
#include <string>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/sandbox.h"
#include "proto/agent.pb.h"

namespace im::agent {

class HealthProbe {
 public:
  // ExecServer counts its own from 1.
  static constexpr uint32_t kSession = UINT32_MAX;
  // Of the output's end, in bytes.
  static constexpr size_t kOutputMax = 200;

  // `check` must outlive it.
  explicit HealthProbe(const proto::Healthcheck& check) : check_(check) {}

  // The end is told to the sandbox's delegate, for session kSession. `loop` and `sandbox`
  // must live until then.
  absl::Status Run(EventLoop& loop, Sandbox& sandbox);
  // Why it failed, in words, after its end; empty: it did not. As of
  // Sandbox::Delegate::OnSessionEnded.
  std::string OnEnded(int wait_status, const std::string& error);

 private:
  void Read();

  const proto::Healthcheck& check_;
  FileDescriptor output_;
  EventLoop::Watch watch_;
  std::string end_;  // of the output
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_HEALTH_PROBE_H_
