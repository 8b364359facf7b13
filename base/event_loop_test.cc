#include "base/event_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

namespace im {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

constexpr Duration kNoWait = Duration::zero();

struct SocketPair {
  SocketPair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    a = FileDescriptor(fds[0]);
    b = FileDescriptor(fds[1]);
  }
  void Send() { EXPECT_EQ(write(b.get(), "x", 1), 1); }
  FileDescriptor a, b;
};

class EventLoopTest : public testing::Test {
 protected:
  ManualClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
};

TEST_F(EventLoopTest, ATimerRunsOnceWhenDue) {
  int runs = 0;
  const EventLoop::Timer timer = loop_->After(milliseconds(10), [&] { ++runs; });
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(runs, 0);
  EXPECT_EQ(loop_->NextDeadline(), clock_.Now() + milliseconds(10));
  clock_.Advance(milliseconds(10));
  loop_->RunOnce(kNoWait);
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(runs, 1);
}

TEST_F(EventLoopTest, ATimerThatDiesDoesNotRun) {
  {
    const EventLoop::Timer timer = loop_->After(kNoWait, [] { FAIL(); });
  }
  EventLoop::Timer reset = loop_->After(kNoWait, [] { FAIL(); });
  reset.Reset();
  EventLoop::Timer replaced = loop_->After(kNoWait, [] { FAIL(); });
  replaced = EventLoop::Timer();
  loop_->RunOnce(kNoWait);
}

TEST_F(EventLoopTest, ATimerMovesWithItsOwner) {
  int runs = 0;
  EventLoop::Timer first = loop_->After(kNoWait, [&] { ++runs; });
  EventLoop::Timer second = std::move(first);
  first.Reset();
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(runs, 1);
}

TEST_F(EventLoopTest, ATimerMayReplaceItselfInItsCallback) {
  int runs = 0;
  EventLoop::Timer timer;
  std::function<void()> tick = [&] {
    if (++runs < 3) timer = loop_->After(milliseconds(1), tick);
  };
  timer = loop_->After(milliseconds(1), tick);
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(milliseconds(1));
    loop_->RunOnce(kNoWait);
  }
  EXPECT_EQ(runs, 3);
}

TEST_F(EventLoopTest, ADelayBeyondTheEndOfTimeIsNever) {
  const EventLoop::Timer timer = loop_->After(Duration::max(), [] { FAIL(); });
  EXPECT_EQ(loop_->NextDeadline(), kNever);
  loop_->RunOnce(kNoWait);
}

TEST_F(EventLoopTest, NowIsReadOnceATurn) {
  class CountingClock final : public Clock {
   public:
    Instant Now() const override { return Instant(Duration(++reads)); }
    int64_t UnixNanos() const override { return 0; }
    mutable int reads = 0;
  } clock;
  const auto loop = *EventLoop::Create(clock);
  loop->RunOnce(kNoWait);
  const Instant at_turn = loop->now();
  std::vector<Instant> seen;
  loop->AtEndOfTurn([&] { seen.push_back(loop->now()); });
  loop->AtEndOfTurn([&] { seen.push_back(loop->now()); });
  loop->RunOnce(kNoWait);
  EXPECT_THAT(seen, ElementsAre(at_turn + Duration(1), at_turn + Duration(1)));
}

// A clock on which every look takes `step`, and that knows how many there were.
class SteppingClock final : public Clock {
 public:
  Instant Now() const override {
    ++looks;
    return now_ += step;
  }
  int64_t UnixNanos() const override { return 0; }

  Duration step = microseconds(1);
  mutable int looks = 0;

 private:
  mutable Instant now_ = Instant(seconds(1));
};

class BusyPollTest : public testing::Test {
 protected:
  static constexpr int kLooksOfAWindow = 100;

  BusyPollTest() { loop_->SetBusyPoll(kLooksOfAWindow * clock_.step); }

  // Of one turn, in which nothing comes.
  int LooksOfATurn() {
    const int before = clock_.looks;
    loop_->RunOnce(microseconds(200));
    return clock_.looks - before;
  }

  void ATurnWithWork() {
    loop_->Post([] {});
    loop_->RunOnce(seconds(10));
  }

  SteppingClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
};

TEST_F(BusyPollTest, AfterAShortWaitTheLoopLooksForAWindowBeforeItSleeps) {
  ATurnWithWork();
  EXPECT_GT(LooksOfATurn(), kLooksOfAWindow / 2);
}

TEST_F(BusyPollTest, AfterAWaitLongerThanTheWindowItSleepsAtOnce) {
  EXPECT_LT(LooksOfATurn(), 10);
  ATurnWithWork();
  LooksOfATurn();  // in vain
  EXPECT_LT(LooksOfATurn(), 10);
}

