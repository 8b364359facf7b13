// UserNetwork: a namespace whose packets a program carries over ordinary
// sockets, as rootless containers have it. The client is inside, the server
// outside on loopback, where the program connects in the client's place:
//
//   client ── TAP, MTU 65,520 ── slirp4netns or pasta ── loopback ── server
//
// Nothing is encrypted.

#ifndef IM_BENCH_USER_NETWORK_H_
#define IM_BENCH_USER_NETWORK_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/namespace_pair.h"
#include "bench/scenario.h"

namespace im::bench {

class UserNetwork : public NamespacePair {
 public:
  // Names of the programs, as --peers has them.
  static const std::vector<std::string>& Programs();
  // `program`: one of these; `peer`: im-peer.
  static absl::StatusOr<std::unique_ptr<UserNetwork>> Up(const std::string& program,
                                                         const std::string& peer);
  ~UserNetwork() override;

 private:
  UserNetwork() = default;
  absl::StatusOr<std::vector<std::string>> Slirp4netns();
  absl::StatusOr<std::vector<std::string>> Pasta();

  std::string name_of_namespace_;  // a file, where the program wants one
};

}  // namespace im::bench

#endif  // IM_BENCH_USER_NETWORK_H_
