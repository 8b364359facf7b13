#include "orchestrator/dashboard/dashboard_feed.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/dashboard/dashboard_json.h"

namespace im::orchestrator {
namespace {

std::string Message(absl::string_view kind, const nlohmann::json& json) {
  return absl::StrCat("event: ", kind, "\ndata: ", JsonText(json), "\n\n");
}

int64_t UnixMs(const EventLoop& loop) { return loop.clock().UnixNanos() / 1'000'000; }

}  // namespace

// ---- one reader -------------------------------------------------------------

class DashboardFeed::Reader final : public HttpStream {
 public:
  explicit Reader(std::shared_ptr<DashboardFeed*> feed) : feed_(std::move(feed)) {}
  ~Reader() override {
    if (*feed_ != nullptr && --(*feed_)->readers_ == 0) (*feed_)->End();
  }

  std::string Next() override {
    if (*feed_ == nullptr) return "";
    const DashboardFeed& feed = **feed_;
    if (!greeted_) {
      greeted_ = true;
      return "retry: 2000\n" +
             Message("hello", ClusterJson(feed.controller_, UnixMs(feed.controller_.loop())));
    }
    if (std::string hosts = NextHosts(feed); !hosts.empty()) return hosts;
    if (!ready_) {
      ready_ = true;
      return Message("ready", nlohmann::json::object());
    }
    if (std::string events = NextEvents(feed); !events.empty()) return events;
    if (told_look_ == feed.look_) return "";
    told_look_ = feed.look_;
    return absl::StrCat(feed.totals_, feed.traffic_);
  }

 private:
  // One page of the hosts that changed after known_; a pass over all of them may
  // take several. Empty: there are no more.
  std::string NextHosts(const DashboardFeed& feed) {
    if (position_ == 0) {
      if (known_ == feed.look_) return "";
      pass_ = feed.look_;
    }
    Controller& controller = feed.controller_;
    const Instant now = controller.loop().now();
    const int64_t unix_ms = UnixMs(controller.loop());
    nlohmann::json rows = nlohmann::json::array();
    for (; position_ < feed.rows_.size() && rows.size() < kRowsMax; ++position_) {
      const Row& row = feed.rows_[position_];
      if (row.look <= known_) continue;
      const auto host = static_cast<HostId>(position_);
      if (!row.gone && controller.hosts().Contains(host)) {
        rows.push_back(HostJson(controller, host, now, unix_ms));
      } else if (known_ != 0) {
        rows.push_back({{"id", host}, {"gone", true}});
      }
    }
    if (position_ >= feed.rows_.size()) {
      position_ = 0;
      known_ = pass_;
    }
    return rows.empty() ? "" : Message("hosts", rows);
  }

  std::string NextEvents(const DashboardFeed& feed) {
    const EventLog& log = feed.controller_.events();
    if (!sequence_) {
      sequence_ = log.last_sequence() - std::min<uint64_t>(log.last_sequence(), kOldEvents);
    }
    if (*sequence_ == log.last_sequence()) return "";
    nlohmann::json events = nlohmann::json::array();
    log.ForEachAfter(*sequence_, kEventsMax, [&](const proto::Event& event) {
      sequence_ = event.sequence();
      events.push_back(EventJson(event));
    });
    return Message("events", events);
  }

  const std::shared_ptr<DashboardFeed*> feed_;
  bool greeted_ = false;
  bool ready_ = false;
  uint64_t known_ = 0;   // all that changed in looks up to this one is told
  uint64_t pass_ = 0;    // the same, once the pass under way is at its end
  size_t position_ = 0;  // in rows_, of the pass
  std::optional<uint64_t> sequence_;
  uint64_t told_look_ = 0;
};

// ---- looks ------------------------------------------------------------------

DashboardFeed::DashboardFeed(Controller& controller, std::function<void()> on_news)
    : controller_(controller),
      on_news_(std::move(on_news)),
      self_(std::make_shared<DashboardFeed*>(this)) {}

DashboardFeed::~DashboardFeed() {
  *self_ = nullptr;
  if (readers_ > 0) End();
}

std::unique_ptr<HttpStream> DashboardFeed::Open() {
  if (readers_++ == 0) Begin();
  return std::make_unique<Reader>(self_);
}

void DashboardFeed::Begin() {
  flows_.emplace(controller_);
  subscription_ = controller_.events().Subscribe([this](const proto::Event&) { LookSoon(); });
  Look();
}

void DashboardFeed::End() {
  controller_.events().Unsubscribe(subscription_);
  timer_.Reset();
  flows_.reset();
  rows_ = {};
  look_ = 0;
}

void DashboardFeed::Look() {
  const Instant begin = controller_.loop().clock().Now();
  ++look_;
  const int64_t unix_ms = UnixMs(controller_.loop());
  LookAtHosts();
  LookAtTraffic(unix_ms);
  totals_ = Message("totals", TotalsJson(controller_, controller_.loop().now(), unix_ms));
  const Instant end = controller_.loop().clock().Now();
  not_before_ = end + std::max<Duration>(kAfterEvent, kQuiet * (end - begin));
  LookAfter(std::max<Duration>(kLookInterval, kQuiet * (end - begin)));
  on_news_();
}

void DashboardFeed::LookAtHosts() {
  const HostTable& hosts = controller_.hosts();
  hosts.ForEach([&](HostId host, const HostTable::Host&) {
    if (host >= rows_.size()) rows_.resize(host + 1);
    Row& row = rows_[host];
    const uint64_t fingerprint = HostFingerprint(controller_, host);
    if (row.look != 0 && !row.gone && row.fingerprint == fingerprint) return;
    row = {fingerprint, look_, false};
  });
  for (HostId host = 0; host < rows_.size(); ++host) {
    Row& row = rows_[host];
    if (!row.gone && row.look != 0 && !hosts.Contains(host)) row = {0, look_, true};
  }
}

void DashboardFeed::LookAtTraffic(int64_t unix_ms) {
  traffic_.clear();
  const std::vector<TrafficFeed::Flow> flows = flows_->Take();
  if (flows.empty()) return;
  nlohmann::json told = nlohmann::json::array();
  const auto end = [](HostId host) {
    return host == kNoHost ? int64_t{-1} : static_cast<int64_t>(host);
  };
  for (const TrafficFeed::Flow& flow : flows) {
    told.push_back({end(flow.from), end(flow.to), flow.bytes});
  }
  traffic_ = Message("traffic", {{"at", unix_ms}, {"flows", told}});
}

void DashboardFeed::LookSoon() {
  const Instant now = controller_.loop().now();
  const Instant soon = std::max(not_before_, now);
  if (soon < next_look_) LookAfter(soon - now);
}

void DashboardFeed::LookAfter(Duration delay) {
  next_look_ = controller_.loop().now() + delay;
  timer_ = controller_.loop().After(delay, [this] { Look(); });
}

}  // namespace im::orchestrator
