#include "orchestrator/cli/top_view.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "orchestrator/cli/host_view.h"
#include "orchestrator/cli/json.h"
#include "orchestrator/cli/table.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

// Lines that are not hosts.
constexpr size_t kHeadLines = 2;  // the cluster, the titles
constexpr size_t kFootLines = 1;

// What programs wrote stays on its line and changes no terminal.
std::string Harmless(absl::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  return out;
}

bool HasInstance(const proto::HostInfo& host) {
  return host.state() != "imaginary" && host.state() != "checkpointed";
}

std::string Rate(const std::optional<double>& per_second) {
  if (!per_second) return "-";
  return FormatSize(static_cast<uint64_t>(*per_second));
}

std::string Number(const std::optional<double>& value) {
  return value ? absl::StrFormat("%.3f", *value) : "null";
}

std::string TableText(const std::vector<TopRow>& rows, const Terminal& terminal) {
  using Align = Table::Align;
  Table table({{"HOST"},
               {"STATE"},
               {"CPU", Align::kRight},
               {"MEMORY", Align::kRight},
               {"IN/s", Align::kRight},
               {"OUT/s", Align::kRight},
               {"NEXT"},
               {"LAST WAKE"}});
  for (const TopRow& row : rows) {
    const proto::HostInfo& host = row.host;
    const bool up = HasInstance(host);
    std::string wake = TextOfWake(host, terminal);
    if (!wake.empty()) wake = absl::StrCat(", ", wake);
    table.Add({host.name(), terminal.Paint(host.state(), ColourOfState(host.state())),
               !up ? ""
               : row.cpu_percent ? absl::StrFormat("%.1f%%", *row.cpu_percent)
                                 : "-",
               up ? FormatSize(host.memory_bytes()) : "", up ? Rate(row.in_per_s) : "",
               up ? Rate(row.out_per_s) : "", terminal.Plain(Harmless(TextOfNext(host))),
               terminal.Plain(absl::StrCat(Harmless(host.cause_text()), wake))});
  }
  return table.ToString(terminal);
}

}  // namespace

void TopView::Update(const proto::Cluster& cluster, std::vector<proto::HostInfo> hosts,
                     Instant now) {
  cluster_ = cluster;
  model_.Update(std::move(hosts), now);
  trouble_.clear();
}

std::vector<TopRow> TopView::Shown() const {
  std::vector<TopRow> rows = model_.Sorted(order_, reversed_);
  if (!all_) std::erase_if(rows, [](const TopRow& row) { return !HasInstance(row.host); });
  return rows;
}

std::string TopView::Head() const {
  std::map<std::string, size_t> states;
  size_t known = 0;
  for (const TopRow& row : model_.rows()) {
    ++states[row.host.state()];
    ++known;
  }
  // Of hosts without an instance nothing was asked.
  if (cluster_.hosts() > known) states["imaginary"] += cluster_.hosts() - known;
  std::vector<std::string> counts;
  for (const char* state : {"running", "paused", "starting", "restoring", "releasing",
                            "checkpointed", "imaginary"}) {
    if (states.contains(state)) counts.push_back(absl::StrCat(states[state], " ", state));
  }
  std::string head = absl::StrCat(cluster_.name(), "  ", cluster_.network(), "  ",
                                  absl::StrJoin(counts, ", "));
  if (cluster_.held_packets() > 0) {
    absl::StrAppend(&head, "  ", cluster_.held_packets(), " packets held");
  }
  return head;
}

std::vector<std::string> TopView::Lines(const ScreenSize& size, const Terminal& terminal) {
  const std::vector<TopRow> rows = Shown();
  const bool foot = size.rows > kHeadLines + kFootLines;
  const bool head = size.rows > kHeadLines;
  const size_t room = size.rows - (head ? kHeadLines : 0) - (foot ? kFootLines : 0);
  const auto chosen = std::find_if(rows.begin(), rows.end(), [this](const TopRow& row) {
    return row.host.name() == chosen_;
  });
  const bool any_chosen = chosen != rows.end();
  const auto at = static_cast<size_t>(chosen - rows.begin());
  if (any_chosen) {
    // It is to be seen, wherever it went.
    if (at < first_) first_ = at;
    if (room > 0 && at >= first_ + room) first_ = at - room + 1;
  }
  first_ = std::min(first_, rows.size() > room ? rows.size() - room : 0);
  const size_t last = std::min(rows.size(), first_ + room);
  const std::vector<TopRow> visible(rows.begin() + static_cast<ptrdiff_t>(first_),
                                    rows.begin() + static_cast<ptrdiff_t>(last));

  Terminal fitting = terminal;
  fitting.columns = size.columns;
  std::vector<std::string> lines;
  if (head) {
    const std::string trouble = trouble_.empty() ? "" : absl::StrCat("  ", Harmless(trouble_));
    lines.push_back(CutLine(absl::StrCat(fitting.Paint(Head(), Colour::kBold),
                                         fitting.Paint(trouble, Colour::kRed)),
                            size.columns, fitting));
  }
  std::vector<std::string> table =
      absl::StrSplit(TableText(visible, fitting), '\n', absl::SkipEmpty());
  // Without a row there are no columns, and no titles.
  if (table.empty()) table.push_back(fitting.Paint("no host is up", Colour::kDim));
  if (head) lines.push_back(table[0]);
  for (size_t i = 1; i < table.size(); ++i) {
    if (any_chosen && first_ + i - 1 == at) {
      // In one colour: its own would end the inversion.
      Terminal plain = fitting;
      plain.colours = false;
      const std::vector<std::string> again =
          absl::StrSplit(TableText(visible, plain), '\n', absl::SkipEmpty());
      lines.push_back(fitting.Paint(again[i], Colour::kInverse));
    } else {
      lines.push_back(table[i]);
    }
  }
  if (foot) {
    const std::string scrolled =
        rows.size() > room ? absl::StrCat("  ", first_ + 1, "-", last, " of ", rows.size()) : "";
    const std::string keys = absl::StrCat(
        "q quit  ↑↓ choose  ←→ sort: ", std::string(TopOrderName(order_)),
        reversed_ ? " reversed" : "", "  r reverse  a ", all_ ? "only up" : "all hosts", scrolled);
    lines.push_back(CutLine(fitting.Paint(fitting.Plain(keys), Colour::kDim), size.columns, fitting));
  }
  if (lines.size() > size.rows) lines.resize(size.rows);
  return lines;
}

