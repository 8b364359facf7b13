#include "base/run_queue.h"

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace im {
namespace {

// Of how much a look changes the mean.
constexpr double kWeight = 1.0 / 8;

// The first number of "0.20 0.18 0.12 3/80 11206"'s fourth field; -1: it is another file.
int RunningTasks(absl::string_view text) {
  const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ');
  int running = -1;
  if (fields.size() < 4 || !absl::SimpleAtoi(fields[3].substr(0, fields[3].find('/')), &running))
    return -1;
  return running;
}

int OnlineProcessors() {
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int>(online) : 1;
}

}  // namespace

RunQueue::RunQueue(const std::string& loadavg, int processors)
    : file_(open(loadavg.c_str(), O_RDONLY | O_CLOEXEC)),
      crowd_(kCrowd * (processors > 0 ? processors : OnlineProcessors())),
      looked_(Instant() - kInterval) {}

bool RunQueue::IsCrowded(Instant now) {
  if (now - looked_ >= kInterval && file_.valid()) {
    looked_ = now;
    Look();
  }
  return mean_ > crowd_;
}

void RunQueue::Look() {
  char text[128];
  const ssize_t n = pread(file_.get(), text, sizeof(text), 0);
  const int running = n <= 0 ? -1 : RunningTasks({text, static_cast<size_t>(n)});
  if (running >= 0) mean_ += (running - mean_) * kWeight;
}

}  // namespace im
