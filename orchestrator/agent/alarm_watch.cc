#include "orchestrator/agent/alarm_watch.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

uint64_t Bit(int signal) { return uint64_t{1} << (signal - 1); }

}  // namespace

std::optional<SignalState> ParseSignalState(absl::string_view status) {
  SignalState state;
  bool complete = false;
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    uint64_t set = 0;
    if (absl::ConsumePrefix(&line, "Name:\t")) {
      state.name = PrintableName(line);
    } else if (absl::ConsumePrefix(&line, "SigPnd:\t") ||
               absl::ConsumePrefix(&line, "ShdPnd:\t")) {
      if (!absl::SimpleHexAtoi(line, &set)) return std::nullopt;
      state.pending |= set;
    } else if (absl::ConsumePrefix(&line, "SigCgt:\t")) {
      complete = absl::SimpleHexAtoi(line, &state.handled);
    }
  }
  return complete ? std::optional(state) : std::nullopt;
}

uint64_t ParseTimerSignals(absl::string_view timers) {
  uint64_t signals = 0;
  for (absl::string_view line : absl::StrSplit(timers, '\n')) {
    // "signal: 14/000055d0c0000000"; 0 with SIGEV_NONE.
    int signal = 0;
    if (!absl::ConsumePrefix(&line, "signal: ")) continue;
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(line, '/');
    if (absl::SimpleAtoi(parts.first, &signal) && signal > 0 && signal <= 64)
      signals |= Bit(signal);
  }
  return signals;
}

void AlarmWatch::OnPaused(Instant now, std::vector<Suspect> suspects) {
  suspects_ = std::move(suspects);
  paused_at_ = now;
  rang_ = false;
  next_look_ = suspects_.empty() || given_up() ? kNever : now + kLookMin;
}

void AlarmWatch::OnThawed(bool used) {
  next_look_ = kNever;
  if (used) ticks_ = fruitless_ = 0;
}

std::optional<std::string> AlarmWatch::OnLook(Instant now, const std::vector<uint64_t>& pending) {
  for (size_t i = 0; i < suspects_.size() && i < pending.size(); ++i) {
    const Suspect& suspect = suspects_[i];
    if ((pending[i] & suspect.signals & ~suspect.pending) == 0) continue;
    rang_ = true;
    ticks_ = now - paused_at_ <= policy_.tick_max ? ticks_ + 1 : 0;
    return suspect.name;
  }
  next_look_ = now + std::clamp<Duration>((now - paused_at_) / kPausedPerLook, kLookMin, kLookMax);
  return std::nullopt;
}

void AlarmWatch::OnJudged(bool worked) {
  if (!std::exchange(rang_, false)) return;
  fruitless_ = worked || policy_.all ? 0 : fruitless_ + 1;
}

std::vector<AlarmWatch::Suspect> FindSuspects(const std::vector<pid_t>& processes) {
  std::vector<AlarmWatch::Suspect> suspects;
  for (const pid_t pid : processes) {
    const std::string directory = absl::StrCat("/proc/", pid);
    const std::optional<SignalState> state =
        ParseSignalState(ReadSmallFile(directory + "/status"));
    if (!state) continue;
    const uint64_t signals = (state->handled & Bit(SIGALRM)) |
                             ParseTimerSignals(ReadSmallFile(directory + "/timers"));
    if (signals != 0)
      suspects.push_back({pid, signals, state->pending & signals, state->name});
  }
  return suspects;
}

std::vector<uint64_t> PendingSignals(const std::vector<AlarmWatch::Suspect>& suspects) {
  std::vector<uint64_t> pending;
  for (const AlarmWatch::Suspect& suspect : suspects) {
    const std::optional<SignalState> state =
        ParseSignalState(ReadSmallFile(absl::StrCat("/proc/", suspect.pid, "/status")));
    pending.push_back(state ? state->pending : 0);
  }
  return pending;
}

}  // namespace im::agent
