// CheckpointStore: the checkpoints of a cluster's hosts on disk, as imd sees them.
//
//   DIRECTORY/HOST/       CRIU's images and the manifest (proto::CheckpointManifest)
//   DIRECTORY/HOST.new/   one that an agent is making
//   DIRECTORY/.trash-…    on its way out
//
// Agents make them and use them up (agent/checkpointer.h); the manifest alone says
// whether there is one, so what is on disk is the truth, also after any of us was
// killed. All are thrown away with the boot that they were made in, and with the
// command, environment, mounts or names that their processes were started with.
//
// They hold the memory of programs: only the directory's owner gets in.

#ifndef IM_ORCHESTRATOR_CHECKPOINT_STORE_H_
#define IM_ORCHESTRATOR_CHECKPOINT_STORE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

class CheckpointStore {
 public:
  // Empty: no host has a checkpoint.
  explicit CheckpointStore(std::string directory) : directory_(std::move(directory)) {}
  // Waits until what was removed is gone.
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  // Before an agent makes one.
  absl::Status MakeDirectory() const;
  std::string DirectoryOf(absl::string_view host) const;

  // nullopt: there is none that could be restored.
  std::optional<proto::CheckpointManifest> Read(absl::string_view host) const;
  // At once there is none; its files go beside us.
  void Remove(absl::string_view host) const;
  // What its agent was making and did not finish. Preconditions: it is at it no more.
  void RemoveUnfinished(absl::string_view host) const;

  // At the beginning of imd: what an earlier one did not finish to make or to remove. What
  // `host` is making is not touched if `keep(host)`. Preconditions: no Remove() before, whose
  // files it would take for an earlier one's; two that remove the same stop each other.
  void RemoveUnfinished(const std::function<bool(const std::string& host)>& keep) const;
  // Then: what is there of hosts, whole or not, in the order of their names. `host` may be of
  // no host of the cluster. Preconditions: names of hosts have no dots.
  void ForEach(const std::function<void(const std::string& host)>& visit) const;

 private:
  void Throw(const std::string& name) const;

  const std::string directory_;
  // Threads that remove.
  const std::shared_ptr<std::atomic<int>> removing_ = std::make_shared<std::atomic<int>>(0);
};

// Of what processes are started with. Other processes have another one.
std::string CheckpointFingerprint(const proto::StartRequest& request);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CHECKPOINT_STORE_H_
