#include "orchestrator/event_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

namespace im::orchestrator {
namespace {

using ::testing::ElementsAre;

proto::Event Note(const std::string& host, const std::string& text) {
  proto::Event event;
  event.set_host(host);
  event.set_text(text);
  return event;
}

std::vector<std::string> Texts(const std::vector<proto::Event>& events) {
  std::vector<std::string> out;
  for (const proto::Event& event : events) out.push_back(event.text());
  return out;
}

class EventLineTest : public ::testing::Test {
 protected:
  EventLineTest() {
    setenv("TZ", "CET-1", 1);
    tzset();
  }
  ~EventLineTest() override {
    unsetenv("TZ");
    tzset();
  }
  // 11:03:04.512 UTC.
  static constexpr int64_t kAt = 1'700'046'184'512'345'678;
};

TEST_F(EventLineTest, ATransitionReadsAsInTheReadme) {
  proto::Event event = Note("db", "SYN from app:43512 to :6379");
  event.set_unix_nanos(kAt);
  event.set_from("imaginary");
  event.set_to("starting");
  EXPECT_EQ(EventLine(event, 3),
            "12:03:04.512  db   imaginary → starting   SYN from app:43512 to :6379");
}

TEST_F(EventLineTest, DurationsStandBehindTheText) {
  proto::Event event = Note("db", "");
  event.set_unix_nanos(kAt);
  event.set_from("starting");
  event.set_to("running");
  event.set_duration_ns(4'230'000);
  EXPECT_EQ(EventLine(event, 2), "12:03:04.512  db  starting → running     in 4.2ms");
  event.set_text("ping from app");
  EXPECT_EQ(EventLine(event, 2),
            "12:03:04.512  db  starting → running     ping from app, in 4.2ms");
  event.set_text("");
  event.set_duration_ns(0);
  EXPECT_EQ(EventLine(event, 2), "12:03:04.512  db  starting → running");
}

TEST_F(EventLineTest, ANoteHasNoStates) {
  proto::Event event = Note("", "cluster is up");
  event.set_unix_nanos(kAt);
  EXPECT_EQ(EventLine(event, 4), "12:03:04.512        cluster is up");
}

TEST_F(EventLineTest, WhatProgramsSayCannotSteerTheTerminal) {
  proto::Event event = Note("db", "exec \x1b[31mnginx\n\x07: No such file");
  event.set_unix_nanos(kAt);
  EXPECT_EQ(EventLine(event, 2), "12:03:04.512  db  exec ?[31mnginx ?: No such file");
}

TEST(EventLog, NumbersAndKeepsTheNewest) {
  EventLog log(3);
  for (const char* text : {"a", "b", "c", "d"}) log.Append(Note("db", text));
  EXPECT_THAT(Texts(log.Newest({}, 0)), ElementsAre("b", "c", "d"));
  EXPECT_THAT(Texts(log.Newest({}, 2)), ElementsAre("c", "d"));
  EXPECT_EQ(log.Newest({}, 1)[0].sequence(), 4u);
  EXPECT_EQ(log.size(), 3u);
  EXPECT_EQ(log.last_sequence(), 4u);
}

TEST(EventLog, ChoosesByHost) {
  EventLog log;
  log.Append(Note("db", "1"));
  log.Append(Note("web", "2"));
  log.Append(Note("", "3"));
  log.Append(Note("db", "4"));
  EXPECT_THAT(Texts(log.Newest({"db"}, 0)), ElementsAre("1", "4"));
  EXPECT_THAT(Texts(log.Newest({"db", "web"}, 2)), ElementsAre("2", "4"));
  EXPECT_TRUE(log.Newest({"app"}, 0).empty());
}

TEST(EventLog, TellsSubscribersUntilTheyLeave) {
  EventLog log;
  std::vector<std::string> first, second;
  EventLog::SubscriptionId other = 0;
  const EventLog::SubscriptionId id = log.Subscribe([&](const proto::Event& event) {
    first.push_back(event.text());
    if (event.text() == "b") log.Unsubscribe(other);
  });
  other = log.Subscribe([&](const proto::Event& event) { second.push_back(event.text()); });
  for (const char* text : {"a", "b", "c"}) log.Append(Note("db", text));
  log.Unsubscribe(id);
  log.Append(Note("db", "d"));
  EXPECT_THAT(first, ElementsAre("a", "b", "c"));
  EXPECT_THAT(second, ElementsAre("a"));
  EXPECT_EQ(log.subscribers(), 0u);
}

TEST(EventLog, ASubscriberMayAppendAndLeave) {
  EventLog log;
  std::vector<uint64_t> seen;
  EventLog::SubscriptionId id = 0;
  id = log.Subscribe([&](const proto::Event& event) {
    seen.push_back(event.sequence());
    if (seen.size() == 1) log.Append(Note("", "from within"));
    log.Unsubscribe(id);
  });
  log.Append(Note("", "x"));
  log.Append(Note("", "y"));
  EXPECT_THAT(seen, ElementsAre(1u, 2u));
}

}  // namespace
}  // namespace im::orchestrator
