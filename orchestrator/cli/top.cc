// im top: the hosts as they are, again and again.

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/host_poller.h"
#include "orchestrator/cli/keys.h"
#include "orchestrator/cli/screen.h"
#include "orchestrator/cli/signal_relay.h"
#include "orchestrator/cli/top_view.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

// A single escape is a key if nothing follows it for so long.
constexpr auto kEscapeWait = std::chrono::milliseconds(50);

struct TopOptions {
  std::string sort = "file";
  bool reversed = false;
  bool all = false;
  bool once = false;
  bool json = false;
  uint64_t frames = 0;  // 0: without end
  std::string interval = "1s";
};

class Top {
 public:
  Top(const Context& context, const TopOptions& options, Duration interval)
      : terminal_(context.terminal),
        json_(options.json),
        interval_(interval),
        // The first look alone knows no rates.
        frames_left_(options.once ? 2 : options.frames),
        skip_first_(options.once),
        view_(*TopOrderOf(options.sort), options.reversed, options.all) {}

  // To be called before any thread is there.
  void BlockSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT}) {
      if (!SignalIsIgnored(signal)) sigaddset(&set, signal);
    }
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signals_ = FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  int Run(Client& client, bool on_screen) {
    on_screen_ = on_screen;
    if (on_screen_) {
      if (const absl::Status entered = screen_.Enter(); !entered.ok()) return Fail(entered);
    }
    HostPoller poller(client);
    Instant ask_at = clock_.Now();
    while (!done_) {
      const Instant now = clock_.Now();
      if (ask_at <= now) {
        poller.Ask(view_.all());
        ask_at = now + interval_;
      }
      Duration wait = ask_at - now;
      if (keys_.waiting()) wait = std::min<Duration>(wait, kEscapeWait);
      Wait(poller, wait);
      if (ask_again_) ask_at = clock_.Now();
      ask_again_ = false;
    }
    screen_.Leave();
    if (!farewell_.ok()) return Fail(farewell_);
    if (ended_) PrintError("the cluster has ended");
    return kExitOk;
  }

 private:
  void Wait(HostPoller& poller, Duration wait) {
    pollfd entries[3] = {{poller.fd(), POLLIN, 0},
                         {on_screen_ ? STDIN_FILENO : -1, POLLIN, 0},
                         {on_screen_ ? signals_.get() : -1, POLLIN, 0}};
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    const int n = poll(entries, 3, static_cast<int>(std::clamp<int64_t>(ms, 0, 60'000)));
    if (n < 0) return;
    if (n == 0) Press(keys_.Flush());
    if (entries[2].revents != 0) TakeSignals();
    if (entries[1].revents != 0) TakeKeys(entries[1].revents);
    if (entries[0].revents != 0 && !done_) TakeAnswer(poller);
  }

  void TakeAnswer(HostPoller& poller) {
    auto answer = poller.Take();
    if (!answer) return;
    if (!answer->ok()) {
      if (absl::IsUnavailable(answer->status())) {
        ended_ = done_ = true;
      } else if (on_screen_) {
        view_.SetTrouble(std::string(answer->status().message()));
        Draw();
      } else {
        farewell_ = answer->status();
        done_ = true;
      }
      return;
    }
    view_.Update((*answer)->cluster, std::move((*answer)->hosts), clock_.Now());
    if (!std::exchange(skip_first_, false)) Draw();
    if (frames_left_ > 0 && --frames_left_ == 0) done_ = true;
  }

  void Draw() {
    if (on_screen_) {
      const ScreenSize size = Screen::Size();
      screen_.Draw(view_.Lines(size, terminal_), size);
      return;
    }
    const std::string text =
        json_ ? absl::StrCat(view_.Json(clock_.UnixNanos()), "\n") : view_.Text(terminal_);
    if (!json_ && drawn_++ > 0) std::fputs("\n", stdout);
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  }

  void TakeKeys(short events) {
    char buffer[256];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof(buffer));
    if (n > 0) {
      Press(keys_.Feed({buffer, static_cast<size_t>(n)}));
    } else if ((events & (POLLHUP | POLLERR)) != 0) {
      done_ = true;  // the terminal is gone
    }
  }

  void Press(const std::vector<Key>& keys) {
    for (const Key& key : keys) {
      switch (view_.OnKey(key, Screen::Size())) {
        case TopView::Reaction::kNone: continue;
        case TopView::Reaction::kQuit: done_ = true; return;
        case TopView::Reaction::kAskAgain: ask_again_ = true; break;
        case TopView::Reaction::kRedraw: break;
      }
    }
    if (!keys.empty()) Draw();
  }

  void TakeSignals() {
    signalfd_siginfo info{};
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      switch (info.ssi_signo) {
        case SIGWINCH:
          Draw();
          break;
        case SIGTSTP:
          screen_.Leave();
          raise(SIGSTOP);
          [[fallthrough]];
        case SIGCONT:
          if (screen_.Enter().ok()) Draw();
          break;
        default:
          done_ = true;
          return;
      }
    }
  }

  const Terminal terminal_;
  const bool json_;
  const Duration interval_;
  uint64_t frames_left_;  // 0: without end
  bool skip_first_;
  RealClock clock_;
  Screen screen_;
  KeyDecoder keys_;
  TopView view_;
  FileDescriptor signals_;
  bool on_screen_ = false;
  bool done_ = false;
  bool ended_ = false;
  bool ask_again_ = false;
  size_t drawn_ = 0;
  absl::Status farewell_;
};

int Run(const Context& context, const TopOptions& options) {
  const std::optional<Duration> interval = ParseDuration(options.interval);
  if (!interval || *interval < std::chrono::milliseconds(100)) {
    PrintError(absl::StrCat("--interval ", options.interval,
                            ": expected a duration of at least 100ms, such as 1s"));
    return kExitBadInput;
  }
  const bool on_screen = !options.once && !options.json && isatty(STDIN_FILENO) == 1 &&
                         isatty(STDOUT_FILENO) == 1;
  Top top(context, options, *interval);
  if (on_screen) top.BlockSignals();
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  return top.Run(*client, on_screen);
}

}  // namespace

void AddTop(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "top", "Watch the hosts: state, CPU, memory, traffic, when they pause, why they are up");
  auto options = std::make_shared<TopOptions>();
  verb->add_option("--sort", options->sort,
                   "The order; default: file, as in cluster.yaml")
      ->check(CLI::IsMember({"file", "name", "state", "cpu", "memory", "in", "out", "next"}));
  verb->add_flag("-r,--reverse", options->reversed, "The other way round");
  verb->add_flag("-a,--all", options->all, "Hosts without an instance, too");
  verb->add_option("--interval", options->interval, "Between two looks; default 1s");
  verb->add_option("-n,--frames", options->frames, "End after so many; 0: go on")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--once", options->once, "Print one frame and end, after an interval to measure in");
  verb->add_flag("--json", options->json, "As JSON, one object a frame in a line");
  verb->footer(
      "Keys: q quit; up, down, page up and down, home, end: choose a host; left, right: sort\n"
      "by another column; r: reverse; a: all hosts, or those that are up; space: look now.\n"
      "CPU is of one core. Where the output is no terminal, frames follow one another.");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
