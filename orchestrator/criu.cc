#include "orchestrator/criu.h"

#include <limits.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator {
namespace {

using Version = std::pair<int, int>;
// Older CRIU does not know all options of these kernels' sockets: its check passes, and
// its dump fails.
constexpr Version kNewSocketOptions{6, 16};
constexpr Version kCriuForThem{4, 2};

Version ParseVersion(const std::string& text) {
  Version version{0, 0};
  std::sscanf(text.c_str(), "%d.%d", &version.first, &version.second);
  return version;
}

struct Said {
  bool succeeded = false;
  std::string text;
};

// `path` comes from directories of programs and from $IM_CRIU; it is quoted for the shell.
Said Run(const std::string& path, const char* argument) {
  std::string quoted = "'";
  for (const char c : path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  const std::string command =
      absl::StrCat("timeout 10 ", quoted, "' ", argument, " 2>&1 < /dev/null");
  Said said;
  std::FILE* const pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) return said;
  char buffer[4096];
  size_t n = 0;
  while ((n = fread(buffer, 1, sizeof buffer, pipe)) > 0) said.text.append(buffer, n);
  said.succeeded = pclose(pipe) == 0;
  return said;
}

std::string LastLine(const std::string& text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  const size_t newline = trimmed.rfind('\n');
  return std::string(newline == absl::string_view::npos ? trimmed : trimmed.substr(newline + 1));
}

std::vector<std::string> Candidates() {
  if (const char* path = getenv("IM_CRIU"); path != nullptr && *path != '\0') return {path};
  std::vector<std::string> directories;
  char self[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  if (n > 0) {
    const std::string path(self, static_cast<size_t>(n));
    directories.push_back(path.substr(0, path.rfind('/')));
  }
  if (const char* path = getenv("PATH"); path != nullptr)
    for (absl::string_view directory : absl::StrSplit(path, ':', absl::SkipEmpty()))
      directories.push_back(std::string(directory));
  for (const char* directory : {"/usr/local/sbin", "/usr/sbin", "/sbin"})
    directories.push_back(directory);
  std::vector<std::string> candidates;
  for (const std::string& directory : directories) {
    std::string path = directory + "/criu";
    if (access(path.c_str(), X_OK) == 0) candidates.push_back(std::move(path));
  }
  return candidates;
}

}  // namespace

absl::StatusOr<std::string> FindCriu() {
  if (geteuid() != 0) return absl::FailedPreconditionError("only root can take processes to disk");
  utsname kernel{};
  uname(&kernel);
  std::string why = "CRIU is not installed";
  for (const std::string& path : Candidates()) {
    const std::string said = Run(path, "--version").text;
    const size_t at = said.find("Version: ");
    const std::string version =
        at == std::string::npos ? ""
                                : said.substr(at + 9, said.find('\n', at) - at - 9);
    if (ParseVersion(kernel.release) >= kNewSocketOptions && ParseVersion(version) < kCriuForThem) {
      why = absl::StrCat(path, " is version ", version.empty() ? "unknown" : version,
                         ", and Linux ", kernel.release, " needs 4.2");
      continue;
    }
    const Said check = Run(path, "check");
    if (check.succeeded) return path;
    why = absl::StrCat(path, " check: ", LastLine(check.text));
  }
  return absl::FailedPreconditionError(why);
}

}  // namespace im::orchestrator
