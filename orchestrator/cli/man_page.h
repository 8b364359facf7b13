// Manual pages (man(7)), out of the same tree of verbs and options that --help
// is made from: im(1), and im-VERB(1) for each verb.

#ifndef IM_ORCHESTRATOR_CLI_MAN_PAGE_H_
#define IM_ORCHESTRATOR_CLI_MAN_PAGE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace im::orchestrator::cli {

struct ManPage {
  std::string name;  // "im-ps.1"
  std::string text;
};

std::vector<ManPage> ManPages(const CLI::App& app, absl::string_view version);

// Text as man(7) prints it unchanged.
std::string ManEscape(absl::string_view text);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_MAN_PAGE_H_
