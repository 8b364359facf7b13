// A program that is itself a host of a network: WireGuard, TCP/IP and an HTTP
// server in one process, with no TUN device, no root and no agent.
//
//   hello PRIVATE_KEY ADDRESS PEER_PUBLIC_KEY PEER_PREFIX
//
// takes one peer, prints the UDP endpoint where it waits for it, and answers
// http://ADDRESS/ with "hello".

#include <cstdio>
#include <memory>

#include "base/random.h"
#include "netstack/late_interface.h"
#include "netstack/net.h"
#include "tunnel/driver.h"

namespace {

// One request, one answer. Deletes itself when the connection is over.
class Hello final : public im::netstack::TcpConnection::Handler {
 public:
  explicit Hello(std::unique_ptr<im::netstack::TcpConnection> connection)
      : connection_(std::move(connection)) {
    connection_->SetHandler(this);
  }
  void OnReadable() override {
    uint8_t buffer[4096];
    while (const size_t n = connection_->Read(buffer))
      for (size_t i = 0; i < n; ++i)
        if (buffer[i] != '\r') newlines_ = buffer[i] == '\n' ? newlines_ + 1 : 0;
    if (newlines_ < 2) return;
    static constexpr char kAnswer[] = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
    connection_->Write({reinterpret_cast<const uint8_t*>(kAnswer), sizeof(kAnswer) - 1});
    connection_->CloseWrite();
  }
  void OnReadClosed() override { connection_->CloseWrite(); }
  void OnClosed(const absl::Status&) override { delete this; }

 private:
  std::unique_ptr<im::netstack::TcpConnection> connection_;
  int newlines_ = 0;  // in a row; two end a request
};

}  // namespace

int main(int argc, char** argv) {
  const auto key = im::tunnel::PrivateKey::FromBase64(argc == 5 ? argv[1] : "");
  const auto address = im::IpAddress::Parse(argc == 5 ? argv[2] : "");
  const auto peer = im::tunnel::PublicKey::FromBase64(argc == 5 ? argv[3] : "");
  const auto prefix = im::IpPrefix::Parse(argc == 5 ? argv[4] : "");
  if (!key || !address || !peer || !prefix) {
    std::fprintf(stderr, "usage: hello PRIVATE_KEY ADDRESS PEER_PUBLIC_KEY PEER_PREFIX\n");
    return 2;
  }
  const im::RealClock clock;
  im::SecureRandom random;
  auto loop = im::EventLoop::Create(clock).value();
  im::netstack::LateInterface inside;  // the tunnel is made before the stack
  auto tunnel = im::tunnel::Driver::Create(*key, {.listen = *im::Endpoint::Parse("127.0.0.1:0")},
                                           *loop, random, inside, nullptr).value();
  im::netstack::Stack stack(*loop);
  inside.Attach(stack.AddInterface({.address = *address, .prefix_length = 24}, *tunnel).value());
  tunnel->SetBlockedCallback([&](bool blocked) { inside.SetBlocked(blocked); });
  if (!tunnel->SetPeer({.public_key = *peer, .allowed_ips = {*prefix}}).ok()) return 1;
  auto listener = stack.Listen({*address, 80}, [](auto c) { new Hello(std::move(c)); }).value();
  std::printf("%s\n", tunnel->local_endpoint().ToString().c_str());
  std::fflush(stdout);
  loop->Run();
}
