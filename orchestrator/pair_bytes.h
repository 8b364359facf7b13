// PairBytes: how much went from one address to another since they were last
// taken. Costs nothing, and counts nothing, unless somebody looks.

#ifndef IM_ORCHESTRATOR_PAIR_BYTES_H_
#define IM_ORCHESTRATOR_PAIR_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/ip_address.h"

namespace im::orchestrator {

class PairBytes {
 public:
  using Pair = std::pair<IpAddress, IpAddress>;  // from, to
  using Map = absl::flat_hash_map<Pair, uint64_t>;

  // More between two looks are left out: nobody could tell them apart.
  static constexpr size_t kPairsMax = 2048;

  void SetWatched(bool watched) {
    watched_ = watched;
    if (!watched) bytes_ = Map();
  }
  void Add(const IpAddress& from, const IpAddress& to, uint64_t bytes) {
    if (!watched_) return;
    const auto it = bytes_.find(Pair(from, to));
    if (it != bytes_.end()) {
      it->second += bytes;
    } else if (bytes_.size() < kPairsMax) {
      bytes_.emplace(Pair(from, to), bytes);
    }
  }
  Map Take() { return std::exchange(bytes_, Map()); }

 private:
  bool watched_ = false;
  Map bytes_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PAIR_BYTES_H_
