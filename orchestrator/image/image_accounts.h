// Who the program of an image runs as: looked up in the image's own passwd and group.

#ifndef IM_ORCHESTRATOR_IMAGE_IMAGE_ACCOUNTS_H_
#define IM_ORCHESTRATOR_IMAGE_IMAGE_ACCOUNTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace im::orchestrator {

struct ImageAccount {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // further ones that it is a member of
  std::string home = "/";
};

// `user`: "name", "10", "name:group" or "10:10"; a group that is named takes the place of all
// others. NotFound names what the image does not have; numbers need not be there.
absl::StatusOr<ImageAccount> FindImageAccount(const std::string& tree, const std::string& user);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_IMAGE_ACCOUNTS_H_
