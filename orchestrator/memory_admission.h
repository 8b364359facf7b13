// MemoryAdmission: whether a host may be started into the memory that is there.
//
// A host needs the most that its instances were seen to use, at most its
// mem_limit; before it ever ran, its mem_limit, or kNeedUnknown without one. It
// may start if the machine's available memory, less what is kept free and what
// starts of the last kSettle were promised (they have not taken it yet), is as
// much. Who may not waits and asks again: activator.h.
//
// Where available memory cannot be read nobody waits. Nor does a host that is
// thawed: its memory is its own already.
//
// The source is an argument, and so is the time. Single-threaded.

#ifndef IM_ORCHESTRATOR_MEMORY_ADMISSION_H_
#define IM_ORCHESTRATOR_MEMORY_ADMISSION_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "orchestrator/host.h"

namespace im::orchestrator {

class MemoryAdmission {
 public:
  // A small server and its agent.
  static constexpr uint64_t kNeedUnknown = 16 << 20;
  // From the start until a program's memory shows in what is available.
  static constexpr Duration kSettle = std::chrono::seconds(2);
  // A reading is used for so long: in a storm of starts one is not made for each.
  static constexpr Duration kReadingMax = std::chrono::milliseconds(100);

  // In bytes; nullopt: it cannot be known.
  using Available = std::function<std::optional<uint64_t>()>;

  MemoryAdmission(uint64_t keep_free_bytes, Available available)
      : keep_free_bytes_(keep_free_bytes), available_(std::move(available)) {}

  // 0: none.
  void SetLimit(HostId host, uint64_t mem_limit_bytes);
  // What an instance of the host uses now.
  void OnUse(HostId host, uint64_t bytes);

  uint64_t NeedOf(HostId host) const;
  // nullopt: it may, and is taken to do so. Else why not, for people.
  std::optional<std::string> Start(HostId host, Instant now);

 private:
  struct Promise {
    Instant until;
    uint64_t bytes;
  };

  const uint64_t keep_free_bytes_;
  const Available available_;
  absl::flat_hash_map<HostId, uint64_t> limits_;  // of hosts that have one
  absl::flat_hash_map<HostId, uint64_t> seen_;    // the most, of hosts that ran
  std::optional<uint64_t> reading_;
  Instant read_at_;
  bool read_ = false;
  std::deque<Promise> promises_;  // by time
  uint64_t promised_ = 0;         // their sum
};

// MemAvailable of a text as in /proc/meminfo.
std::optional<uint64_t> ParseMemAvailable(const std::string& meminfo);
// This machine's.
std::optional<uint64_t> ReadMemAvailable();

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_MEMORY_ADMISSION_H_
