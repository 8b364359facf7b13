// TopView: what im top has on the screen, and what keys do to it. Knows no
// terminal: keys in, lines out.
//
//   shop  10.77.0.0/16          2 running, 1 paused, 17 imaginary   0 held
//   HOST  STATE    CPU  MEMORY  IN/s  OUT/s  NEXT          LAST WAKE
//   web   running  12%  5.1M    1.2K  800    busy: cpu 12% SYN from …
//   …
//   q quit  ↑↓ choose  ←→ sort: cpu  r reverse  a all hosts
//
// Any size of terminal will do: hosts that do not fit are scrolled, lines that
// are too long are cut, and where there are only a few lines the hosts go first.

#ifndef IM_ORCHESTRATOR_CLI_TOP_VIEW_H_
#define IM_ORCHESTRATOR_CLI_TOP_VIEW_H_

#include <string>
#include <vector>

#include "orchestrator/cli/keys.h"
#include "orchestrator/cli/terminal.h"
#include "orchestrator/cli/top_model.h"
#include "proto/api.pb.h"

namespace im::orchestrator::cli {

struct ScreenSize {
  size_t rows = 24;
  size_t columns = 80;
};

class TopView {
 public:
  TopView(TopOrder order, bool reversed, bool all) : order_(order), reversed_(reversed), all_(all) {}

  void Update(const proto::Cluster& cluster, std::vector<proto::HostInfo> hosts, Instant now);
  // Instead of new figures: why there are none.
  void SetTrouble(const std::string& trouble) { trouble_ = trouble; }

  enum class Reaction { kNone, kRedraw, kAskAgain, kQuit };
  Reaction OnKey(const Key& key, const ScreenSize& size);

  // `size.rows` lines at most, none longer than its columns.
  std::vector<std::string> Lines(const ScreenSize& size, const Terminal& terminal);
  // The whole table, for what is no screen: as long and wide as it is.
  std::string Text(const Terminal& terminal) const;
  // One object in a line.
  std::string Json(int64_t unix_nanos) const;

  // Hosts without an instance are shown, too.
  bool all() const { return all_; }

 private:
  std::vector<TopRow> Shown() const;
  std::string Head() const;
  void Move(int by);

  TopModel model_;
  proto::Cluster cluster_;
  std::string trouble_;
  TopOrder order_;
  bool reversed_;
  bool all_;
  std::string chosen_;  // host
  size_t first_ = 0;    // row on top
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_TOP_VIEW_H_
