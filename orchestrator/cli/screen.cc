#include "orchestrator/cli/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace im::orchestrator::cli {
namespace {

constexpr char kEnter[] = "\x1b[?1049h\x1b[?25l";  // alternate screen, no cursor
constexpr char kLeave[] = "\x1b[?25h\x1b[?1049l";
constexpr char kTopLeft[] = "\x1b[H";
// Before a line is written: behind one that fills the row, terminals would take
// its last character away.
constexpr char kEraseLine[] = "\x1b[2K";
constexpr char kEraseBelow[] = "\x1b[J";

void Write(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // a terminal that went away is noticed by its SIGHUP
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

absl::Status Screen::Enter() {
  if (entered_) return absl::OkStatus();
  if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1) {
    return absl::FailedPreconditionError("this is not a terminal");
  }
  if (tcgetattr(STDIN_FILENO, &before_) < 0) return ErrnoStatus("read the terminal's settings");
  termios raw = before_;
  // Keys as they come and unseen. Ctrl-C and Ctrl-Z stay signals.
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0) return ErrnoStatus("set the terminal up");
  entered_ = true;
  Write(kEnter);
  return absl::OkStatus();
}

void Screen::Leave() {
  if (!entered_) return;
  entered_ = false;
  Write(kLeave);
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

ScreenSize Screen::Size() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) {
    return ScreenSize();
  }
  return {size.ws_row, size.ws_col};
}

std::string DrawingOf(const std::vector<std::string>& lines, const ScreenSize& size) {
  std::string out = kTopLeft;
  const size_t rows = std::min(lines.size(), size.rows);
  for (size_t i = 0; i < rows; ++i) {
    // No line break behind the last row, which would scroll.
    absl::StrAppend(&out, i == 0 ? "" : "\r\n", kEraseLine, lines[i]);
  }
  if (rows < size.rows) absl::StrAppend(&out, rows == 0 ? "" : "\r\n", kEraseBelow);
  return out;
}

void Screen::Draw(const std::vector<std::string>& lines, const ScreenSize& size) {
  Write(DrawingOf(lines, size));
}

}  // namespace im::orchestrator::cli
