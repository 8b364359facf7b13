#include "netstack/shared_udp.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace im::netstack {
namespace {

constexpr size_t kCostBytes = 64;  // of a datagram beside its payload

}  // namespace

absl::StatusOr<std::shared_ptr<SharedUdp>> SharedUdp::Bind(
    const std::shared_ptr<StackThread>& thread, const Endpoint& local) {
  std::shared_ptr<SharedUdp> self(new SharedUdp(thread, *thread));
  absl::Status status = absl::CancelledError("the stack is gone");
  thread->Run([&, raw = self.get()](Stack& stack) {
    auto endpoint = stack.BindUdp(
        local, [raw](const Endpoint& from, auto payload) { raw->OnDatagram(from, payload); });
    status = endpoint.status();
    if (!endpoint.ok()) return;
    self->endpoint_ = *std::move(endpoint);
    self->endpoint_->SetErrorHandler(
        [raw](const Endpoint& remote, const absl::Status& error) { raw->OnError(remote, error); });
    self->local_ = self->endpoint_->local();
    thread->Admit(self);
  });
  if (!status.ok()) return status;
  const std::lock_guard lock(self->mutex());
  self->UpdateReady();
  return self;
}

// ---- any thread ----

void SharedUdp::Connect(const Endpoint& remote) {
  const std::lock_guard lock(mutex());
  remote_ = remote;
  std::erase_if(in_, [&](const Datagram& datagram) {
    if (datagram.remote == remote) return false;
    in_bytes_ -= kCostBytes + datagram.payload.size();
    return true;
  });
  UpdateReady();
}

std::optional<Endpoint> SharedUdp::remote() {
  const std::lock_guard lock(mutex());
  return remote_;
}

uint64_t SharedUdp::dropped() {
  const std::lock_guard lock(mutex());
  return dropped_;
}

IoResult SharedUdp::Receive(std::span<uint8_t> buffer, Endpoint* from) {
  IoResult result;
  const std::lock_guard lock(mutex());
  if (over_) return {.status = absl::CancelledError("the endpoint is closed")};
  if (!error_.ok()) {
    result.status = error_.Take();
  } else if (in_.empty()) {
    result.would_block = true;
  } else {
    const Datagram& datagram = in_.front();
    result.size = datagram.payload.size();
    if (const size_t n = std::min(buffer.size(), result.size); n > 0)
      std::memcpy(buffer.data(), datagram.payload.data(), n);
    if (from != nullptr) *from = datagram.remote;
    in_bytes_ -= kCostBytes + result.size;
    in_.pop_front();
  }
  UpdateReady();
  return result;
}

IoResult SharedUdp::Send(const Endpoint& remote, std::span<const uint8_t> payload) {
  if (payload.size() > kUdpPayloadMax)
    return {.status = absl::InvalidArgumentError(
                absl::StrCat(payload.size(), " bytes are more than ", kUdpPayloadMax))};
  {
    const std::lock_guard lock(mutex());
    if (over_) return {.status = absl::CancelledError("the endpoint is closed")};
    if (!error_.ok()) {
      IoResult result{.status = error_.Take()};
      UpdateReady();
      return result;
    }
    if (out_bytes_ >= kSharedUdpBytes) return {.would_block = true};
    out_bytes_ += kCostBytes + payload.size();
    out_.push_back({remote, {payload.begin(), payload.end()}});
    UpdateReady();
    if (std::exchange(posted_, true)) return {.size = payload.size()};
  }
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this()](Stack&) { self->SendAll(); });
  return {.size = payload.size()};
}

void SharedUdp::Close() {
  {
    const std::lock_guard lock(mutex());
    if (std::exchange(over_, true)) return;
    UpdateReady();
  }
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this()](Stack&) {
      self->SendAll();  // what was sent before
      self->End();
    });
}

// ---- the stack's thread ----

void SharedUdp::OnDatagram(const Endpoint& from, std::span<const uint8_t> payload) {
  const std::lock_guard lock(mutex());
  if (remote_.has_value() && from != *remote_) return;
  if (over_ || in_bytes_ >= kSharedUdpBytes) {
    ++dropped_;
    return;
  }
  in_bytes_ += kCostBytes + payload.size();
  in_.push_back({from, {payload.begin(), payload.end()}});
  UpdateReady();
}

void SharedUdp::OnError(const Endpoint& remote, const absl::Status& error) {
  const std::lock_guard lock(mutex());
  if (remote_ != remote) return;
  error_ = error;
  UpdateReady();
}

void SharedUdp::SendAll() {
  std::deque<Datagram> out;
  {
    const std::lock_guard lock(mutex());
    posted_ = false;
    out.swap(out_);
    out_bytes_ = 0;
  }
  absl::Status error;
  if (endpoint_ != nullptr)
    for (const Datagram& datagram : out)
      if (absl::Status sent = endpoint_->SendTo(datagram.remote, datagram.payload); !sent.ok())
        error = sent;
  const std::lock_guard lock(mutex());
  if (!error.ok()) error_ = error;
  UpdateReady();
}

void SharedUdp::End() {
  endpoint_.reset();
  {
    const std::lock_guard lock(mutex());
    over_ = true;
    in_.clear();
    UpdateReady();
  }
  thread_.Dismiss(this);
}

void SharedUdp::UpdateReady() {
  uint32_t events = 0;
  if (over_) events |= kOver;
  if (over_ || !error_.ok() || !in_.empty()) events |= kReadable;
  if (over_ || !error_.ok() || out_bytes_ < kSharedUdpBytes) events |= kWritable;
  SetReady(events);
}

}  // namespace im::netstack
