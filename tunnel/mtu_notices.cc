#include "tunnel/mtu_notices.h"

#include <algorithm>
#include <utility>

#include "base/ip_build.h"
#include "base/ip_header.h"
#include "tunnel/fit_mtu.h"

namespace im::tunnel {

void MtuNotices::Owe(std::span<const uint8_t> packet, int size) {
  const auto route = ParseIpRoute(packet);
  if (!route) return;
  const auto same = [&](const Notice& notice) {
    return notice.source == route->source && notice.destination == route->destination;
  };
  if (auto found = std::find_if(notices_.begin(), notices_.end(), same); found != notices_.end()) {
    found->size = std::max(found->size, size);
    return;
  }
  if (notices_.size() >= kMtuNoticesMax) return;
  auto error = BuildTooBig(packet, /*mtu=*/0);
  if (!error) return;
  notices_.push_back({route->source, route->destination, size, *std::move(error)});
}

void MtuNotices::Pay(int mtu, PacketBatch& inside) {
  for (Notice& notice : std::exchange(notices_, {})) {
    const int limit = MtuFor(notice.source.is_v4(), mtu);
    if (notice.size <= limit) continue;
    SetTooBigMtu(notice.error, limit);
    inside.AppendCopy(notice.error);
  }
}

}  // namespace im::tunnel
