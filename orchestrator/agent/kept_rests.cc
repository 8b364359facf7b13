#include "orchestrator/agent/kept_rests.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/log.h"
#include "orchestrator/agent/checkpoint_checks.h"
#include "orchestrator/agent/criu_images.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/task_wait.h"
#include "orchestrator/agent/timer_probe.h"

namespace im::agent {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint32_t kPresent = 4;  // flag PE_PRESENT of a pagemap entry: it has pages

struct Place {
  std::string file;
  uint64_t offset = 0;
};

// Where the image has `size` bytes of the process's memory; nullopt: it has not.
std::optional<Place> FindMemory(const std::string& directory, uint32_t process, uint64_t address,
                                uint64_t size) {
  const std::string image = ReadSmallFile(absl::StrCat(directory, "/pagemap-", process, ".img"));
  const std::vector<absl::string_view> messages = ImageMessages(image);
  proto::CriuPagemapHead head;
  if (messages.empty() ||
      !head.ParseFromArray(messages[0].data(), static_cast<int>(messages[0].size())))
    return std::nullopt;
  uint64_t offset = 0;
  for (size_t i = 1; i < messages.size(); ++i) {
    proto::CriuPagemapEntry entry;
    if (!entry.ParseFromArray(messages[i].data(), static_cast<int>(messages[i].size())))
      return std::nullopt;
    const uint64_t pages = entry.nr_pages() != 0 ? entry.nr_pages() : entry.compat_nr_pages();
    const bool present =
        entry.has_flags() ? (entry.flags() & kPresent) != 0 : !entry.in_parent();
    const uint64_t bytes = pages * kPageBytes;
    if (address >= entry.vaddr() && address + size <= entry.vaddr() + bytes) {
      if (!present) return std::nullopt;
      return Place{absl::StrCat(directory, "/pages-", head.pages_id(), ".img"),
                   offset + (address - entry.vaddr())};
    }
    if (present) offset += bytes;
  }
  return std::nullopt;
}

bool Shorten(const std::string& directory, const proto::KeptRest& rest, Duration away) {
  const std::optional<Place> place =
      FindMemory(directory, rest.process(), rest.address(), sizeof(TaskTime));
  if (!place || rest.unit_ns() <= 0) return false;
  const FileDescriptor fd(open(place->file.c_str(), O_RDWR | O_CLOEXEC));
  TaskTime time;
  const auto at = static_cast<off_t>(place->offset);
  if (!fd.valid() || pread(fd.get(), &time, sizeof(time), at) != sizeof(time)) return false;
  const std::optional<Duration> before = time.Length(rest.unit_ns());
  if (!before) return false;
  time = TaskTime::Of(std::max(*before - away, Duration(0)), rest.unit_ns());
  return pwrite(fd.get(), &time, sizeof(time), at) == sizeof(time);
}

}  // namespace

std::vector<proto::KeptRest> RestsToKeep(const std::vector<pid_t>& processes) {
  std::vector<proto::KeptRest> kept;
  for (const FrozenRest& rest : LookAtTimers(processes, /*with_fds=*/false).rests) {
    proto::KeptRest& one = kept.emplace_back();
    one.set_process(InnerNumberOf(rest.process));
    one.set_address(rest.address);
    one.set_unit_ns(rest.unit_ns);
  }
  return kept;
}

void ShortenKeptRests(const std::string& directory,
                      const google::protobuf::RepeatedPtrField<proto::KeptRest>& rests,
                      Duration away) {
  for (const proto::KeptRest& rest : rests) {
    if (!Shorten(directory, rest, away))
      IM_LOG(kWarning, "process ", rest.process(), " waits longer, by the time on disk");
  }
}

}  // namespace im::agent
