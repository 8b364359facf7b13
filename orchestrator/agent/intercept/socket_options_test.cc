#include "orchestrator/agent/intercept/socket_options.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

namespace im::agent {
namespace {

template <typename T>
int Set(SocketOptions& options, int level, int name, const T& value) {
  return options.Set(level, name,
                     std::span(reinterpret_cast<const uint8_t*>(&value), sizeof(value)));
}

int GetInt(const SocketOptions& options, int level, int name) {
  int error = 0, value = -1;
  const auto bytes = options.Get(level, name, error);
  if (!bytes.has_value()) return -error;
  std::memcpy(&value, bytes->data(), sizeof(value));
  return value;
}

TEST(SocketOptionsTest, what_is_set_is_shown_and_acted_upon) {
  SocketOptions options(AF_INET, SOCK_STREAM);
  EXPECT_FALSE(options.no_delay());
  EXPECT_EQ(Set(options, IPPROTO_TCP, TCP_NODELAY, 1), 0);
  EXPECT_TRUE(options.no_delay());
  EXPECT_EQ(GetInt(options, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_FALSE(options.keep_alive().has_value());
  EXPECT_EQ(Set(options, SOL_SOCKET, SO_KEEPALIVE, 1), 0);
  EXPECT_EQ(Set(options, IPPROTO_TCP, TCP_KEEPCNT, 3), 0);
  EXPECT_EQ(options.keep_alive()->probes, 3);
  EXPECT_EQ(options.keep_alive()->idle, std::chrono::hours(2));
  EXPECT_EQ(Set(options, SOL_SOCKET, SO_LINGER, linger{1, 5}), 0);
  EXPECT_FALSE(options.reset_on_close());
  EXPECT_EQ(Set(options, SOL_SOCKET, SO_LINGER, linger{1, 0}), 0);
  EXPECT_TRUE(options.reset_on_close());
  EXPECT_EQ(Set(options, SOL_SOCKET, SO_RCVTIMEO, timeval{1, 500'000}), 0);
  EXPECT_EQ(options.receive_timeout(), std::chrono::milliseconds(1500));
  EXPECT_EQ(Set(options, SOL_SOCKET, SO_SNDBUF, 1000), 0);
  EXPECT_EQ(GetInt(options, SOL_SOCKET, SO_SNDBUF), 2000) << "as Linux doubles it";
}

TEST(SocketOptionsTest, what_cannot_be_done_is_refused) {
  SocketOptions tcp(AF_INET, SOCK_STREAM), udp(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(Set(udp, IPPROTO_IP, IP_ADD_MEMBERSHIP, ip_mreq{}), EOPNOTSUPP);
  EXPECT_EQ(Set(udp, IPPROTO_IP, IP_PKTINFO, 1), ENOPROTOOPT);
  EXPECT_EQ(Set(udp, IPPROTO_TCP, TCP_NODELAY, 1), ENOPROTOOPT);
  EXPECT_EQ(Set(tcp, SOL_SOCKET, SO_MARK, 1), EPERM);
  EXPECT_EQ(Set(tcp, IPPROTO_TCP, TCP_FASTOPEN, 1), ENOPROTOOPT);
  EXPECT_EQ(Set(tcp, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT) << "of an IPv4 socket";
  EXPECT_EQ(tcp.Set(SOL_SOCKET, SO_REUSEADDR, {}), EINVAL);
  EXPECT_EQ(tcp.Set(SOL_SOCKET, SO_LINGER, {}), EINVAL);
  EXPECT_EQ(Set(tcp, SOL_SOCKET, SO_RCVTIMEO, timeval{0, 2'000'000}), EDOM);
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, 9999), -ENOPROTOOPT);
}

}  // namespace
}  // namespace im::agent
