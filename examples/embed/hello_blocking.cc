// As hello.cc, by calls that wait: a thread for each connection.
//
//   hello_blocking PRIVATE_KEY ADDRESS PEER_PUBLIC_KEY PEER_PREFIX

#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "base/random.h"
#include "netstack/blocking.h"
#include "tunnel/driver.h"

namespace {

void Answer(std::unique_ptr<im::netstack::BlockingConnection> connection) {
  const im::Instant deadline = im::netstack::Within(std::chrono::seconds(10));
  std::string request;
  uint8_t buffer[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const auto n = connection->Read(buffer, deadline);
    if (!n.ok() || *n == 0) return;
    request.append(buffer, buffer + *n);
  }
  static constexpr char kAnswer[] = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
  (void)connection->Write({reinterpret_cast<const uint8_t*>(kAnswer), sizeof(kAnswer) - 1});
}

}  // namespace

int main(int argc, char** argv) {
  const auto key = im::tunnel::PrivateKey::FromBase64(argc == 5 ? argv[1] : "");
  const auto address = im::IpAddress::Parse(argc == 5 ? argv[2] : "");
  const auto peer = im::tunnel::PublicKey::FromBase64(argc == 5 ? argv[3] : "");
  const auto prefix = im::IpPrefix::Parse(argc == 5 ? argv[4] : "");
  if (!key || !address || !peer || !prefix) {
    std::fprintf(stderr, "usage: hello_blocking PRIVATE_KEY ADDRESS PEER_PUBLIC_KEY PEER_PREFIX\n");
    return 2;
  }
  im::SecureRandom random;
  auto stack = im::netstack::BlockingStack::Create().value();
  // Runs on the stack's thread, where the tunnel lives.
  const auto uplink = [&](im::EventLoop& loop, im::netstack::LateInterface& inside)
      -> absl::StatusOr<std::shared_ptr<im::PacketSink>> {
    auto tunnel = im::tunnel::Driver::Create(*key, {.listen = *im::Endpoint::Parse("127.0.0.1:0")},
                                             loop, random, inside, nullptr);
    if (!tunnel.ok()) return tunnel.status();
    (*tunnel)->SetBlockedCallback([&](bool blocked) { inside.SetBlocked(blocked); });
    if (absl::Status set = (*tunnel)->SetPeer({.public_key = *peer, .allowed_ips = {*prefix}});
        !set.ok())
      return set;
    std::printf("%s\n", (*tunnel)->local_endpoint().ToString().c_str());
    return std::shared_ptr<im::PacketSink>(*std::move(tunnel));
  };
  if (!stack->AddInterface({.address = *address, .prefix_length = 24}, uplink).ok()) return 1;
  auto listener = stack->Listen({*address, 80}).value();
  std::fflush(stdout);
  for (;;) {
    auto connection = listener->Accept();
    if (connection.ok()) std::thread(Answer, *std::move(connection)).detach();
  }
}
