#include "tunnel/tun_port.h"

#include <sys/epoll.h>

#include <utility>

namespace im::tunnel {
namespace {

// What one turn takes from the device: enough to fill trains, little enough to
// stay in the processor's cache, sealed and unsealed, on its way out and to let
// the socket have its turn.
constexpr size_t kPacketsPerTurn = 64;
constexpr size_t kBytesPerTurn = 128 << 10;

}  // namespace

TunPort::TunPort(TunDevice device, EventLoop& loop) : device_(std::move(device)), loop_(loop) {}

void TunPort::Start(PacketSink& outward, std::function<void(absl::Status)> on_gone) {
  on_gone_ = std::move(on_gone);
  watch_ = loop_.WatchFd(device_.fd(), EPOLLIN, [this, &outward](uint32_t) { OnReadable(outward); });
}

void TunPort::Pause(bool paused) { watch_.SetEvents(paused ? 0 : uint32_t{EPOLLIN}); }

void TunPort::OnReadable(PacketSink& outward) {
  PacketBatch batch;
  size_t bytes = 0;
  absl::Status status;
  while (batch.size() < kPacketsPerTurn && bytes < kBytesPerTurn) {
    const size_t before = batch.size();
    status = device_.Read(batch, 1);
    if (batch.size() == before) break;
    bytes += batch[before].size;
  }
  if (!batch.empty()) outward.Write(std::move(batch));
  if (status.ok()) return;
  watch_.Reset();
  if (on_gone_) on_gone_(status);
}

}  // namespace im::tunnel
