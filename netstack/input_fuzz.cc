// Packets into a stack that listens and dials: nothing that arrives may trip
// an assertion of lwIP's or ours, or touch memory that is not ours.
//
// The input is a script. Raw bytes would hardly ever be a segment of a living
// connection, so most commands build one, with sequence numbers near those
// that the stack expects; its fields, options and payload come from the input.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/ip_build.h"
#include "netstack/net.h"

namespace im::netstack {
namespace {

const IpAddress kOurs = IpAddress::V4(0x0a4d0001);
const IpAddress kTheirs = IpAddress::V4(0x0a4d0002);
const IpAddress kOurs6 = *IpAddress::Parse("fd00::1");
const IpAddress kTheirs6 = *IpAddress::Parse("fd00::2");
constexpr size_t kFlows = 4;

// Bytes of the script, zero when it is over.
class Script {
 public:
  Script(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool over() const { return left_ == 0; }
  uint8_t Byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }
  std::vector<uint8_t> Take(size_t n) {
    std::vector<uint8_t> bytes(std::min(n, left_));
    for (uint8_t& b : bytes) b = Byte();
    return bytes;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

// MSS 1380, window scale 7, SACK permitted.
const std::vector<uint8_t> kSynOptions = {2, 4, 0x05, 0x64, 1, 3, 3, 7, 1, 1, 4, 2};

// Blocks behind `acknowledged`, of up to 64 KB.
std::vector<uint8_t> SackOption(Script& script, uint32_t acknowledged, int blocks) {
  std::vector<uint8_t> option = {1, 1, 5, static_cast<uint8_t>(2 + 8 * blocks)};
  for (int i = 0; i < blocks; ++i) {
    const uint32_t begin = acknowledged + script.Byte() * 128u;
    const uint32_t end = begin + script.Byte() * 256u;
    for (const uint32_t edge : {begin, end})
      for (int shift = 24; shift >= 0; shift -= 8)
        option.push_back(static_cast<uint8_t>(edge >> shift));
  }
  return option;
}

// The far end: remembers what the stack sent on each flow.
class Wire final : public PacketSink {
 public:
  struct Flow {
    Endpoint stack;
    uint32_t sequence = 0x1000;  // our next one
    uint32_t acknowledgment = 0;
  };
  void Write(PacketBatch batch) override {
    for (const Packet& p : batch) {
      const auto view = ParseIp(p.bytes());
      if (!view) std::abort();  // the stack must send only well-formed packets
      if (!view->is_tcp()) continue;
      for (size_t i = 0; i < kFlows; ++i) {
        if (view->destination_port != 1000 + i) continue;
        Flow& flow = flows[i];
        flow.stack = {view->source, view->source_port};
        flow.acknowledgment = view->tcp_sequence + view->payload_size() +
                              ((view->tcp_flags & (kTcpSyn | kTcpFin)) != 0 ? 1 : 0);
        if ((view->tcp_flags & kTcpAck) != 0) flow.sequence = view->tcp_acknowledgment;
      }
    }
  }
  Flow flows[kFlows];
};

// Does with a connection what the script says.
class Handler final : public TcpConnection::Handler {
 public:
  explicit Handler(Script& script) : script_(script) {}
  void OnConnected() override { Act(); }
  void OnReadable() override { Act(); }
  void OnWritable() override { Act(); }
  void OnReadClosed() override { Act(); }
  void OnClosed(const absl::Status&) override { Act(); }
  void Act() {
    static uint8_t buffer[150'000];  // some large segments
    if (!connection) return;
    switch (script_.Byte() % 8) {
      case 0:
        connection->Read(buffer);
        break;
      case 1:
        connection->Write({buffer, 100});
        break;
      case 2:
        connection->Write(buffer);
        break;
      case 3:
        connection->CloseWrite();
        break;
      case 4:
        connection->Abort();
        break;
      case 5:
        connection.reset();
        break;
      case 6:
        connection->SetNoDelay(true);
        break;
      default:
        break;
    }
  }
  std::unique_ptr<TcpConnection> connection;

 private:
  Script& script_;
};

void Run(Script script) {
  ManualClock clock;
  auto loop = EventLoop::Create(clock).value();
  Wire wire;
  Stack stack(*loop);
  Interface* nic4 = stack.AddInterface({.address = kOurs, .prefix_length = 16}, wire).value();
  Interface* nic6 = stack.AddInterface({.address = kOurs6, .prefix_length = 64}, wire).value();
  std::vector<std::unique_ptr<Handler>> handlers;
  auto listener = stack.Listen({IpAddress(), 80}, [&](auto connection) {
    handlers.push_back(std::make_unique<Handler>(script));
    handlers.back()->connection = std::move(connection);
    handlers.back()->connection->SetHandler(handlers.back().get());
  });
  auto udp = stack.BindUdp({IpAddress(), 53}, [](const Endpoint&, auto) {});
  const auto turn = [&] { loop->RunOnce(Duration::zero()); };

  for (int steps = 0; !script.over() && steps < 1000; ++steps) {
    switch (script.Byte() % 8) {
      case 0: {  // raw bytes behind a plausible beginning
        const bool v6 = script.Byte() % 2 != 0;
        std::vector<uint8_t> packet =
            v6 ? BuildUdp({kTheirs6, 1}, {kOurs6, 53}, script.Take(script.Byte()))
               : BuildUdp({kTheirs, 1}, {kOurs, 53}, script.Take(script.Byte()));
        for (int i = script.Byte() % 8; i > 0; --i)
          packet[script.Byte() % packet.size()] = script.Byte();
        PacketBatch batch = SinglePacket(packet);
        batch[0].checksum_valid = true;
        (v6 ? nic6 : nic4)->Write(std::move(batch));
        break;
      }
      case 1: {  // dial, from the flow's side it is a server
        if (handlers.size() >= 64) break;
        handlers.push_back(std::make_unique<Handler>(script));
        Handler* handler = handlers.back().get();
        const auto port = static_cast<uint16_t>(1000 + script.Byte() % kFlows);
        auto connection = stack.Dial({.remote = {kTheirs, port}}, handler);
        if (connection.ok()) handler->connection = std::move(*connection);
        break;
      }
      case 2: {
        const int ms = 1 << script.Byte() % 16;
        clock.Advance(std::chrono::milliseconds(ms));
        break;
      }
      case 3:
        if (!handlers.empty()) handlers[script.Byte() % handlers.size()]->Act();
        break;
      default: {  // a segment of a flow
        const size_t which = script.Byte() % kFlows;
        Wire::Flow& flow = wire.flows[which];
        const uint8_t flags = script.Byte();
        const uint8_t how = script.Byte();
        uint32_t sequence = flow.sequence, acknowledgment = flow.acknowledgment;
        if ((how & 1) != 0) sequence += static_cast<int8_t>(script.Byte());
        if ((how & 2) != 0) sequence += script.Word() % (3 << 20);
        if ((how & 4) != 0) acknowledgment -= script.Byte();
        if ((how & 8) != 0) acknowledgment = script.Word();
        const auto window = static_cast<uint16_t>((how & 16) != 0 ? script.Byte() : 0xffff);
        std::vector<uint8_t> options;
        if ((how & 32) != 0) {
          const uint8_t kind = script.Byte();
          if (kind >= 0xe0) {
            options = kSynOptions;
          } else if (kind >= 0xa0) {
            // Some of what is in flight, with a hole before it.
            acknowledgment -= script.Byte() * 256u;
            options = SackOption(script, acknowledgment, 1 + kind % 4);
          } else {
            options = script.Take(kind % 11 * 4);
            options.resize(options.size() / 4 * 4);
          }
        }
        std::vector<uint8_t> payload;
        if ((how & 64) != 0) payload.resize(script.Byte());
        if ((how & 128) != 0) payload.resize(script.Byte() * 256u);
        const Endpoint to = flow.stack.port == 0 ? Endpoint{kOurs, 80} : flow.stack;
        if (!to.address.is_v4()) break;
        const std::vector<uint8_t> packet =
            BuildTcp({kTheirs, static_cast<uint16_t>(1000 + which)}, to,
                     {.sequence = sequence, .acknowledgment = acknowledgment, .flags = flags,
                      .window = window, .options = options},
                     payload);
        PacketBatch batch = SinglePacket(packet);
        batch[0].checksum_valid = true;
        nic4->Write(std::move(batch));
        break;
      }
    }
    turn();
  }
  for (auto& handler : handlers) handler->connection.reset();
}

}  // namespace
}  // namespace im::netstack

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  im::netstack::Run(im::netstack::Script(data, size));
  return 0;
}
