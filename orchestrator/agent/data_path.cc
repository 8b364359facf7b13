#include "orchestrator/agent/data_path.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "base/datagrams.h"
#include "base/ip_build.h"
#include "base/ip_header.h"

namespace im::agent {
namespace {

// Applies `keep` to each packet. Returns the batch itself if all stay, else a
// copy of those that do.
template <typename Keep>
PacketBatch Filter(PacketBatch batch, const Keep& keep) {
  absl::InlinedVector<bool, 64> kept(batch.size());
  bool all = true;
  for (size_t i = 0; i < batch.size(); ++i) all &= kept[i] = keep(batch[i]);
  if (all) return batch;
  PacketBatch rest;
  for (size_t i = 0; i < batch.size(); ++i)
    if (kept[i]) rest.AppendCopy(batch[i]);
  return rest;
}

}  // namespace

// ---- from the tunnel to the program ----

void DataPath::Write(PacketBatch batch) {
  Deliver(Filter(std::move(batch), [this](const Packet& packet) { return FromTunnel(packet); }));
  const std::vector<std::vector<uint8_t>> controls = std::move(controls_);
  controls_.clear();
  for (const std::vector<uint8_t>& payload : controls) delegate_.OnControl(payload);
}

void DataPath::Deliver(PacketBatch arriving) {
  if (keeps_) {
    KeepMore(arriving);
  } else if (!arriving.empty()) {
    if (remembers_) Remember(arriving);
    attachment_->Write(std::move(arriving));
  }
  if (std::exchange(used_, false)) delegate_.OnInboundDelivered();
}

void DataPath::Keep(bool nor_out) {
  keeps_ = true;
  drops_out_ = nor_out;
}

void DataPath::KeepMore(const PacketBatch& batch) {
  for (const Packet& packet : batch) {
    if (kept_.size() < kKeptPacketsMax) {
      kept_.AppendCopy(packet);
    } else {
      drops_.Add(DropReason::kQueueFull);
    }
  }
}

void DataPath::RememberUnread(bool remember) {
  remembers_ = remember;
  if (!remember) unread_ = PacketBatch();
}

void DataPath::Remember(const PacketBatch& batch) {
  for (const Packet& packet : batch) {
    const std::optional<IpView> view = ParseIp(packet.bytes());
    if (view && view->is_udp() && unread_.size() < kKeptPacketsMax) unread_.AppendCopy(packet);
  }
}

void DataPath::LetGo() {
  keeps_ = drops_out_ = false;
  PacketBatch kept = Filter(std::exchange(kept_, PacketBatch()), [this](const Packet& packet) {
    const std::optional<IpView> view = ParseIp(packet.bytes());
    return view && attachment_->LetIn(packet, *view);
  });
  if (kept.empty()) return;
  if (remembers_) Remember(kept);
  attachment_->Write(std::move(kept));
}

bool DataPath::FromTunnel(const Packet& packet) {
  const std::optional<IpView> view = ParseIp(packet.bytes());
  if (!view) {
    drops_.Add(DropReason::kMalformed);
    return false;
  }
  if (view->source == options_.gateway && view->is_udp() && !view->fragment &&
      view->source_port == kControlPort && view->destination_port == kControlPort &&
      view->destination == options_.host) {
    passed_.OnHeard();
    ForEachDatagram(packet, *view, [this](std::span<const uint8_t> payload) {
      controls_.emplace_back(payload.begin(), payload.end());
    });
    return false;
  }
  const bool about_names = options_.dual_stack.Plain(view->source) == options_.gateway &&
                           view->is_udp() && view->source_port == names::kDnsPort;
  if (about_names && !view->fragment) {
    ForEachDatagram(packet, *view, [&](std::span<const uint8_t> answer) {
      passed_.OnAnswer({view->destination, view->destination_port}, answer);
    });
  }
  return Arrives(packet, *view, about_names ? Use::kName : traffic_.OfInbound(*view));
}

bool DataPath::Arrives(const Packet& packet, const IpView& view, Use use) {
  rx_bytes_ += packet.size;
  if (tap_ != nullptr) tap_->OnPacket(packet.bytes());
  if (!lets_begin_ && view.is_syn()) return false;
  if (use != Use::kNone) {
    used_ = true;
    delegate_.OnInboundUse(use, view);
  }
  // What is kept is shown when it is let go.
  return keeps_ || attachment_->LetIn(packet, view);
}

void DataPath::FailLateQuestions() {
  PacketBatch answers;
  for (const PassedQuestions::Question& question : passed_.TakeLate(loop_.now())) {
    const auto answer = dns_.Fail(question.query);
    if (answer) answers.AppendCopy(BuildUdp(question.resolver, question.asker, *answer));
  }
  Deliver(Filter(std::move(answers), [this](const Packet& packet) {
    return Arrives(packet, *ParseIp(packet.bytes()), Use::kName);
  }));
  ArmLateTimer();
}

void DataPath::ArmLateTimer() {
  const Instant next = passed_.NextDeadline();
  late_timer_.Reset();
  if (next != kNever) late_timer_ = loop_.At(next, [this] { FailLateQuestions(); });
}

// ---- from the program to the tunnel ----

void DataPath::OnFromProgram(PacketBatch batch) {
  if (drops_out_) return;
  PacketBatch answers;
  PacketBatch leaving = Filter(
      std::move(batch), [&](const Packet& packet) { return FromProgram(packet, answers); });
  Tap(answers);
  if (!answers.empty()) attachment_->Write(std::move(answers));
  if (leaving.empty()) return;
  if (!first_answer_) first_answer_ = loop_.clock().Now() - options_.started_at;
  Send(std::move(leaving));
}

void DataPath::Send(PacketBatch batch) {
  if (!only_by_) return driver_->Write(std::move(batch));
  driver_->SendTo(*only_by_, std::move(batch));
}

bool DataPath::FromProgram(const Packet& packet, PacketBatch& answers) {
  const std::optional<IpView> view = ParseIp(packet.bytes());
  if (!view) {
    drops_.Add(DropReason::kMalformed);
    return false;
  }
  if (view->destination.is_multicast()) {
    drops_.Add(DropReason::kNoRoute);
    return false;
  }
  if (view->is_udp() && options_.dual_stack.Plain(view->destination) == options_.gateway) {
    if (view->destination_port == names::kDnsPort) {
      if (tap_ != nullptr) tap_->OnPacket(packet.bytes());
      const bool goes_on = AnswerDns(packet, *view, answers);
      if (goes_on) tx_bytes_ += packet.size;
      return goes_on;
    }
    if (view->destination_port == kControlPort) {
      drops_.Add(DropReason::kSpoofed);
      return false;
    }
  }
  if (!attachment_->LetOut(packet, *view)) return false;
  tx_bytes_ += packet.size;
  if (tap_ != nullptr) tap_->OnPacket(packet.bytes());
  if (!listening_) {
    listening_ = view->is_udp() || (view->is_tcp() && (view->tcp_flags & (kTcpSyn | kTcpAck)) ==
                                                          (kTcpSyn | kTcpAck));
  }
  if (traffic_.OfOutbound(*view) != Use::kNone) delegate_.OnOutboundUse(*view);
  if (peers_->any_down()) peers_->OnPacketTo(view->destination, loop_.now());
  return true;
}

bool DataPath::AnswerDns(const Packet& packet, const IpView& view, PacketBatch& answers) {
  if (view.fragment) return false;
  // Of a super-packet of several questions each is answered here: resolvers do not send them,
  // and to imd they would go as one.
  bool goes_on = packet.segment_size == 0;
  ForEachDatagram(packet, view, [&](std::span<const uint8_t> query) {
    goes_on = goes_on && dns_.WhoKnows(query) == names::Knower::kImd;
    if (goes_on) {
      passed_.OnQuestion({view.source, view.source_port},
                         {view.destination, view.destination_port}, query, loop_.now());
      return;
    }
    if (const auto answer = dns_.Answer(query)) {
      answers.AppendCopy(BuildUdp({view.destination, view.destination_port},
                                  {view.source, view.source_port}, *answer));
    } else {
      drops_.Add(DropReason::kMalformed);
    }
  });
  if (goes_on) ArmLateTimer();
  return goes_on;
}

void DataPath::SendControl(const tunnel::PublicKey& gateway, absl::string_view payload) {
  driver_->SendTo(gateway,
                  SinglePacket(BuildUdp({options_.host, kControlPort},
                                        {options_.gateway, kControlPort},
                                        {reinterpret_cast<const uint8_t*>(payload.data()),
                                         payload.size()})));
}

}  // namespace im::agent
