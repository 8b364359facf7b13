// DashboardToken: who shows it may wake and release hosts by the page; without
// it one may only look.
//
// It is a file in the state directory, for the cluster's owner alone, and stays
// the same while the cluster is up, also for an imd that was restarted: an open
// page goes on.

#ifndef IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_TOKEN_H_
#define IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_TOKEN_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/random.h"

namespace im::orchestrator {

class DashboardToken {
 public:
  // Of 256 bits; what is in the file, or new.
  static absl::StatusOr<DashboardToken> Open(const std::string& path, std::optional<uid_t> owner,
                                             Random& random);

  const std::string& text() const { return text_; }
  // `authorization`: the header's value, "Bearer TOKEN". Takes the same time
  // wherever the two differ.
  bool Permits(absl::string_view authorization) const;

 private:
  explicit DashboardToken(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_TOKEN_H_
