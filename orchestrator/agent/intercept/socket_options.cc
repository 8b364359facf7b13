#include "orchestrator/agent/intercept/socket_options.h"

#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace im::agent {
namespace {

constexpr int kStream = 1, kDatagram = 2, kBoth = 3;

// Options that hold an int, what they are at first, and for what sockets.
struct Known {
  int level;
  int name;
  int at_first;
  int types;
};
constexpr Known kKnown[] = {
    {SOL_SOCKET, SO_REUSEADDR, 0, kBoth},
    {SOL_SOCKET, SO_REUSEPORT, 0, kBoth},
    {SOL_SOCKET, SO_KEEPALIVE, 0, kBoth},
    {SOL_SOCKET, SO_BROADCAST, 0, kBoth},
    {SOL_SOCKET, SO_SNDBUF, 2 << 20, kBoth},
    {SOL_SOCKET, SO_RCVBUF, 2 << 20, kBoth},
    {SOL_SOCKET, SO_RCVLOWAT, 1, kBoth},
    {SOL_SOCKET, SO_PRIORITY, 0, kBoth},
    {SOL_SOCKET, SO_OOBINLINE, 0, kBoth},
    {SOL_SOCKET, SO_DONTROUTE, 0, kBoth},
    {SOL_SOCKET, SO_BUSY_POLL, 0, kBoth},
    {SOL_SOCKET, SO_INCOMING_CPU, 0, kBoth},
    {IPPROTO_TCP, TCP_NODELAY, 0, kStream},
    {IPPROTO_TCP, TCP_CORK, 0, kStream},
    {IPPROTO_TCP, TCP_QUICKACK, 1, kStream},
    {IPPROTO_TCP, TCP_KEEPIDLE, 7200, kStream},
    {IPPROTO_TCP, TCP_KEEPINTVL, 75, kStream},
    {IPPROTO_TCP, TCP_KEEPCNT, 9, kStream},
    {IPPROTO_TCP, TCP_SYNCNT, 6, kStream},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, kStream},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 0, kStream},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1, kStream},
    {IPPROTO_TCP, TCP_LINGER2, 60, kStream},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, kStream},
    {IPPROTO_TCP, TCP_MAXSEG, 1380, kStream},
    {IPPROTO_IP, IP_TOS, 0, kBoth},
    {IPPROTO_IP, IP_TTL, 64, kBoth},
    {IPPROTO_IP, IP_RECVERR, 0, kBoth},
    {IPPROTO_IP, IP_MTU_DISCOVER, 1, kBoth},
    {IPPROTO_IP, IP_FREEBIND, 0, kBoth},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0, kBoth},
    {IPPROTO_IPV6, IPV6_V6ONLY, 0, kBoth},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64, kBoth},
    {IPPROTO_IPV6, IPV6_TCLASS, 0, kBoth},
    {IPPROTO_IPV6, IPV6_RECVERR, 0, kBoth},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, 1, kBoth},
};

const Known* Find(int level, int name, int type) {
  const int wanted = type == SOCK_STREAM ? kStream : kDatagram;
  for (const Known& known : kKnown)
    if (known.level == level && known.name == name && (known.types & wanted) != 0) return &known;
  return nullptr;
}

bool IsMulticast(int level, int name) {
  if (level == IPPROTO_IP)
    return (name >= IP_MULTICAST_IF && name <= IP_DROP_SOURCE_MEMBERSHIP) ||
           (name >= MCAST_JOIN_GROUP && name <= MCAST_MSFILTER) || name == IP_MULTICAST_ALL;
  if (level == IPPROTO_IPV6)
    return (name >= IPV6_MULTICAST_IF && name <= IPV6_LEAVE_GROUP) ||
           (name >= MCAST_JOIN_GROUP && name <= MCAST_MSFILTER);
  return false;
}

std::vector<uint8_t> Bytes(const void* value, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(value);
  return {bytes, bytes + size};
}

std::vector<uint8_t> IntBytes(int value) { return Bytes(&value, sizeof(value)); }

