// Store: imd's state on disk, one file that is replaced as a whole
// (checked_file.h): "IMS1" and a proto::SavedState.
//
// There is no fsync: the state is worth nothing after a reboot (its instances are
// gone), and a wake must not wait for a disk.

#ifndef IM_ORCHESTRATOR_STORE_H_
#define IM_ORCHESTRATOR_STORE_H_

#include <optional>
#include <string>

#include "base/status.h"
#include "proto/state.pb.h"

namespace im::orchestrator {

inline constexpr uint32_t kStateFormat = 1;
// Largest file that is read, in bytes: 100,000 instances.
inline constexpr size_t kStateBytesMax = 32 << 20;

class Store {
 public:
  explicit Store(std::string path) : path_(std::move(path)) {}

  // nullopt: there is none. An error says what is wrong with the file and what
  // to do about it.
  absl::StatusOr<std::optional<proto::SavedState>> Load() const;
  // The file is mode 0600: it holds the gateway's key.
  absl::Status Save(const proto::SavedState& state) const;
  absl::Status Remove() const;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_STORE_H_
