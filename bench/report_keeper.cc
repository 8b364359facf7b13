#include "bench/report_keeper.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace im::bench {
namespace {

// A place holds a line of JSON, and a line with the number of the report: what ends
// without that is not whole.
std::string TextOf(const Report& report, uint64_t number) {
  return absl::StrCat(ToJson(report).dump(), "\n", number, "\n");
}

std::string ReadAll(const FileDescriptor& file) {
  std::string text;
  char piece[64 << 10];
  while (true) {
    const ssize_t n = pread(file.get(), piece, sizeof(piece), static_cast<off_t>(text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(piece, static_cast<size_t>(n));
  }
}

}  // namespace

absl::StatusOr<ReportKeeper> ReportKeeper::Create() {
  ReportKeeper keeper;
  for (FileDescriptor& place : keeper.places_) {
    place = FileDescriptor(memfd_create("im-bench-report", MFD_CLOEXEC));
    if (!place.valid()) return ErrnoStatus("memfd_create");
  }
  return keeper;
}

absl::Status ReportKeeper::Keep(const Report& report) {
  const FileDescriptor& place = places_[++kept_ % places_.size()];
  if (ftruncate(place.get(), 0) != 0) return ErrnoStatus("ftruncate");
  const std::string text = TextOf(report, kept_);
  for (size_t done = 0; done < text.size();) {
    const ssize_t n =
        pwrite(place.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno != EINTR) return ErrnoStatus("a report is not kept");
    if (n > 0) done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

std::optional<Report> ReportKeeper::Last() const {
  uint64_t newest = 0;
  std::optional<Report> last;
  for (const FileDescriptor& place : places_) {
    const std::string text = ReadAll(place);
    const size_t end = text.find('\n');
    if (end == std::string::npos || text.back() != '\n') continue;
    uint64_t number = 0;
    if (!absl::SimpleAtoi(text.substr(end + 1), &number) || number <= newest) continue;
    auto report = ParseReport(text.substr(0, end));
    if (!report.ok()) continue;
    newest = number;
    last = *std::move(report);
  }
  return last;
}

}  // namespace im::bench
