#include "orchestrator/event_log.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "orchestrator/backoff.h"

namespace im::orchestrator {
namespace {

// Columns of "imaginary → starting", the longest common one.
constexpr size_t kChangeColumns = 20;

std::string TimeOfDay(int64_t unix_nanos) {
  const time_t seconds = static_cast<time_t>(unix_nanos / 1'000'000'000);
  const int millis = static_cast<int>(unix_nanos / 1'000'000 % 1'000);
  tm local{};
  localtime_r(&seconds, &local);
  return absl::StrFormat("%02d:%02d:%02d.%03d", local.tm_hour, local.tm_min, local.tm_sec,
                         std::max(millis, 0));
}

// What came from programs and agents must not steer a terminal.
std::string Printable(absl::string_view text) {
  std::string out(text);
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = byte == '\n' || byte == '\t' ? ' ' : '?';
  }
  return out;
}

void Pad(std::string& line, size_t used, size_t columns) {
  if (used < columns) line.append(columns - used, ' ');
}

}  // namespace

bool EventConcerns(const proto::Event& event, const std::vector<std::string>& hosts) {
  return hosts.empty() || std::find(hosts.begin(), hosts.end(), event.host()) != hosts.end();
}

std::string EventLine(const proto::Event& event, size_t host_width) {
  std::string line = absl::StrCat(TimeOfDay(event.unix_nanos()), "  ");
  const std::string host = Printable(event.host());
  absl::StrAppend(&line, host);
  Pad(line, host.size(), host_width);
  std::string text = Printable(event.text());
  if (event.duration_ns() > 0) {
    const std::string took = DurationText(Duration(static_cast<int64_t>(
        std::min<uint64_t>(event.duration_ns(), static_cast<uint64_t>(INT64_MAX)))));
    if (text.empty()) {
      text = absl::StrCat("in ", took);
    } else {
      absl::StrAppend(&text, ", in ", took);
    }
  }
  if (!event.to().empty()) {
    const size_t columns = event.from().size() + 3 + event.to().size();
    absl::StrAppend(&line, "  ", event.from(), " → ", event.to());
    if (!text.empty()) Pad(line, columns, kChangeColumns);
  }
  if (!text.empty()) absl::StrAppend(&line, event.to().empty() ? "  " : "   ", text);
  return line;
}

void EventLog::Append(proto::Event event) {
  event.set_sequence(++last_sequence_);
  events_.push_back(event);
  if (events_.size() > events_max_) events_.pop_front();
  // Subscribers may come and go meanwhile; those that come see later ones.
  std::vector<std::pair<SubscriptionId, std::shared_ptr<Subscriber>>> all(subscribers_.begin(),
                                                                          subscribers_.end());
  for (const auto& [id, subscriber] : all)
    if (subscribers_.contains(id)) (*subscriber)(event);
}

std::vector<proto::Event> EventLog::Newest(const std::vector<std::string>& hosts,
                                           size_t newest) const {
  std::vector<proto::Event> out;
  for (auto it = events_.rbegin(); it != events_.rend(); ++it) {
    if (!EventConcerns(*it, hosts)) continue;
    out.push_back(*it);
    if (newest != 0 && out.size() >= newest) break;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

EventLog::SubscriptionId EventLog::Subscribe(Subscriber subscriber) {
  const SubscriptionId id = next_subscription_++;
  subscribers_.emplace(id, std::make_shared<Subscriber>(std::move(subscriber)));
  return id;
}

void EventLog::Unsubscribe(SubscriptionId id) { subscribers_.erase(id); }

}  // namespace im::orchestrator
