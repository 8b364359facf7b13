// Any bytes as a control message: no crash, and nothing of another incarnation
// has an effect.

#include <cstdlib>

#include "orchestrator/agent/control_client.h"

namespace {

class Recorder final : public im::agent::ControlClient::Delegate {
 public:
  void SendControl(const std::string&) override {}
  void OnDesired(const im::proto::DesiredState&) override { acted = true; }
  void OnPeer(const im::IpAddress&, const im::proto::PeerUpdate&) override { acted = true; }
  bool acted = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const im::Instant now(std::chrono::seconds(1));
  Recorder ours, foreign;
  im::agent::ControlClient client(7, ours), other(8, foreign);
  client.OnConnected(now);
  other.OnConnected(now);
  client.OnMessage({data, size});
  other.OnMessage({data, size});
  if (ours.acted && foreign.acted) std::abort();
  return 0;
}
