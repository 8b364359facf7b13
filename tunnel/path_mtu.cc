#include "tunnel/path_mtu.h"

#include <algorithm>

#include "base/big_endian.h"

namespace im::tunnel {
namespace {

constexpr uint8_t kProbeType = 1;
constexpr uint8_t kAnswerType = 2;

// Smaller packets say nothing about the path, and need nothing of it.
constexpr int kLargeBytesMin = 1000;

}  // namespace

// Byte 0: version 0. 1: type. 4: size. 8: token.
void WriteProbe(const ProbeMessage& probe, std::span<uint8_t> out) {
  std::fill(out.begin(), out.end(), uint8_t{0});
  out[1] = probe.answer ? kAnswerType : kProbeType;
  StoreBig32(&out[4], probe.size);
  StoreBig32(&out[8], static_cast<uint32_t>(probe.token >> 32));
  StoreBig32(&out[12], static_cast<uint32_t>(probe.token));
}

std::optional<ProbeMessage> ParseProbe(std::span<const uint8_t> plaintext) {
  if (plaintext.size() < kProbeBytesMin || plaintext[0] != 0) return std::nullopt;
  if (plaintext[2] != 0 || plaintext[3] != 0) return std::nullopt;
  const bool answer = plaintext[1] == kAnswerType;
  if (!answer && plaintext[1] != kProbeType) return std::nullopt;
  const uint32_t size = LoadBig32(&plaintext[4]);
  if (!answer && size != plaintext.size()) return std::nullopt;
  const uint64_t token = uint64_t{LoadBig32(&plaintext[8])} << 32 | LoadBig32(&plaintext[12]);
  return ProbeMessage{.answer = answer, .size = size, .token = token};
}

void PathMtu::OnSent(int size, Instant now, Random& random) {
  if (token_ != 0 || size < kLargeBytesMin) return;
  switch (state_) {
    case State::kIdle:
      return StartProbe(State::kHello, kProbeBytesMin, now, random);
    case State::kSilent:
      if (now >= raise_after_) StartProbe(State::kHello, kProbeBytesMin, now, random);
      return;
    case State::kDone:
      if (now >= raise_after_ && size > mtu_) {
        ceiling_ = 0;
        SearchAbove(mtu_, now, random);
      } else if (now >= confirm_after_) {
        StartProbe(State::kDone, mtu_, now, random);
      }
      return;
    default:
      return;
  }
}

void PathMtu::StartProbe(State state, int size, Instant now, Random& random) {
  state_ = state;
  probe_size_ = size;
  losses_ = 0;
  token_ = uint64_t{slot_} << 32 | random.Uint32() | 1;
  unsent_ = true;
  deadline_ = now + times_.Scaled(kProbeTimeout);
}

std::optional<PathMtu::Probe> PathMtu::TakeProbe() {
  if (!unsent_) return std::nullopt;
  unsent_ = false;
  return Probe{.size = probe_size_, .token = token_};
}

void PathMtu::OnAnswer(uint64_t token, Instant now, Random& random) {
  if (token_ != 0 && token == token_) Succeed(now, random);
}

void PathMtu::OnRefused(uint64_t token, Instant now, Random& random) {
  if (token_ != 0 && token == token_) Fail(now, random);
}

void PathMtu::OnTimer(Instant now, Random& random) {
  if (now < deadline_) return;
  if (++losses_ >= kProbesMax) return Fail(now, random);
  // The same token: the answer to an earlier one is as good.
  unsent_ = true;
  deadline_ = now + times_.Scaled(kProbeTimeout);
}

void PathMtu::OnPathChanged() {
  state_ = State::kIdle;
  mtu_ = kPathMtuBase;
  ceiling_ = 0;
  token_ = 0;
  unsent_ = false;
  deadline_ = kNever;
}

void PathMtu::OnPeerHeard() {
  if (state_ == State::kSilent) OnPathChanged();
}

void PathMtu::SearchAbove(int size, Instant now, Random& random) {
  const auto next = std::upper_bound(kPathMtuLadder.begin(), kPathMtuLadder.end(), size);
  if (next == kPathMtuLadder.end() || (ceiling_ != 0 && *next >= ceiling_)) return Settle(now);
  StartProbe(State::kSearch, *next, now, random);
}

void PathMtu::Succeed(Instant now, Random& random) {
  token_ = 0;
  deadline_ = kNever;
  switch (state_) {
    case State::kHello:
      return StartProbe(State::kBase, kPathMtuBase, now, random);
    case State::kBase:
      return SearchAbove(kPathMtuBase, now, random);
    case State::kSearch:
      mtu_ = probe_size_;
      return SearchAbove(mtu_, now, random);
    case State::kDone:
      confirm_after_ = now + times_.Scaled(kConfirmInterval);
      return;
    case State::kIdle:
    case State::kSilent:
      return;  // nothing was out
  }
}

void PathMtu::Fail(Instant now, Random& random) {
  token_ = 0;
  unsent_ = false;
  deadline_ = kNever;
  switch (state_) {
    case State::kHello:
      state_ = State::kSilent;
      raise_after_ = now + times_.Scaled(kRaiseInterval);
      return;
    case State::kBase:
      mtu_ = kPathMtuLadder.front();
      ceiling_ = kPathMtuBase;
      return SearchAbove(mtu_, now, random);
    case State::kSearch:
      ceiling_ = probe_size_;
      return Settle(now);
    case State::kDone:
      ceiling_ = probe_size_;
      mtu_ = std::min(mtu_, kPathMtuBase);
      return StartProbe(State::kHello, kProbeBytesMin, now, random);
    case State::kIdle:
    case State::kSilent:
      return;
  }
}

void PathMtu::Settle(Instant now) {
  state_ = State::kDone;
  confirm_after_ = now + times_.Scaled(kConfirmInterval);
  raise_after_ = now + times_.Scaled(kRaiseInterval);
}

}  // namespace im::tunnel
