// DashboardFeed: what open pages are told as it happens, as server-sent events
// (HTML 9.2).
//
// A reader gets, one message after the other:
//
//   hello    the cluster; whatever it knew before is void
//   hosts    pages of rows (HostJson): at first all hosts, then whoever has
//            changed since it was told; {"id":3,"gone":true} of a guest that left
//   ready    once: the rows of all hosts have been told
//   events   the newest kept ones at first, then new ones
//   totals   host-seconds and numbers of hosts, every second
//   traffic  [[from, to, bytes], …] since the last of them; -1: from outside
//
// Nothing is queued. Each host has the number of the look in which it was last
// found changed, and each reader the number up to which it knows all; so a slow
// reader simply gets the newest of each host less often, and costs the same few
// bytes as any other. While nobody reads, nothing is looked at or kept.
//
// There is a look every second, and one soon after an event; and after one that
// took t none for kQuiet * t.

#ifndef IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_FEED_H_
#define IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_FEED_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "orchestrator/controller.h"
#include "orchestrator/dashboard/traffic_feed.h"
#include "orchestrator/http_server.h"

namespace im::orchestrator {

// Owned by the loop's thread.
class DashboardFeed {
 public:
  static constexpr Duration kLookInterval = std::chrono::seconds(1);
  static constexpr Duration kAfterEvent = std::chrono::milliseconds(100);
  static constexpr int kQuiet = 20;
  // What one message holds at most: some tens of kilobytes.
  static constexpr size_t kRowsMax = 200;
  static constexpr size_t kEventsMax = 200;
  // Events of before that a reader is told.
  static constexpr size_t kOldEvents = 1000;

  // `on_news`: readers have something to read. `controller` must outlive it.
  DashboardFeed(Controller& controller, std::function<void()> on_news);
  ~DashboardFeed();
  DashboardFeed(const DashboardFeed&) = delete;
  DashboardFeed& operator=(const DashboardFeed&) = delete;

  // Reads nothing any more once the feed is gone.
  std::unique_ptr<HttpStream> Open();

  size_t readers() const { return readers_; }

 private:
  class Reader;
  struct Row {
    uint64_t fingerprint = 0;
    uint64_t look = 0;  // in which it was found changed; 0: never was there
    bool gone = false;
  };

  void Begin();
  void End();
  void Look();
  void LookAtHosts();
  void LookAtTraffic(int64_t unix_ms);
  void LookSoon();
  void LookAfter(Duration delay);

  Controller& controller_;
  const std::function<void()> on_news_;
  size_t readers_ = 0;
  std::vector<Row> rows_;  // by HostId
  uint64_t look_ = 0;      // the number of the last one
  std::string totals_;     // messages of the last look
  std::string traffic_;
  std::optional<TrafficFeed> flows_;
  EventLog::SubscriptionId subscription_ = 0;
  EventLoop::Timer timer_;
  Instant next_look_;
  Instant not_before_;
  // Cleared by the destructor, so that readers find nobody.
  std::shared_ptr<DashboardFeed*> self_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_DASHBOARD_DASHBOARD_FEED_H_
