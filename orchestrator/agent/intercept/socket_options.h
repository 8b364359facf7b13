// SocketOptions: what setsockopt(2) said of one socket, and what getsockopt(2)
// shows of it.
//
// Taken and acted upon: SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE with TCP_KEEP*,
// SO_LINGER (zero time), TCP_NODELAY, IPV6_V6ONLY, SO_RCVTIMEO, SO_SNDTIMEO,
// TCP_USER_TIMEOUT, TCP_SYNCNT.
// Taken and shown, without an effect that a program could see: buffer sizes
// (the stack's follow the path), TCP_CORK, TCP_QUICKACK, TOS, TTL, priorities,
// error queues.
// Refused: what would be wrong not to do. Multicast: EOPNOTSUPP; SO_BINDTODEVICE
// and SO_MARK: EPERM; all that is not known: ENOPROTOOPT, as by a kernel that is
// too old for it.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_OPTIONS_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "netstack/net.h"

namespace im::agent {

// Bytes of the largest value that is looked at (a struct timeval, a linger).
inline constexpr size_t kOptionBytesMax = 16;

class SocketOptions {
 public:
  // `type`: SOCK_STREAM or SOCK_DGRAM.
  SocketOptions(int family, int type) : family_(family), type_(type) {}

  // 0 or an errno.
  int Set(int level, int name, std::span<const uint8_t> value);
  // What is known without the socket's state; errno as `error` otherwise.
  std::optional<std::vector<uint8_t>> Get(int level, int name, int& error) const;

  bool reuse_address() const;
  bool reuse_port() const;
  bool no_delay() const;
  bool v6_only() const;
  bool reset_on_close() const;
  std::optional<netstack::KeepAlive> keep_alive() const;
  // Zero: without an end.
  Duration receive_timeout() const;
  Duration send_timeout() const;
  // TCP_USER_TIMEOUT.
  Duration user_timeout() const;
  // How long a SYN is repeated, by TCP_USER_TIMEOUT or TCP_SYNCNT, if they were set.
  std::optional<Duration> dial_timeout() const;

  // Whether the kernel's end of the pair must know it, too.
  static bool IsForThePair(int level, int name);
  // Tells it all of that.
  void ApplyToPair(int program_end) const;

 private:
  int Int(int level, int name, int otherwise) const;

  int family_;
  int type_;
  absl::flat_hash_map<std::pair<int, int>, int> ints_;
  bool linger_on_ = false;
  int linger_s_ = 0;
  Duration receive_timeout_{0};
  Duration send_timeout_{0};
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_OPTIONS_H_