void TopView::Move(int by) {
  const std::vector<TopRow> rows = Shown();
  if (rows.empty()) return;
  const auto it = std::find_if(rows.begin(), rows.end(), [this](const TopRow& row) {
    return row.host.name() == chosen_;
  });
  // The first key chooses what is on top.
  const int64_t at = it == rows.end() ? static_cast<int64_t>(first_) - (by > 0 ? 1 : 0)
                                      : it - rows.begin();
  const int64_t to = std::clamp<int64_t>(at + by, 0, static_cast<int64_t>(rows.size()) - 1);
  chosen_ = rows[static_cast<size_t>(to)].host.name();
}

TopView::Reaction TopView::OnKey(const Key& key, const ScreenSize& size) {
  const int page = static_cast<int>(
      std::max<size_t>(size.rows > kHeadLines + kFootLines + 1
                           ? size.rows - kHeadLines - kFootLines - 1
                           : 1,
                       1));
  const int all_rows = static_cast<int>(model_.rows().size());
  const auto turn = [this](int by) {
    order_ = static_cast<TopOrder>((static_cast<int>(order_) + kTopOrders + by) % kTopOrders);
    first_ = 0;
  };
  switch (key.kind) {
    case Key::Kind::kUp: Move(-1); return Reaction::kRedraw;
    case Key::Kind::kDown: Move(1); return Reaction::kRedraw;
    case Key::Kind::kPageUp: Move(-page); return Reaction::kRedraw;
    case Key::Kind::kPageDown: Move(page); return Reaction::kRedraw;
    case Key::Kind::kHome: Move(-all_rows); return Reaction::kRedraw;
    case Key::Kind::kEnd: Move(all_rows); return Reaction::kRedraw;
    case Key::Kind::kLeft: turn(-1); return Reaction::kRedraw;
    case Key::Kind::kRight: turn(1); return Reaction::kRedraw;
    case Key::Kind::kEscape:
      chosen_.clear();
      return Reaction::kRedraw;
    case Key::Kind::kCharacter: break;
  }
  switch (key.character) {
    case 'q':
    case 'Q':
      return Reaction::kQuit;
    case 's':
      turn(1);
      return Reaction::kRedraw;
    case 'r':
      reversed_ = !reversed_;
      return Reaction::kRedraw;
    case 'a':
      all_ = !all_;
      return Reaction::kAskAgain;
    case ' ':
      return Reaction::kAskAgain;
    case 'k':
      Move(-1);
      return Reaction::kRedraw;
    case 'j':
      Move(1);
      return Reaction::kRedraw;
    default:
      return Reaction::kNone;
  }
}

std::string TopView::Text(const Terminal& terminal) const {
  return absl::StrCat(Head(), "\n", TableText(Shown(), terminal));
}

std::string TopView::Json(int64_t unix_nanos) const {
  std::vector<std::string> hosts;
  for (const TopRow& row : Shown()) {
    const proto::HostInfo& host = row.host;
    hosts.push_back(absl::StrCat(
        "{\"name\":", JsonString(host.name()), ",\"state\":", JsonString(host.state()),
        ",\"cpu_percent\":", Number(row.cpu_percent), ",\"memory_bytes\":", host.memory_bytes(),
        ",\"in_bytes_per_s\":", Number(row.in_per_s),
        ",\"out_bytes_per_s\":", Number(row.out_per_s), ",\"pause_in_ms\":", host.pause_in_ms(),
        ",\"release_in_ms\":", host.release_in_ms(), ",\"busy\":", JsonString(host.busy()),
        ",\"last_wake\":", JsonString(host.cause_text()),
        ",\"wake_kind\":", JsonString(host.wake_kind()), ",\"wake_ns\":", host.wake_ns(), "}"));
  }
  return absl::StrCat("{\"unix_nanos\":", unix_nanos, ",\"cluster\":",
                      JsonString(cluster_.name()), ",\"configured\":", cluster_.hosts(),
                      ",\"held_packets\":", cluster_.held_packets(), ",\"hosts\":[",
                      absl::StrJoin(hosts, ","), "]}");
}

}  // namespace im::orchestrator::cli
