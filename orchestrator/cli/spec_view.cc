#include "orchestrator/cli/spec_view.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"

namespace im::orchestrator::cli {
namespace {

// More do not fit on a screen; `im ps` shows them.
constexpr size_t kHostsShownMax = 20;

std::string Count(size_t n, absl::string_view noun) {
  return absl::StrCat(n, " ", noun, n == 1 ? "" : "s");
}

}  // namespace

void PrintDiagnostics(const ParsedClusterSpec& parsed) {
  std::string text;
  for (const Diagnostic& d : parsed.errors) absl::StrAppend(&text, d.ToString(), "\n");
  for (const Diagnostic& d : parsed.warnings) {
    absl::StrAppend(&text, Diagnostic{d.file, d.at, absl::StrCat("warning: ", d.message), d.hint}
                               .ToString(),
                    "\n");
  }
  if (!parsed.errors.empty()) {
    absl::StrAppend(&text, "im: ", Count(parsed.errors.size(), "error"), "\n");
  }
  std::fputs(text.c_str(), stderr);
}

std::string SpecSummary(const ClusterSpec& spec, const Terminal& terminal) {
  std::string text =
      absl::StrCat(terminal.Paint(spec.name, Colour::kBold), ": ",
                   Count(spec.hosts.size(), "host"), " in ", spec.network.ToString(),
                   spec.dual_stack.on()
                       ? absl::StrCat(" and ", spec.dual_stack.network().ToString())
                       : "",
                   "\n");
  size_t name_width = 0;
  size_t address_width = 0;
  for (const HostSpec& host : spec.hosts) {
    name_width = std::max(name_width, host.name.size());
    address_width = std::max(address_width, host.address.ToString().size());
  }
  const auto pad = [](std::string cell, size_t width) {
    cell.resize(std::max(width, cell.size()), ' ');
    return cell;
  };
  for (size_t i = 0; i < spec.hosts.size(); ++i) {
    if (i == kHostsShownMax) {
      absl::StrAppend(&text, terminal.Plain("  … and "), spec.hosts.size() - i, " more\n");
      break;
    }
    const HostSpec& host = spec.hosts[i];
    const bool netstack = host.attach == AttachMode::kNetstack;
    const bool last_cell = host.ports.empty() && !netstack;
    const std::string address = host.address.ToString();
    absl::StrAppend(&text, "  ", pad(host.name, name_width), "  ",
                    last_cell ? address : pad(address, address_width));
    if (netstack) absl::StrAppend(&text, "  netstack");
    for (const PublishedPort& port : host.ports) {
      absl::StrAppend(&text, "  ", terminal.Paint(port.listen.ToString(), Colour::kCyan),
                      terminal.Plain(" → :"), port.target);
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

}  // namespace im::orchestrator::cli
