#include "bench/process_figures.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/process.h"

namespace im::bench {

namespace {

// Of all threads that live, in nanoseconds; nothing if the kernel does not tell.
std::optional<double> ScheduledSeconds(pid_t pid) {
  double sum_s = 0;
  std::error_code error;
  for (const auto& task :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/task"), error)) {
    double nanoseconds = 0;
    if (!(std::ifstream(task.path() / "schedstat") >> nanoseconds)) return std::nullopt;
    sum_s += nanoseconds / 1e9;
  }
  return sum_s;
}

}  // namespace

double CpuSecondsOf(pid_t pid) {
  // proc(5)'s ticks are too long for what takes a few milliseconds.
  if (const auto sum_s = ScheduledSeconds(pid)) return *sum_s;
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  // Behind the name: state, then ten fields, then utime and stime (proc(5)).
  const std::string stat = text.str();
  const size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return 0;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(name_end + 2), ' ');
  if (fields.size() <= 12) return 0;
  return (std::stod(fields[11]) + std::stod(fields[12])) /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

double ResidentMegabytesOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/statm"));
  double all = 0, resident = 0;
  if (!(file >> all >> resident)) return 0;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

double MachineCpuSeconds() {
  // proc(5): user nice system idle iowait irq softirq steal, in ticks.
  std::ifstream file("/proc/stat");
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, softirq = 0;
  file >> name >> user >> nice >> system >> idle >> waiting >> irq >> softirq;
  return (user + nice + system + irq + softirq) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

absl::Status Await(const std::string& what, const std::function<bool()>& condition) {
  constexpr int kAttemptsMax = 10'000;
  for (int i = 0; i < kAttemptsMax; ++i) {
    if (condition()) return absl::OkStatus();
    usleep(1000);
  }
  return absl::DeadlineExceededError(absl::StrCat(what, " did not appear"));
}

std::vector<std::string> InNamespaceOf(pid_t pid, const std::vector<std::string>& argv) {
  std::vector<std::string> all = {"nsenter", "-t", absl::StrCat(pid), "-n"};
  all.insert(all.end(), argv.begin(), argv.end());
  return all;
}

bool IsInstalled(const std::string& program) {
  return RunCommand({"sh", "-c", "command -v -- \"$0\"", program}).ok();
}

absl::StatusOr<std::string> FirstLine(const std::string& shell_command) {
  IM_ASSIGN_OR_RETURN(const std::string text, RunCommand({"sh", "-c", shell_command}));
  return text.substr(0, text.find('\n'));
}

}  // namespace im::bench
