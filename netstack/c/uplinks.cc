#include "netstack/c/uplinks.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/ip_header.h"
#include "base/segment_split.h"
#include "base/status.h"

namespace im::netstack {
namespace {

// Packets taken from a descriptor in one turn.
constexpr int kPacketsPerTurn = 64;

// Calls `each` for each packet that `batch` stands for, complete.
void ForEachWhole(PacketBatch& batch, const std::function<void(std::span<const uint8_t>)>& each) {
  std::vector<uint8_t> segment;
  for (Packet& packet : batch) {
    if (packet.segment_size == 0 && !packet.checksum_partial) {
      each(packet.bytes());
      continue;
    }
    const SegmentSplitter splitter(packet);
    for (size_t i = 0; i < splitter.count(); ++i) {
      segment.resize(splitter.size(i));
      splitter.Write(i, segment);
      each(segment);
    }
  }
}

}  // namespace

// ---- TunnelUplink ----

absl::StatusOr<std::shared_ptr<TunnelUplink>> TunnelUplink::Create(EventLoop& loop,
                                                                   const WgConfig& config) {
  std::shared_ptr<TunnelUplink> self(new TunnelUplink());
  IM_ASSIGN_OR_RETURN(
      self->driver_,
      tunnel::Driver::Create(config.private_key,
                             {.device = {.mtu = config.mtu}, .listen = config.listen}, loop,
                             self->random_, self->from_tunnel_, nullptr));
  self->driver_->SetBlockedCallback([raw = self.get()](bool blocked) {
    for (const Inside& inside : raw->insides_) inside.interface->SetBlocked(blocked);
  });
  for (const tunnel::PeerConfig& peer : config.peers)
    IM_RETURN_IF_ERROR(self->driver_->SetPeer(peer));
  self->restore_watch_ = RestoreWatch::Create(
      loop, {}, [raw = self.get()](absl::string_view) { raw->driver_->OnRestored(); });
  return self;
}

TunnelUplink::~TunnelUplink() = default;

void TunnelUplink::AddInside(const IpAddress& address, LateInterface& inside) {
  insides_.push_back({address, inside.shared_from_this()});
}

void TunnelUplink::Deliver(PacketBatch batch) {
  if (insides_.size() == 1) return insides_[0].interface->Write(std::move(batch));
  for (const Inside& inside : insides_) {
    PacketBatch mine;
    for (const Packet& packet : batch) {
      const std::optional<IpView> view = ParseIp(packet.bytes());
      if (view.has_value() && view->destination == inside.address) mine.AppendCopy(packet);
    }
    if (!mine.empty()) inside.interface->Write(std::move(mine));
  }
}

// ---- FdUplink ----

FdUplink::FdUplink(EventLoop& loop, FileDescriptor fd, LateInterface& inside)
    : fd_(std::move(fd)), inside_(inside) {
  watch_ = loop.WatchFd(fd_.get(), EPOLLIN, [this](uint32_t events) { OnReady(events); });
}

void FdUplink::Write(PacketBatch batch) {
  ForEachWhole(batch, [this](std::span<const uint8_t> packet) {
    queue_.emplace_back(packet.begin(), packet.end());
  });
  Send();
}

void FdUplink::Send() {
  for (; !queue_.empty(); queue_.pop_front()) {
    const std::vector<uint8_t>& packet = queue_.front();
    // A socket whose other end is gone must not raise SIGPIPE.
    ssize_t n = send(fd_.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == ENOTSOCK) n = write(fd_.get(), packet.data(), packet.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;  // else it is lost
  }
  if (!watch_.active()) return queue_.clear();
  const bool blocked = !queue_.empty();
  watch_.SetEvents(blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
  inside_.SetBlocked(blocked);
}

void FdUplink::OnReady(uint32_t events) {
  if ((events & EPOLLOUT) != 0) Send();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Receive();
}

void FdUplink::Receive() {
  PacketBatch batch;
  for (int i = 0; i < kPacketsPerTurn; ++i) {
    Packet& packet = batch.Append(kPacketBytesMax);
    const ssize_t n = read(fd_.get(), packet.data, packet.size);
    if (n > 0) {
      batch.ShrinkLast(static_cast<size_t>(n));
      continue;
    }
    batch.DropLast();
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    watch_.Reset();  // the other end is gone
    queue_.clear();
    inside_.SetBlocked(false);
    break;
  }
  if (!batch.empty()) inside_.Write(std::move(batch));
}

// ---- CallbackUplink ----

void CallbackUplink::Write(PacketBatch batch) { ForEachWhole(batch, output_); }

}  // namespace im::netstack
