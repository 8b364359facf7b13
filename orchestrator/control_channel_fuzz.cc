// Any bytes as what agents send: no crash, nothing of another incarnation or
// of a stranger has an effect, and whatever is sent in answer fits the path.
//
// The input is a script of datagrams, from two hosts whose instances know each
// other, so that acknowledgements meet updates, withdrawals and their
// callbacks; between them the host's channel may go and come.

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/ip_build.h"
#include "orchestrator/control_channel.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

const IpAddress kGateway = IpAddress::V4(0x0a4d0001);
constexpr uint64_t kIncarnation = 7;

IpAddress HostAddress(uint32_t i) { return IpAddress::V4(0x0a4d0002 + i); }

class Recorder final : public ControlChannel::Delegate {
 public:
  void OnStatus(const IpAddress& host, const proto::InstanceStatus& status, bool) override {
    if (host != current || status.version() == 0) std::abort();
    ++count;
  }
  IpAddress current;  // whose datagram is being read; unspecified: nobody's
  int count = 0;
};

class Cluster {
 public:
  Cluster() {
    for (uint32_t i = 0; i < 2; ++i) Start(i);
    introductions_.Introduce(HostAddress(0), HostAddress(1), now_);
    Flush();
  }

  // The datagram as the tunnel gives it; from host 2 and above: strangers.
  void Receive(uint32_t host, uint16_t port, std::span<const uint8_t> payload) {
    TestPacket packet(BuildUdp({HostAddress(host), port}, {kGateway, kControlPort}, payload));
    proto::ToOrchestrator message;
    const bool ours =
        host < 2 && port == kControlPort &&
        message.ParseFromArray(payload.data(), static_cast<int>(payload.size())) &&
        message.incarnation() == kIncarnation;
    const int before = recorder_.count;
    recorder_.current = HostAddress(host);
    channel_.OnPacket(packet.packet(), packet.view(), now_);
    recorder_.current = IpAddress();
    if (!ours && recorder_.count != before) std::abort();
    Flush();
  }

  // What is done from within the orchestrator.
  void Act(uint8_t what) {
    const uint32_t i = what & 1;
    switch ((what >> 1) % 6) {
      case 0:
        now_ += std::chrono::milliseconds(10) * (1 << (what >> 4));
        break;
      case 1: {
        proto::DesiredState state;
        state.set_goal(proto::DesiredState::RELEASE_IF_IDLE);
        state.mutable_wake_cause()->set_detail(std::string(what * 2, 'd'));
        channel_.SetDesired(HostAddress(i), state, now_);
        break;
      }
      case 2:
        introductions_.Withdraw(HostAddress(i), now_, now_ + std::chrono::seconds(1),
                                [this, i] { ended_[i] = true; });
        break;
      case 3:
        introductions_.Introduce(HostAddress(0), HostAddress(1), now_);
        break;
      case 4:
        ended_[i] = true;
        break;
      case 5:
        introductions_.SetEndpoint(HostAddress(i), {IpAddress::V4(0x7f000001), what}, now_);
        break;
    }
    Flush();
  }

 private:
  void Start(uint32_t i) {
    tunnel::PublicKey key;
    key.bytes[0] = static_cast<uint8_t>(i + 1);
    channel_.Add(HostAddress(i), kIncarnation);
    introductions_.Join(HostAddress(i), key, false);
    introductions_.SetEndpoint(HostAddress(i), {IpAddress::V4(0x7f000001), 1000}, now_);
  }

  void Flush() {
    introductions_.OnTimer(now_);
    for (uint32_t i = 0; i < 2; ++i) {
      if (!std::exchange(ended_[i], false)) continue;
      introductions_.Leave(HostAddress(i), now_);
      ended_[i] = false;  // who waited for that has heard of it
      Start(i);
    }
    PacketBatch out;
    channel_.Flush(now_, out);
    for (const Packet& packet : out) {
      const auto view = ParseIp(packet.bytes());
      if (!view || view->payload_size() > kControlBytesMax) std::abort();
    }
  }

  bool ended_[2] = {};  // to be started anew
  Instant now_ = Instant(std::chrono::seconds(1000));
  Recorder recorder_;
  Introductions introductions_{Introductions::Times(), 0};
  ControlChannel channel_{kGateway, ControlChannel::Times(), 0, introductions_, recorder_};
};

}  // namespace
}  // namespace im::orchestrator

// Each step: a byte that says what it is, then for a datagram its length (two
// bytes, big endian) and its bytes.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  im::orchestrator::Cluster cluster;
  std::span<const uint8_t> left(data, size);
  while (!left.empty()) {
    const uint8_t what = left[0];
    left = left.subspan(1);
    if ((what & 0x80) == 0) {
      cluster.Act(what);
      continue;
    }
    if (left.size() < 2) break;
    const size_t length = std::min<size_t>(left[0] << 8 | left[1], left.size() - 2);
    cluster.Receive(what & 3, (what & 4) != 0 ? 53 : im::orchestrator::kControlPort,
                    left.subspan(2, length));
    left = left.subspan(2 + length);
  }
  return 0;
}
