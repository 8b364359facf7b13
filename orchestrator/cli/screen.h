// Screen: the terminal as a full-screen program has it. While it is entered
// the terminal shows another screen without a cursor and gives every key at
// once; left, by whatever way, it is as it was before.
//
// The few escape sequences that are needed (xterm's alternate screen, ECMA-48's
// cursor and erase) are understood by every terminal of today, the Linux
// console, tmux and screen among them; ncurses would bring a data base of those
// that are not in use any more.

#ifndef IM_ORCHESTRATOR_CLI_SCREEN_H_
#define IM_ORCHESTRATOR_CLI_SCREEN_H_

#include <termios.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "orchestrator/cli/top_view.h"

namespace im::orchestrator::cli {

class Screen {
 public:
  Screen() = default;
  ~Screen() { Leave(); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // FailedPrecondition: stdin or stdout is not a terminal.
  absl::Status Enter();
  void Leave();

  // As it is now; 24 by 80 where the terminal does not say.
  static ScreenSize Size();
  // In one write, so that nothing flickers.
  void Draw(const std::vector<std::string>& lines, const ScreenSize& size);

 private:
  bool entered_ = false;
  termios before_{};
};

// What Draw writes.
std::string DrawingOf(const std::vector<std::string>& lines, const ScreenSize& size);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_SCREEN_H_
