// Any bytes as an IP packet: parsers, checksums, and what we answer.

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/ip_header.h"

namespace {

void CheckAnswer(const std::optional<std::vector<uint8_t>>& answer, const im::IpView& asked) {
  if (!answer) return;
  const auto view = im::ParseIp(*answer);
  IM_CHECK(view.has_value());
  IM_CHECK(view->total_size == answer->size());
  IM_CHECK(view->source == asked.destination && view->destination == asked.source);
  IM_CHECK(im::TransportChecksumIsRight(*answer, *view));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy of just this size, so that the sanitizer sees a read past the end.
  std::vector<uint8_t> packet(data, data + size);
  const auto view = im::ParseIp(packet);
  const auto route = im::ParseIpRoute(packet);
  static_cast<void>(im::DescribePacket(packet));
  if (!view) {
    IM_CHECK(!im::BuildRefusal(packet, im::RefusalKind::kPort));
    IM_CHECK(!im::BuildEchoReply(packet));
    return 0;
  }
  IM_CHECK(route.has_value());
  IM_CHECK(route->source == view->source && route->destination == view->destination);
  IM_CHECK(view->v6 != view->source.is_v4());
  IM_CHECK(view->total_size <= size && view->payload_offset <= view->total_size);
  IM_CHECK(view->transport_offset <= view->payload_offset);
  CheckAnswer(im::BuildRefusal(packet, im::RefusalKind::kHost), *view);
  CheckAnswer(im::BuildRefusal(packet, im::RefusalKind::kPort), *view);
  CheckAnswer(im::BuildEchoReply(packet), *view);

  im::SetTransportChecksum(packet, *view);
  IM_CHECK(im::TransportChecksumIsRight(packet, *view));
  if (!view->v6) im::SetIpv4HeaderChecksum(packet);
  im::PacketBatch batch = im::SinglePacket(std::span(packet).first(view->total_size));
  batch[0].checksum_partial = true;
  im::CompleteChecksum(batch[0]);
  return 0;
}