timeval ToTimeval(Duration d) {
  return {static_cast<time_t>(d.count() / 1'000'000'000),
          static_cast<suseconds_t>(d.count() % 1'000'000'000 / 1000)};
}

}  // namespace

bool SocketOptions::IsForThePair(int level, int name) {
  return level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO);
}

void SocketOptions::ApplyToPair(int program_end) const {
  for (const auto& [name, timeout] : {std::pair(SO_RCVTIMEO, receive_timeout_),
                                      std::pair(SO_SNDTIMEO, send_timeout_)}) {
    const timeval value = ToTimeval(timeout);
    setsockopt(program_end, SOL_SOCKET, name, &value, sizeof(value));
  }
}

int SocketOptions::Set(int level, int name, std::span<const uint8_t> value) {
  if (level == SOL_SOCKET && name == SO_LINGER) {
    linger asked;
    if (value.size() < sizeof(asked)) return EINVAL;
    std::memcpy(&asked, value.data(), sizeof(asked));
    linger_on_ = asked.l_onoff != 0;
    linger_s_ = asked.l_linger;
    return 0;
  }
  if (IsForThePair(level, name)) {
    timeval asked;
    if (value.size() < sizeof(asked)) return EINVAL;
    std::memcpy(&asked, value.data(), sizeof(asked));
    if (asked.tv_usec < 0 || asked.tv_usec >= 1'000'000) return EDOM;
    constexpr time_t kLongest_s = 1'000'000'000;  // 32 years: for ever
    const auto seconds = std::clamp<time_t>(asked.tv_sec, 0, kLongest_s);
    (name == SO_RCVTIMEO ? receive_timeout_ : send_timeout_) =
        std::chrono::seconds(seconds) + std::chrono::microseconds(asked.tv_usec);
    return 0;
  }
  if (level == SOL_SOCKET && (name == SO_BINDTODEVICE || name == SO_MARK)) return EPERM;
  if (IsMulticast(level, name)) return EOPNOTSUPP;
  if (Find(level, name, type_) == nullptr) return ENOPROTOOPT;
  if (level == IPPROTO_IPV6 && family_ != AF_INET6) return ENOPROTOOPT;
  int number = 0;
  // Some of IPPROTO_IP take a byte.
  if (value.empty() || (value.size() < sizeof(number) && level != IPPROTO_IP)) return EINVAL;
  std::memcpy(&number, value.data(), std::min(value.size(), sizeof(number)));
  ints_[{level, name}] = number;
  return 0;
}

int SocketOptions::Int(int level, int name, int otherwise) const {
  const auto at = ints_.find({level, name});
  return at == ints_.end() ? otherwise : at->second;
}

std::optional<std::vector<uint8_t>> SocketOptions::Get(int level, int name, int& error) const {
  error = 0;
  if (level == SOL_SOCKET) {
    switch (name) {
      case SO_DOMAIN:
        return IntBytes(family_);
      case SO_TYPE:
        return IntBytes(type_);
      case SO_PROTOCOL:
        return IntBytes(type_ == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
      case SO_LINGER: {
        const linger value = {linger_on_ ? 1 : 0, linger_s_};
        return Bytes(&value, sizeof(value));
      }
      case SO_RCVTIMEO:
      case SO_SNDTIMEO: {
        const timeval value = ToTimeval(name == SO_RCVTIMEO ? receive_timeout_ : send_timeout_);
        return Bytes(&value, sizeof(value));
      }
      case SO_SNDBUF:
      case SO_RCVBUF:
        // Linux doubles what it was told.
        if (const auto at = ints_.find({level, name}); at != ints_.end())
          return IntBytes(std::clamp(at->second, 0, 1 << 30) * 2);
        break;
      default:
        break;
    }
  }
  if (level == IPPROTO_TCP && name == TCP_CONGESTION && type_ == SOCK_STREAM)
    return Bytes("cubic", 6);
  if (const Known* known = Find(level, name, type_))
    return IntBytes(Int(level, name, known->at_first));
  error = IsMulticast(level, name) ? EOPNOTSUPP : ENOPROTOOPT;
  return std::nullopt;
}

bool SocketOptions::reuse_address() const { return Int(SOL_SOCKET, SO_REUSEADDR, 0) != 0; }
bool SocketOptions::reuse_port() const { return Int(SOL_SOCKET, SO_REUSEPORT, 0) != 0; }
bool SocketOptions::no_delay() const { return Int(IPPROTO_TCP, TCP_NODELAY, 0) != 0; }
bool SocketOptions::v6_only() const { return Int(IPPROTO_IPV6, IPV6_V6ONLY, 0) != 0; }
bool SocketOptions::reset_on_close() const { return linger_on_ && linger_s_ == 0; }
Duration SocketOptions::receive_timeout() const { return receive_timeout_; }
Duration SocketOptions::send_timeout() const { return send_timeout_; }

Duration SocketOptions::user_timeout() const {
  return std::chrono::milliseconds(std::max(0, Int(IPPROTO_TCP, TCP_USER_TIMEOUT, 0)));
}

std::optional<Duration> SocketOptions::dial_timeout() const {
  if (user_timeout() > Duration::zero()) return user_timeout();
  const int tries = Int(IPPROTO_TCP, TCP_SYNCNT, 0);
  if (tries == 0) return std::nullopt;
  // Linux' intervals double from one second on; its default of 6 is 127 s.
  return std::chrono::seconds((1 << (std::clamp(tries, 1, 6) + 1)) - 1);
}

std::optional<netstack::KeepAlive> SocketOptions::keep_alive() const {
  if (Int(SOL_SOCKET, SO_KEEPALIVE, 0) == 0) return std::nullopt;
  netstack::KeepAlive keep_alive;
  keep_alive.idle = std::chrono::seconds(Int(IPPROTO_TCP, TCP_KEEPIDLE, 7200));
  keep_alive.interval = std::chrono::seconds(Int(IPPROTO_TCP, TCP_KEEPINTVL, 75));
  keep_alive.probes = Int(IPPROTO_TCP, TCP_KEEPCNT, 9);
  return keep_alive;
}

}  // namespace im::agent
