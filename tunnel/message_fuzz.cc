// Datagrams of any kind into a device that waits for a response, has answered
// an initiation and has a session. Nobody without keys may get a packet in.
//
// Input: datagrams, each a flag byte, two bytes of size and its bytes. Flags:
//   1  put a right MAC1 on it          2  put our handshake's index in it
//   4  put our session's index in it   8  a second passes first
//   16 the datagram is a run cut at 40 bytes

#include <cstdint>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "tunnel/cookie.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

struct World {
  World() {
    network.Introduce(us, friendly);
    network.Introduce(us, absent);
    network.Connect(friendly, us);
    network.DeliverAll();
    session_index = ReadMessage<TransportHeader>(network.log.back().bytes).receiver;
    network.SendText(us, absent, "staged");
    handshake_index = ReadMessage<InitiationMessage>(network.log.back().bytes).sender;
    network.wire.clear();
  }

  TestNetwork network;
  Node& us = network.Add();
  Node& friendly = network.Add();
  Node& absent = network.Add();
  uint32_t session_index = 0;
  uint32_t handshake_index = 0;
};

// A world serves many inputs, since its handshakes cost more than an input, and
// none of them may change it. But it ages.
constexpr std::chrono::seconds kWorldAgeMax{60};

void Run(std::span<const uint8_t> input) {
  static auto current = std::make_unique<World>();
  static Instant born = current->network.clock.Now();
  if (current->network.clock.Now() - born > kWorldAgeMax) {
    current = std::make_unique<World>();
    born = current->network.clock.Now();
  }
  World& world = *current;
  Node& us = world.us;
  us.inbox.clear();
  world.network.log.clear();
  while (input.size() > 3) {
    const uint8_t flags = input[0];
    const size_t size = std::min<size_t>(input[1] | input[2] << 8, input.size() - 3);
    ByteVector bytes(input.begin() + 3, input.begin() + 3 + static_cast<ptrdiff_t>(size));
    input = input.subspan(3 + size);
    const LittleEndian<uint32_t> index =
        (flags & 2) != 0 ? world.handshake_index : world.session_index;
    const size_t at = !bytes.empty() && bytes[0] == 2 ? 8 : 4;
    if ((flags & 6) != 0 && bytes.size() >= at + 4)
      std::memcpy(bytes.data() + at, index.bytes.data(), 4);
    if ((flags & 1) != 0 && bytes.size() >= 2 * kMacBytes)
      CookieHolder().AddMacs(bytes, us.key(), Instant(), kCookieRefreshTime);
    if ((flags & 8) != 0) world.network.clock.Advance(std::chrono::seconds(1));
    DatagramBatch batch;
    batch.AddCopy(*Endpoint::Parse("198.51.100.66:666"), bytes);
    if ((flags & 16) != 0) batch.runs().back().segment_size = 40;
    us.device.OnDatagrams(batch, world.network.clock.Now(), us.out);
    IM_CHECK(us.out.inside.empty());
    IM_CHECK(us.device.GetPeer(world.friendly.key())->endpoint == world.friendly.endpoint);
    us.out.datagrams.Clear();
  }
  // The session is none the worse for it.
  world.network.SendText(world.friendly, us, "hello");
  world.network.DeliverAll();
  IM_CHECK(us.texts().size() == 1);
}

}  // namespace
}  // namespace im::tunnel

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  im::tunnel::Run({data, size});
  return 0;
}
