#include "orchestrator/control_channel.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/datagrams.h"
#include "base/ip_build.h"

namespace im::orchestrator {
namespace {

// At most `bytes_max` of UTF-8 text, cut between characters.
void Truncate(std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return;
  size_t size = bytes_max;
  while (size > 0 && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) --size;
  text.resize(size);
}

}  // namespace

ControlChannel::ControlChannel(const IpAddress& gateway, const Times& times,
                               uint64_t first_version, Introductions& introductions,
                               Delegate& delegate)
    : gateway_{gateway, kControlPort},
      times_(times),
      last_version_(first_version),
      introductions_(introductions),
      delegate_(delegate) {}

void ControlChannel::Add(const IpAddress& host, uint64_t incarnation) {
  Remove(host);
  channels_[host].incarnation = incarnation;
}

void ControlChannel::Remove(const IpAddress& host) {
  const auto it = channels_.find(host);
  if (it == channels_.end()) return;
  SetDue(host, it->second, kNever);
  channels_.erase(it);
}

void ControlChannel::SetDue(const IpAddress& host, Channel& channel, Instant due) {
  if (channel.due != kNever) due_.erase({channel.due, host});
  channel.due = due;
  if (due != kNever) due_.insert({due, host});
}

void ControlChannel::SetDesired(const IpAddress& host, proto::DesiredState state, Instant now) {
  const auto it = channels_.find(host);
  IM_CHECK(it != channels_.end());
  Channel& channel = it->second;
  state.set_version(++last_version_);
  if (state.has_wake_cause()) {
    Truncate(*state.mutable_wake_cause()->mutable_detail(), kControlDetailBytesMax);
  }
  channel.desired = std::move(state);
  channel.desired_acknowledged = false;
  channel.interval = times_.repeat_first;
  SetDue(host, channel, now);
}

void ControlChannel::OnPacket(const Packet& packet, const IpView& view, Instant now) {
  if (!view.is_udp() || view.fragment) {
    ++counters_.received;
    ++counters_.malformed;
    return;
  }
  ForEachDatagram(packet, view, [&](std::span<const uint8_t> payload) {
    ++counters_.received;
    if (view.source_port != kControlPort) {
      ++counters_.unknown_sender;
    } else {
      OnMessage(view.source, payload, now);
    }
  });
}

void ControlChannel::OnMessage(const IpAddress& host, std::span<const uint8_t> payload,
                               Instant now) {
  const auto it = channels_.find(host);
  if (it == channels_.end()) {
    ++counters_.unknown_sender;
    return;
  }
  Channel& channel = it->second;
  proto::ToOrchestrator message;
  if (payload.size() > kControlBytesReadMax ||
      !message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    ++counters_.malformed;
    return;
  }
  if (message.incarnation() != channel.incarnation) {
    ++counters_.stale_incarnation;
    return;
  }
  for (const uint64_t version : message.acknowledged_peers()) {
    introductions_.Acknowledge(host, version);
  }
  if (!message.has_status() || message.status().version() == 0) return;
  // What came of the acknowledgements may have removed the channel.
  const auto again = channels_.find(host);
  if (again == channels_.end() || again->second.incarnation != message.incarnation()) return;
  Channel& current = again->second;
  const proto::InstanceStatus& status = message.status();
  SetDue(host, current, now);
  if (status.version() < current.newest_status) {
    ++counters_.stale_status;
    return;
  }
  current.newest_status = status.version();
  const bool goal_known = status.acknowledged_desired() == current.desired.version();
  if (goal_known) current.desired_acknowledged = true;
  delegate_.OnStatus(host, status, goal_known);
}

void ControlChannel::Flush(Instant now, PacketBatch& out) {
  while (!due_.empty() && due_.begin()->first <= now) {
    const IpAddress host = due_.begin()->second;
    Send(host, channels_.at(host), now, out);
  }
  while (std::optional<IpAddress> host = introductions_.NextRecipient(now)) {
    const auto it = channels_.find(*host);
    // Members without a channel have none to tell them: our own bug.
    IM_CHECK(it != channels_.end());
    Send(*host, it->second, now, out);
  }
}

void ControlChannel::Send(const IpAddress& host, Channel& channel, Instant now,
                          PacketBatch& out) {
  proto::ToAgent message;
  message.set_incarnation(channel.incarnation);
  message.set_acknowledged_status(channel.newest_status);
  if (channel.desired_acknowledged) {
    SetDue(host, channel, kNever);
  } else {
    *message.mutable_desired() = channel.desired;
    if (channel.due <= now) {
      SetDue(host, channel, now + channel.interval);
      channel.interval = std::min(2 * channel.interval, times_.repeat_max);
    }
  }
  introductions_.TakeDue(host, now, kControlBytesMax - message.ByteSizeLong(), message);
  const std::string bytes = message.SerializeAsString();
  const std::vector<uint8_t> packet =
      BuildUdp(gateway_, Endpoint{host, kControlPort},
               {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  out.AppendCopy(packet);
  ++counters_.sent;
}

Instant ControlChannel::NextDeadline() const {
  const Instant next = introductions_.NextDeadline();
  return due_.empty() ? next : std::min(next, due_.begin()->first);
}

}  // namespace im::orchestrator
