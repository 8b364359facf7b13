// Keys of a terminal, out of the bytes that it sends: ECMA-48 control
// sequences as xterm and those like it use them.

#ifndef IM_ORCHESTRATOR_CLI_KEYS_H_
#define IM_ORCHESTRATOR_CLI_KEYS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace im::orchestrator::cli {

struct Key {
  enum class Kind { kCharacter, kUp, kDown, kLeft, kRight, kPageUp, kPageDown, kHome, kEnd, kEscape };
  Kind kind = Kind::kCharacter;
  char character = 0;

  friend bool operator==(const Key&, const Key&) = default;
};

// Owned by one thread.
class KeyDecoder {
 public:
  // What is not known is left out. A sequence may come in pieces.
  std::vector<Key> Feed(absl::string_view bytes);
  // Nothing came for a while: a single escape was the key of that name.
  std::vector<Key> Flush();
  bool waiting() const { return !pending_.empty(); }

 private:
  std::string pending_;  // the beginning of a sequence
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_KEYS_H_
