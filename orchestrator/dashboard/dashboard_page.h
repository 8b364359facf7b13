// DashboardPage: the files of the page, as they were built from web/ and became
// part of this program; see web/CMakeLists.txt.

#ifndef IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_PAGE_H_
#define IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_PAGE_H_

#include <span>

#include "absl/strings/string_view.h"

namespace im::orchestrator {

struct DashboardFile {
  absl::string_view path;  // "/dashboard.js"
  absl::string_view content_type;
  absl::string_view bytes;
};

// The page itself is "/".
std::span<const DashboardFile> DashboardFiles();

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_PAGE_H_
