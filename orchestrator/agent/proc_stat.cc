#include "orchestrator/agent/proc_stat.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/file_descriptor.h"

namespace im::agent {
namespace {

// Indices behind the name, of proc_pid_stat(5): state is field 3.
constexpr size_t kState = 0;
constexpr size_t kParent = 1;
constexpr size_t kChildrenFaults = 8;
constexpr size_t kUserTime = 11;
constexpr size_t kSystemTime = 12;
constexpr size_t kResidentPages = 21;

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};
using Directory = std::unique_ptr<DIR, CloseDir>;

// 127.0.0.0/8 or ::1 in the form of /proc/net/tcp: words of the machine's byte
// order in hexadecimal.
bool IsLoopback(absl::string_view address) {
  if (address.size() == 8) return address.substr(6) == "7F";
  return address == "00000000000000000000000001000000" ||
         (absl::StartsWith(address, "0000000000000000FFFF0000") && address.substr(30) == "7F");
}

}  // namespace

std::string PrintableName(absl::string_view name) {
  std::string text(name);
  for (char& c : text)
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  return text;
}

std::vector<pid_t> NumbersIn(const std::string& path) {
  std::vector<pid_t> numbers;
  Directory dir(opendir(path.c_str()));
  if (dir == nullptr) return numbers;
  while (const dirent* entry = readdir(dir.get())) {
    pid_t number = 0;
    if (absl::SimpleAtoi(entry->d_name, &number)) numbers.push_back(number);
  }
  return numbers;
}

std::string ReadSmallFile(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (!fd.valid()) return text;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = read(fd.get(), buffer, sizeof(buffer))) > 0) text.append(buffer, n);
  return text;
}

std::optional<ProcStat> ParseProcStat(absl::string_view text) {
  // The name may contain anything, also ") (": the last parenthesis ends it.
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == absl::string_view::npos || close == absl::string_view::npos || close < open)
    return std::nullopt;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text.substr(close + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  if (fields.size() <= kResidentPages || fields[kState].size() != 1) return std::nullopt;
  ProcStat stat;
  stat.name = std::string(text.substr(open + 1, close - open - 1));
  stat.state = fields[kState][0];
  uint64_t user = 0, system = 0, pages = 0;
  if (!absl::SimpleAtoi(fields[kParent], &stat.parent) ||
      !absl::SimpleAtoi(fields[kChildrenFaults], &stat.children_faults) ||
      !absl::SimpleAtoi(fields[kUserTime], &user) ||
      !absl::SimpleAtoi(fields[kSystemTime], &system) ||
      !absl::SimpleAtoi(fields[kResidentPages], &pages))
    return std::nullopt;
  static const int64_t ticks = sysconf(_SC_CLK_TCK);
  static const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  stat.cpu = Duration(static_cast<int64_t>(user + system) * (1'000'000'000 / ticks));
  stat.resident_bytes = pages * page_bytes;
  return stat;
}

std::optional<ProcStat> ReadProcStat(pid_t pid) {
  return ParseProcStat(ReadSmallFile(absl::StrCat("/proc/", pid, "/stat")));
}

TaskCounts CountTasks(const std::vector<pid_t>& processes) {
  TaskCounts counts;
  for (pid_t process : processes) {
    const std::string tasks = absl::StrCat("/proc/", process, "/task");
    for (pid_t task : NumbersIn(tasks)) {
      const auto stat = ParseProcStat(ReadSmallFile(absl::StrCat(tasks, "/", task, "/stat")));
      if (!stat || (stat->state != 'R' && stat->state != 'D')) continue;
      ++(stat->state == 'R' ? counts.running : counts.disk_wait);
      counts.name = stat->name;
    }
  }
  return counts;
}

std::vector<pid_t> Descendants(pid_t root) {
  absl::flat_hash_map<pid_t, std::vector<pid_t>> children;
  for (pid_t pid : NumbersIn("/proc"))
    if (const auto stat = ReadProcStat(pid)) children[stat->parent].push_back(pid);
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    auto of = children.find(found[i]);
    if (of == children.end()) continue;
    for (pid_t child : of->second) found.push_back(child);
  }
  found.erase(found.begin());
  return found;
}

int CountEstablished(absl::string_view proc_net_tcp) {
  int count = 0;
  for (absl::string_view line : absl::StrSplit(proc_net_tcp, '\n')) {
    // "  0: 0300004D:1F90 0900004D:9C40 01 …": slot, local, remote, state.
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::MaxSplits(absl::ByAnyChar(" "), 40), absl::SkipEmpty());
    if (fields.size() < 4 || fields[3] != "01") continue;
    const std::pair<absl::string_view, absl::string_view> remote = absl::StrSplit(fields[2], ':');
    if (!IsLoopback(remote.first)) ++count;
  }
  return count;
}

bool ListensOutside(absl::string_view proc_net, SocketKind kind, uint16_t port) {
  // TCP_LISTEN; TCP_CLOSE, of a socket of UDP that is not connected.
  const absl::string_view state = kind == SocketKind::kTcp ? "0A" : "07";
  for (absl::string_view line : absl::StrSplit(proc_net, '\n')) {
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::MaxSplits(absl::ByAnyChar(" "), 40), absl::SkipEmpty());
    if (fields.size() < 4 || fields[3] != state) continue;
    const std::pair<absl::string_view, absl::string_view> local = absl::StrSplit(fields[1], ':');
    if (local.second == absl::StrFormat("%04X", port) && !IsLoopback(local.first)) return true;
  }
  return false;
}

int CountConnections(pid_t process_in_namespace) {
  const std::string net = absl::StrCat("/proc/", process_in_namespace, "/net/");
  return CountEstablished(ReadSmallFile(net + "tcp")) + CountEstablished(ReadSmallFile(net + "tcp6"));
}

}  // namespace im::agent