TEST_F(BusyPollTest, WhatComesMeanwhileIsSeen) {
  ATurnWithWork();
  SocketPair pair;
  int calls = 0;
  const auto watch = loop_->WatchFd(pair.a.get(), EPOLLIN, [&](uint32_t) { ++calls; });
  pair.Send();
  loop_->RunOnce(seconds(10));
  EXPECT_EQ(calls, 1);
}

TEST_F(BusyPollTest, WhereOthersWantTheProcessorItSleeps) {
  ATurnWithWork();
  clock_.step = microseconds(60);
  EXPECT_LT(LooksOfATurn(), 10);
}

TEST_F(BusyPollTest, AfterALongTurnItSleeps) {
  loop_->Post([&] {
    clock_.step = microseconds(60);
    clock_.Now();
    clock_.step = microseconds(1);
  });
  loop_->RunOnce(seconds(10));
  EXPECT_LT(LooksOfATurn(), 10);
}

TEST_F(BusyPollTest, NobodyAskedForIt) {
  loop_->SetBusyPoll(Duration::zero());
  ATurnWithWork();
  EXPECT_LT(LooksOfATurn(), 10);
}

TEST_F(EventLoopTest, AReadyDescriptorIsReportedUntilItIsRead) {
  SocketPair pair;
  int calls = 0;
  const auto watch = loop_->WatchFd(pair.a.get(), EPOLLIN, [&](uint32_t events) {
    EXPECT_EQ(events, uint32_t{EPOLLIN});
    ++calls;
  });
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 0);
  pair.Send();
  loop_->RunOnce(kNoWait);
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 2);
  char byte;
  EXPECT_EQ(read(pair.a.get(), &byte, 1), 1);
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, APausedWatchIsSilentEvenAfterAHangup) {
  SocketPair pair;
  int calls = 0;
  auto watch = loop_->WatchFd(pair.a.get(), EPOLLIN, [&](uint32_t) { ++calls; });
  watch.SetEvents(0);
  pair.b.Reset();  // epoll reports EPOLLHUP for any descriptor that it knows
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 0);
  watch.SetEvents(EPOLLIN);
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, AHandlerMayDestroyItsOwnWatchAndState) {
  SocketPair pair;
  auto state = std::make_shared<int>(0);
  EventLoop::Watch watch;
  watch = loop_->WatchFd(pair.a.get(), EPOLLIN, [&watch, state](uint32_t) {
    watch.Reset();
    ++*state;  // what the function captured is still there
  });
  pair.Send();
  loop_->RunOnce(kNoWait);
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(*state, 1);
  EXPECT_EQ(state.use_count(), 1);
  EXPECT_FALSE(watch.active());
}

TEST_F(EventLoopTest, AHandlerThatRemovesAnotherReadyWatchKeepsItFromRunning) {
  SocketPair x, y;
  int calls = 0;
  EventLoop::Watch watch_x, watch_y;
  watch_x = loop_->WatchFd(x.a.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    watch_y.Reset();
  });
  watch_y = loop_->WatchFd(y.a.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    watch_x.SetEvents(0);
  });
  x.Send();
  y.Send();
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, AHandlerThatPausesAnotherReadyWatchKeepsItFromRunning) {
  SocketPair x, y;
  int calls = 0;
  EventLoop::Watch watch_x, watch_y;
  watch_x = loop_->WatchFd(x.a.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    watch_y.SetEvents(0);
  });
  watch_y = loop_->WatchFd(y.a.get(), EPOLLIN, [&](uint32_t) {
    ++calls;
    watch_x.SetEvents(0);
  });
  x.Send();
  y.Send();
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, ADueTimerRunsBeforeReadyDescriptors) {
  SocketPair pair;
  std::vector<int> order;
  const auto watch = loop_->WatchFd(pair.a.get(), EPOLLIN, [&](uint32_t) { order.push_back(2); });
  const auto timer = loop_->After(kNoWait, [&] { order.push_back(1); });
  loop_->AtEndOfTurn([&] { order.push_back(4); });
  loop_->Post([&] { order.push_back(3); });
  pair.Send();
  loop_->RunOnce(kNoWait);
  EXPECT_THAT(order, ElementsAre(1, 2, 3, 4));
}

TEST_F(EventLoopTest, WatchingAClosedDescriptorIsABug) {
  EXPECT_DEATH(static_cast<void>(loop_->WatchFd(-1, EPOLLIN, [](uint32_t) {})), "check failed");
}

