#include "orchestrator/cli/top_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/cli/screen.h"

namespace im::orchestrator::cli {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Kind = Key::Kind;
using Reaction = TopView::Reaction;

const Instant kViewStart = Instant(seconds(1000));
constexpr ScreenSize kSmall{.rows = 8, .columns = 100};

class TopViewTest : public testing::Test {
 protected:
  // h1, h2, … running, then one paused and one imaginary.
  void Show(size_t running) {
    std::vector<proto::HostInfo> hosts;
    for (size_t i = 1; i <= running; ++i) {
      proto::HostInfo& host = hosts.emplace_back();
      host.set_name(absl::StrCat("h", i));
      host.set_state("running");
      host.set_busy("cpu 12%");
      host.set_cause_text("SYN from web:4000 to :80");
      host.set_wake_kind("cold");
      host.set_wake_ns(4'000'000);
      host.set_memory_bytes(i << 20);
    }
    hosts.emplace_back().set_name("sleeper");
    hosts.back().set_state("paused");
    hosts.back().set_release_in_ms(90'000);
    hosts.emplace_back().set_name("nobody");
    hosts.back().set_state("imaginary");
    cluster_.set_name("shop");
    cluster_.set_network("10.77.0.0/16");
    cluster_.set_hosts(static_cast<uint32_t>(hosts.size()));
    view_.Update(cluster_, hosts, kViewStart);
  }
  std::vector<std::string> Lines(const ScreenSize& size = kSmall) {
    return view_.Lines(size, terminal_);
  }
  std::string All(const ScreenSize& size = kSmall) { return absl::StrJoin(Lines(size), "\n"); }
  Reaction Press(Kind kind) { return view_.OnKey({kind, 0}, kSmall); }
  Reaction Press(char c) { return view_.OnKey({Kind::kCharacter, c}, kSmall); }

  Terminal terminal_;
  proto::Cluster cluster_;
  TopView view_{TopOrder::kFile, false, false};
};

TEST_F(TopViewTest, ShowsWhatIsUpAndWhy) {
  Show(1);
  const std::string all = All({.rows = 24, .columns = 200});
  EXPECT_THAT(all, HasSubstr("shop  10.77.0.0/16  1 running, 1 paused, 1 imaginary"));
  EXPECT_THAT(all, HasSubstr("busy: cpu 12%"));
  EXPECT_THAT(all, HasSubstr("SYN from web:4000 to :80, cold 4ms"));
  EXPECT_THAT(all, HasSubstr("released in 1m30s"));
  EXPECT_THAT(all, HasSubstr("q quit"));
  EXPECT_THAT(all, Not(HasSubstr("nobody")));
  EXPECT_EQ(Press('a'), Reaction::kAskAgain);
  EXPECT_TRUE(view_.all());
  EXPECT_THAT(All({.rows = 24, .columns = 200}), HasSubstr("nobody"));
}

TEST_F(TopViewTest, FitsAnyTerminal) {
  Show(30);
  Press(Kind::kDown);
  terminal_.unicode = true;
  for (const bool colours : {false, true}) {
    terminal_.colours = colours;
    for (size_t rows = 1; rows <= 40; ++rows) {
      for (const size_t columns : {1, 2, 10, 40, 80, 300}) {
        const ScreenSize size{rows, columns};
        const std::vector<std::string> lines = view_.Lines(size, terminal_);
        EXPECT_LE(lines.size(), rows);
        EXPECT_FALSE(lines.empty());
        for (const std::string& line : lines) EXPECT_LE(DisplayWidth(line), columns) << line;
      }
    }
  }
}

TEST_F(TopViewTest, AClusterWhereNothingIsUp) {
  Show(0);
  view_.Update(cluster_, {}, kViewStart);
  EXPECT_THAT(All(), HasSubstr("2 imaginary"));
  EXPECT_THAT(All(), HasSubstr("no host is up"));
  EXPECT_EQ(Press(Kind::kDown), Reaction::kRedraw);
  EXPECT_EQ(Press(Kind::kEnd), Reaction::kRedraw);
}

TEST_F(TopViewTest, TheChosenHostIsScrolledIntoView) {
  Show(30);  // and sleeper; five of them fit
  EXPECT_THAT(All(), HasSubstr("1-5 of 31"));
  for (int i = 0; i < 6; ++i) Press(Kind::kDown);
  EXPECT_THAT(All(), HasSubstr("2-6 of 31"));
  Press(Kind::kEnd);
  EXPECT_THAT(All(), HasSubstr("sleeper"));
  EXPECT_THAT(All(), HasSubstr("27-31 of 31"));
  Press(Kind::kPageUp);
  EXPECT_THAT(All(), HasSubstr("27-31 of 31"));
  Press(Kind::kPageUp);
  EXPECT_THAT(All(), HasSubstr("23-27 of 31"));
  Press(Kind::kHome);
  EXPECT_THAT(All(), HasSubstr("1-5 of 31"));
}

TEST_F(TopViewTest, TheChosenHostStaysChosenInAnotherOrder) {
  terminal_.colours = true;
  Show(3);
  Press(Kind::kDown);
  EXPECT_THAT(Lines()[2], testing::StartsWith("\x1b[7mh1 "));
  EXPECT_EQ(Press('r'), Reaction::kRedraw);
  EXPECT_THAT(Lines()[5], testing::StartsWith("\x1b[7mh1 "));
  Press(Kind::kEscape);
  EXPECT_THAT(All(), Not(HasSubstr("\x1b[7m")));
}

TEST_F(TopViewTest, ArrowsSort) {
  Show(3);
  const auto first = [this] { return Lines()[2].substr(0, 3); };
  EXPECT_EQ(first(), "h1 ");
  while (All({.rows = 8, .columns = 200}).find("sort: memory") == std::string::npos) {
    EXPECT_EQ(Press(Kind::kRight), Reaction::kRedraw);
  }
  EXPECT_EQ(first(), "h3 ");
  Press(Kind::kLeft);
  EXPECT_THAT(All({.rows = 8, .columns = 200}), HasSubstr("sort: cpu"));
}

TEST_F(TopViewTest, QuitsAndIgnoresOtherKeys) {
  EXPECT_EQ(Press('q'), Reaction::kQuit);
  EXPECT_EQ(Press('x'), Reaction::kNone);
  EXPECT_EQ(Press(' '), Reaction::kAskAgain);
}

TEST_F(TopViewTest, WhatProgramsSayChangesNoTerminal) {
  Show(1);
  std::vector<proto::HostInfo> hosts(1);
  hosts[0].set_name("evil");
  hosts[0].set_state("running");
  hosts[0].set_busy("\x1b]0;title\a");
  hosts[0].set_cause_text("im run \x1b[2J\n");
  view_.Update(cluster_, hosts, kViewStart);
  const std::string all = All({.rows = 24, .columns = 200});
  EXPECT_THAT(all, Not(HasSubstr("\x1b")));
  EXPECT_THAT(all, Not(HasSubstr("\a")));
}

TEST_F(TopViewTest, JsonHasNullForRatesThatAreNotKnownYet) {
  Show(1);
  EXPECT_THAT(view_.Json(5), testing::StartsWith(
                                 "{\"unix_nanos\":5,\"cluster\":\"shop\",\"configured\":3,"));
  EXPECT_THAT(view_.Json(5), HasSubstr("{\"name\":\"h1\",\"state\":\"running\","
                                       "\"cpu_percent\":null,\"memory_bytes\":1048576,"));
}

TEST_F(TopViewTest, ADrawingErasesWhatWasThere) {
  EXPECT_EQ(DrawingOf({"one", "two"}, {.rows = 3, .columns = 10}),
            "\x1b[H\x1b[2Kone\r\n\x1b[2Ktwo\r\n\x1b[J");
  // A screen that is full is not scrolled.
  EXPECT_EQ(DrawingOf({"one", "two"}, {.rows = 2, .columns = 10}),
            "\x1b[H\x1b[2Kone\r\n\x1b[2Ktwo");
}

}  // namespace
}  // namespace im::orchestrator::cli
