#include "orchestrator/cli/keys.h"

#include <optional>
#include <utility>

namespace im::orchestrator::cli {
namespace {

constexpr char kEscape = '\x1b';
// No sequence of a key is so long: what does not end by then is forgotten.
constexpr size_t kSequenceBytesMax = 32;

// `sequence` without the escape: "[A", "OA", "[5~".
std::optional<Key> KeyOfSequence(absl::string_view sequence) {
  using Kind = Key::Kind;
  constexpr std::pair<absl::string_view, Kind> kSequences[] = {
      {"[A", Kind::kUp},      {"OA", Kind::kUp},        {"[B", Kind::kDown},  {"OB", Kind::kDown},
      {"[C", Kind::kRight},   {"OC", Kind::kRight},     {"[D", Kind::kLeft},  {"OD", Kind::kLeft},
      {"[5~", Kind::kPageUp}, {"[6~", Kind::kPageDown}, {"[H", Kind::kHome},  {"OH", Kind::kHome},
      {"[1~", Kind::kHome},   {"[7~", Kind::kHome},     {"[F", Kind::kEnd},   {"OF", Kind::kEnd},
      {"[4~", Kind::kEnd},    {"[8~", Kind::kEnd}};
  for (const auto& [known, kind] : kSequences) {
    if (sequence == known) return Key{kind, 0};
  }
  return std::nullopt;
}

// ECMA-48 5.4: parameters and intermediates, then one final byte.
bool Ends(absl::string_view sequence) {
  if (sequence.size() < 2) return false;
  if (sequence[0] == 'O') return true;
  const auto last = static_cast<unsigned char>(sequence.back());
  return last >= 0x40 && last <= 0x7e;
}

}  // namespace

std::vector<Key> KeyDecoder::Feed(absl::string_view bytes) {
  std::vector<Key> keys;
  for (const char byte : bytes) {
    if (pending_.empty()) {
      if (byte == kEscape) {
        pending_.push_back(byte);
      } else {
        keys.push_back({Key::Kind::kCharacter, byte});
      }
      continue;
    }
    if (byte == kEscape) {  // the one before was alone, or broke off
      if (pending_.size() == 1) keys.push_back({Key::Kind::kEscape, 0});
      pending_.assign(1, byte);
      continue;
    }
    pending_.push_back(byte);
    const absl::string_view sequence = absl::string_view(pending_).substr(1);
    if (sequence[0] != '[' && sequence[0] != 'O') {
      pending_.clear();  // a key with Alt
    } else if (Ends(sequence)) {
      if (const std::optional<Key> key = KeyOfSequence(sequence)) keys.push_back(*key);
      pending_.clear();
    } else if (pending_.size() > kSequenceBytesMax) {
      pending_.clear();
    }
  }
  return keys;
}

std::vector<Key> KeyDecoder::Flush() {
  std::vector<Key> keys;
  if (pending_.size() == 1) keys.push_back({Key::Kind::kEscape, 0});
  pending_.clear();
  return keys;
}

}  // namespace im::orchestrator::cli