TEST_F(EventLoopTest, FlushesThatCauseFlushesRunInTheSameTurn) {
  int depth = 0;
  loop_->AtEndOfTurn([&] {
    ++depth;
    loop_->AtEndOfTurn([&] { ++depth; });
  });
  loop_->RunOnce(kNoWait);
  EXPECT_EQ(depth, 2);
}

TEST_F(EventLoopTest, FlushesThatFeedThemselvesDoNotStarveTimers) {
  int flushes = 0;
  std::function<void()> again = [&] {
    ++flushes;
    loop_->AtEndOfTurn(again);
  };
  loop_->AtEndOfTurn(again);
  bool timer_ran = false;
  loop_->RunOnce(kNoWait);
  const auto timer = loop_->After(kNoWait, [&] { timer_ran = true; });
  EXPECT_EQ(loop_->NextDeadline(), loop_->now());
  const int before = flushes;
  loop_->RunOnce(hours(1));  // does not wait: a flush is pending
  EXPECT_TRUE(timer_ran);
  EXPECT_GT(flushes, before);
}

TEST_F(EventLoopTest, WhatAPostedFunctionPostsRunsInALaterTurn) {
  std::vector<int> order;
  loop_->Post([&] {
    order.push_back(1);
    loop_->Post([&] { order.push_back(2); });
  });
  loop_->RunOnce(kNoWait);
  EXPECT_THAT(order, ElementsAre(1));
  loop_->RunOnce(kNoWait);
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST_F(EventLoopTest, CanBePolledFromOutside) {
  SocketPair pair;
  const auto watch = loop_->WatchFd(pair.a.get(), EPOLLIN, [](uint32_t) {});
  pollfd poller{loop_->poll_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&poller, 1, 0), 0);
  pair.Send();
  EXPECT_EQ(poll(&poller, 1, 0), 1);
}

// What a function owns may touch the loop as it dies with the loop.
TEST_F(EventLoopTest, DestructionWithWatchesInsideFunctionsIsSafe) {
  SocketPair pairs[4];
  struct Owner {
    EventLoop::Watch watch;
    EventLoop::Timer timer;
  };
  for (int i = 0; i < 4; ++i) {
    auto owner = std::make_shared<Owner>();
    owner->watch = loop_->WatchFd(pairs[i].a.get(), EPOLLIN, [](uint32_t) {});
    owner->timer = loop_->After(hours(1), [] {});
    switch (i) {
      case 0: loop_->Post([owner] {}); break;
      case 1: loop_->AtEndOfTurn([owner] {}); break;
      case 2: {
        auto kept = std::make_shared<EventLoop::Timer>();
        *kept = loop_->After(hours(2), [owner, kept] {});
        break;
      }
      case 3: {
        auto kept = std::make_shared<EventLoop::Watch>();
        *kept = loop_->WatchFd(pairs[i].b.get(), EPOLLIN, [owner, kept](uint32_t) {});
        break;
      }
    }
  }
  loop_.reset();
}

class RealEventLoopTest : public testing::Test {
 protected:
  RealClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
};

TEST_F(RealEventLoopTest, PostFromAnotherThreadWakesAWaitingLoop) {
  const std::thread::id own = std::this_thread::get_id();
  int ran = 0;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i)
      loop_->Post([&] {
        EXPECT_EQ(std::this_thread::get_id(), own);
        if (++ran == 1000) loop_->Stop();
      });
  });
  loop_->Run();
  other.join();
  EXPECT_EQ(ran, 1000);
}

TEST_F(RealEventLoopTest, StopBeforeRunEndsItAtOnceAndRunWorksAgain) {
  loop_->Stop();
  loop_->Run();
  bool ran = false;
  loop_->Post([&] {
    ran = true;
    loop_->Stop();
  });
  loop_->Run();
  EXPECT_TRUE(ran);
}

TEST_F(RealEventLoopTest, ShortTimersAreNotRoundedUpToMilliseconds) {
  // The machine may be busy, so the best of many counts.
  Duration best = seconds(1);
  for (int i = 0; i < 200; ++i) {
    const Instant start = clock_.Now();
    bool ran = false;
    loop_->RunOnce(kNoWait);
    const auto timer = loop_->After(microseconds(200), [&] { ran = true; });
    while (!ran) loop_->RunOnce(hours(1));
    const Duration took = clock_.Now() - start;
    EXPECT_GE(took, microseconds(200));
    best = std::min(best, took);
  }
  EXPECT_LT(best, microseconds(900));
}

TEST_F(RealEventLoopTest, AWaitEndsAtMaxWait) {
  const Instant start = clock_.Now();
  loop_->RunOnce(milliseconds(3));
  EXPECT_GE(clock_.Now() - start, milliseconds(3));
}

}  // namespace
}  // namespace im
