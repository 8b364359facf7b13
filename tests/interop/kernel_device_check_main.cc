// What KernelDevice promises, where the kernel has WireGuard:
// kernel-device-check INTERFACE. Prints what was not so; 0 if nothing.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "base/random.h"
#include "tunnel/kernel_device.h"

namespace im::tunnel {
namespace {

int failures = 0;

void Expect(bool condition, const char* what) {
  if (condition) return;
  std::printf("not so: %s\n", what);
  ++failures;
}

void Expect(const absl::Status& status, const char* what) {
  if (status.ok()) return;
  std::printf("not so: %s: %s\n", what, std::string(status.message()).c_str());
  ++failures;
}

int Main(const std::string& name) {
  SecureRandom random;
  absl::StatusOr<KernelDevice> device = KernelDevice::Create(name);
  if (!device.ok()) {
    Expect(device.status(), "it is made");
    return 1;
  }
  Expect(!KernelDevice::Create(name).ok(), "a name is given once");
  const PrivateKey key = GeneratePrivateKey(random);
  Expect(device->SetPrivateKey(key), "the key is set");
  Expect(device->SetListenPort(51820), "the port is set");
  Expect(device->SetFwmark(0x77), "the mark is set");

  PeerConfig peer;
  peer.public_key = DerivePublicKey(GeneratePrivateKey(random));
  peer.preshared_key = GeneratePrivateKey(random);
  peer.endpoint = Endpoint::Parse("[2001:db8::1]:1234");
  peer.persistent_keepalive = std::chrono::seconds(25);
  // More than one netlink message holds.
  for (uint32_t i = 0; i < 3000; ++i) {
    peer.allowed_ips.push_back(IpPrefix(IpAddress::V4(0x0a000000 + (i << 8)), 24));
  }
  peer.allowed_ips.push_back(*IpPrefix::Parse("fd00::/64"));
  PeerConfig other;
  other.public_key = DerivePublicKey(GeneratePrivateKey(random));
  other.endpoint = Endpoint::Parse("192.0.2.1:1");
  Expect(device->SetPeer(peer), "a peer is set");
  Expect(device->SetPeer(other), "another is set");

  absl::StatusOr<KernelDevice::State> state = device->Get();
  if (!state.ok()) {
    Expect(state.status(), "it is read");
    return 1;
  }
  Expect(state->public_key == DerivePublicKey(key), "its key is read");
  Expect(state->listen_port == 51820 && state->fwmark == 0x77, "port and mark are read");
  Expect(state->peers.size() == 2, "both peers are read");
  for (const PeerStatus& status : state->peers) {
    const PeerConfig& config = status.public_key == peer.public_key ? peer : other;
    Expect(status.public_key == config.public_key, "a peer's key is read");
    Expect(status.preshared_key == config.preshared_key, "a peer's preshared key is read");
    Expect(status.endpoint == config.endpoint, "a peer's endpoint is read");
    Expect(status.persistent_keepalive == config.persistent_keepalive, "its keepalive is read");
    std::vector<IpPrefix> expected = config.allowed_ips, found = status.allowed_ips;
    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    Expect(found == expected, "its AllowedIPs are read");
    Expect(status.last_handshake_unix_nanos == 0 && !status.session_live, "it was never there");
  }

  // As a whole: what is not said is taken away, but for the endpoint.
  peer.allowed_ips = {*IpPrefix::Parse("10.1.0.0/16")};
  peer.preshared_key = PresharedKey();
  const std::optional<Endpoint> endpoint = std::exchange(peer.endpoint, std::nullopt);
  Expect(device->SetPeer(peer), "a peer is changed");
  Expect(device->RemovePeer(other.public_key), "a peer is removed");
  Expect(device->RemovePeer(other.public_key), "removing it twice is no error");
  state = device->Get();
  Expect(state.ok() && state->peers.size() == 1, "one peer is left");
  if (state.ok() && state->peers.size() == 1) {
    Expect(state->peers[0].allowed_ips == peer.allowed_ips, "its AllowedIPs were replaced");
    Expect(state->peers[0].preshared_key.is_zero(), "its preshared key was taken away");
    Expect(state->peers[0].endpoint == endpoint, "its endpoint stayed");
  }
  peer.relay = true;
  Expect(absl::IsUnimplemented(device->SetPeer(peer)), "what the kernel lacks is refused");
  Expect(device->Remove(), "it is removed");
  Expect(device->Remove(), "it may be gone");
  Expect(!device->Get().ok(), "then there is nothing to read");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace im::tunnel

int main(int argc, char** argv) {
  if (argc == 2) return im::tunnel::Main(argv[1]);
  std::fprintf(stderr, "usage: kernel-device-check INTERFACE\n");
  return 2;
}
