#include "netstack/im_net.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/ip_build.h"
#include "base/random.h"
#include "tunnel/keys.h"

extern "C" int ImNetEchoC99(const char* from, const char* to);

namespace im {
namespace {

constexpr int kLong = 30'000;  // ms; a deadline

struct Address {
  Address() = default;
  explicit Address(const char* text) { EXPECT_EQ(im_net_parse(text, &storage, &length), 0); }
  operator sockaddr*() { return reinterpret_cast<sockaddr*>(&storage); }
  std::string ToString() const { return Endpoint::FromSockaddr(storage).ToString(); }
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
};

std::string ReadAll(int handle) {
  std::string all;
  char buffer[4096];
  for (;;) {
    const ssize_t n = im_net_read(handle, buffer, sizeof(buffer));
    if (n > 0) {
      all.append(buffer, static_cast<size_t>(n));
    } else if (n == 0 || errno != EAGAIN || im_net_wait(handle, IM_NET_IN, kLong) == 0) {
      return all;
    }
  }
}

void WriteAll(int handle, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = im_net_write(handle, text.data() + done, text.size() - done);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else {
      ASSERT_EQ(errno, EAGAIN);
      ASSERT_NE(im_net_wait(handle, IM_NET_OUT, kLong), 0);
    }
  }
}

// The handle of a connection, once it is up; -1 with errno.
int Connect(const char* to, const char* from = nullptr) {
  Address remote(to);
  int handle;
  if (from != nullptr) {
    Address local(from);
    handle = im_net_connect(remote, remote.length, local, local.length, kLong);
  } else {
    handle = im_net_connect(remote, remote.length, nullptr, 0, kLong);
  }
  if (handle < 0) return -1;
  im_net_wait(handle, IM_NET_OUT, kLong);
  if (const int error = im_net_error(handle); error != 0) {
    im_net_close(handle);
    errno = error;
    return -1;
  }
  return handle;
}

int Listen(const char* text) {
  Address local(text);
  return im_net_listen(local, local.length, 16);
}

// Answers one connection to `listener` with what it said, twice.
void ServeOne(int listener) {
  if (im_net_wait(listener, IM_NET_IN, kLong) == 0) return;
  const int handle = im_net_accept(listener, nullptr, nullptr);
  const std::string said = ReadAll(handle);
  WriteAll(handle, said + said);
  im_net_close(handle);
}

void ExpectAnswer(const char* to, size_t size) {
  const int handle = Connect(to);
  ASSERT_GE(handle, 0) << strerror(errno);
  const std::string said(size, 'x');
  WriteAll(handle, said);
  im_net_shutdown(handle);
  EXPECT_EQ(ReadAll(handle), said + said);
  EXPECT_EQ(im_net_close(handle), 0);
}

// Tells the other process that all is done: it ends as soon as this is there,
// perhaps before it is answered.
void Goodbye(const char* to) {
  const int handle = Connect(to);
  if (handle < 0) return;
  EXPECT_EQ(im_net_close(handle), 0);
}

class ImNetTest : public ::testing::Test {
 protected:
  ImNetTest() { EXPECT_EQ(im_net_start(), 0); }
  ~ImNetTest() override { im_net_stop(); }
};

TEST_F(ImNetTest, EchoInC99OverBothFamilies) {
  int nics[2];
  ASSERT_EQ(im_net_add_pair("10.5.0.1/24", "10.5.0.2/24", 0, nics), 0) << im_net_message();
  EXPECT_EQ(ImNetEchoC99("10.5.0.1:0", "10.5.0.2:80"), 0) << im_net_message();
  ASSERT_EQ(im_net_add_pair("fd00:5::1/64", "fd00:5::2/64", 1500, nics), 0) << im_net_message();
  EXPECT_EQ(ImNetEchoC99("[fd00:5::1]:0", "[fd00:5::2]:80"), 0) << im_net_message();
}

TEST_F(ImNetTest, ErrorsOfSockets) {
  int nics[2];
  ASSERT_EQ(im_net_add_pair("10.5.0.1/24", "10.5.0.2/24", 0, nics), 0);
  EXPECT_EQ(Connect("10.5.0.2:81", "10.5.0.1:0"), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(Connect("10.5.0.2:0", "10.5.0.1:0"), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Connect("[fd00::1]:80"), -1);
  EXPECT_EQ(errno, EHOSTUNREACH);
  const int listener = Listen("10.5.0.2:80");
  EXPECT_EQ(Listen("10.5.0.2:80"), -1);
  EXPECT_EQ(errno, EADDRINUSE);
  EXPECT_STRNE(im_net_message(), "");
  EXPECT_EQ(Listen("10.9.9.9:80"), -1);
  EXPECT_EQ(errno, EADDRNOTAVAIL);

  const int client = Connect("10.5.0.2:80", "10.5.0.1:0");
  ASSERT_GE(client, 0);
  EXPECT_EQ(im_net_set_nodelay(client, 1), 0);
  EXPECT_EQ(im_net_set_keepalive(client, 60, 10, 5), 0);
  EXPECT_EQ(im_net_set_keepalive(client, 60, 0, 5), -1);
  Address local, peer;
  EXPECT_EQ(im_net_local(client, local, &local.length), 0);
  EXPECT_EQ(im_net_peer(client, peer, &peer.length), 0);
  EXPECT_EQ(peer.ToString(), "10.5.0.2:80");
  ASSERT_NE(im_net_wait(listener, IM_NET_IN, kLong), 0);
  Address from;
  const int server = im_net_accept(listener, from, &from.length);
  EXPECT_EQ(from.ToString(), local.ToString());
  EXPECT_EQ(im_net_abort(server), 0);
  EXPECT_EQ(im_net_wait(client, 0, kLong), IM_NET_END);
  char byte;
  EXPECT_EQ(im_net_read(client, &byte, 1), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(im_net_error(client), ECONNRESET);

  const int gone = Connect("10.5.0.2:80", "10.5.0.1:0");
  EXPECT_EQ(im_net_remove(nics[0]), 0);
  EXPECT_EQ(im_net_wait(gone, 0, kLong), IM_NET_END);
  EXPECT_EQ(im_net_error(gone), EHOSTUNREACH);
  for (const int handle : {listener, client, server, gone}) EXPECT_EQ(im_net_close(handle), 0);
}

TEST_F(ImNetTest, Udp) {
  int nics[2];
  ASSERT_EQ(im_net_add_pair("10.5.0.1/24", "10.5.0.2/24", 0, nics), 0);
  Address a("10.5.0.1:0"), b("10.5.0.2:53"), nobody("10.5.0.2:54"), from;
  const int client = im_net_udp(a, a.length);
  const int server = im_net_udp(b, b.length);
  char buffer[10];
  EXPECT_EQ(im_net_recvfrom(server, buffer, sizeof(buffer), nullptr, nullptr), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(im_net_sendto(client, "x", 1, nullptr, 0), -1);
  EXPECT_EQ(errno, EDESTADDRREQ);
  EXPECT_EQ(im_net_sendto(client, "question", 8, b, b.length), 8);
  ASSERT_NE(im_net_wait(server, IM_NET_IN, kLong), 0);
  EXPECT_EQ(im_net_recvfrom(server, buffer, sizeof(buffer), from, &from.length), 8);
  EXPECT_EQ(im_net_udp_connect(client, nobody, nobody.length), 0);
  EXPECT_EQ(im_net_sendto(client, "x", 1, nullptr, 0), 1);
  ASSERT_NE(im_net_wait(client, IM_NET_IN, kLong), 0);
  EXPECT_EQ(im_net_recvfrom(client, buffer, sizeof(buffer), nullptr, nullptr), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  const std::vector<char> much(66'000);
  EXPECT_EQ(im_net_sendto(client, much.data(), much.size(), nullptr, 0), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  EXPECT_EQ(im_net_close(client), 0);
  EXPECT_EQ(im_net_close(server), 0);
}

// Packets that left, and a way to wait for them.
struct Outbox {
  static void Output(void* self, const void* packet, size_t size) {
    auto* outbox = static_cast<Outbox*>(self);
    // What waits for this thread cannot be asked for on it.
    EXPECT_EQ(im_net_remove(1), -1);
    EXPECT_EQ(errno, EDEADLK);
    EXPECT_EQ(im_net_stop(), -1);
    EXPECT_EQ(errno, EDEADLK);
    const std::lock_guard lock(outbox->mutex);
    const auto* bytes = static_cast<const uint8_t*>(packet);
    outbox->packets.emplace_back(bytes, bytes + size);
    outbox->condition.notify_all();
  }
  std::vector<uint8_t> Next() {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(condition.wait_for(lock, std::chrono::milliseconds(kLong),
                                   [this] { return !packets.empty(); }));
    if (packets.empty()) return {};
    auto packet = std::move(packets.front());
    packets.erase(packets.begin());
    return packet;
  }
  std::mutex mutex;
  std::condition_variable condition;
  std::vector<std::vector<uint8_t>> packets;
};

TEST_F(ImNetTest, PacketsByFunctions) {
  Outbox outbox;
  const int nic = im_net_add_callback("10.5.0.1/24", 0, Outbox::Output, &outbox);
  ASSERT_GT(nic, 0);
  const std::vector<uint8_t> ping =
      BuildEchoRequest(IpAddress::V4(0x0a050002), IpAddress::V4(0x0a050001), 1, 2);
  EXPECT_EQ(im_net_input(nic, ping.data(), ping.size()), 0);
  const std::vector<uint8_t> reply = outbox.Next();
  const auto view = ParseIp(reply);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->icmp_type, 0);
  EXPECT_EQ(im_net_input(nic, "junk", 4), 0);  // dropped, as from any network
  EXPECT_EQ(im_net_input(nic, ping.data(), 0), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  EXPECT_EQ(im_net_remove(nic), 0);
  EXPECT_EQ(im_net_input(nic, ping.data(), ping.size()), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(ImNetTest, BadArgumentsAreErrors) {
  int nics[2];
  ASSERT_EQ(im_net_add_pair("10.5.0.1/24", "10.5.0.2/24", 0, nics), 0);
  const auto expect = [](ssize_t result, int error, int line) {
    EXPECT_EQ(result, -1) << line;
    EXPECT_EQ(errno, error) << line << " " << im_net_message();
  };
  Address good("10.5.0.2:80");
  const int listener = Listen("10.5.0.2:80");
  char buffer[4];
  expect(im_net_start(), EALREADY, __LINE__);
  for (const int handle : {-1, 0, 1 << 30, -2'000'000'000}) {
    expect(im_net_read(handle, buffer, 4), EBADF, __LINE__);
    expect(im_net_write(handle, buffer, 4), EBADF, __LINE__);
    expect(im_net_accept(handle, nullptr, nullptr), EBADF, __LINE__);
    expect(im_net_shutdown(handle), EBADF, __LINE__);
    expect(im_net_close(handle), EBADF, __LINE__);
    expect(im_net_interest(handle, 1), EBADF, __LINE__);
    expect(im_net_wait(handle, 1, 0), EBADF, __LINE__);
    expect(im_net_ready(handle), EBADF, __LINE__);
    expect(im_net_error(handle), EBADF, __LINE__);
    expect(im_net_local(handle, good, &good.length), EBADF, __LINE__);
    expect(im_net_remove(handle), EBADF, __LINE__);
    expect(im_net_add_fd("10.6.0.1/24", 0, handle == 0 || handle == 1 ? -1 : handle), EBADF,
           __LINE__);
  }
  expect(im_net_read(listener, buffer, 4), EOPNOTSUPP, __LINE__);
  expect(im_net_sendto(listener, buffer, 4, good, good.length), EOPNOTSUPP, __LINE__);
  expect(im_net_peer(listener, good, &good.length), EOPNOTSUPP, __LINE__);
  expect(im_net_interest(listener, 64), EINVAL, __LINE__);
  expect(im_net_wait(listener, 64, 0), EINVAL, __LINE__);
  expect(im_net_accept(listener, good, nullptr), EFAULT, __LINE__);
  expect(im_net_local(listener, nullptr, nullptr), EFAULT, __LINE__);
  expect(im_net_connect(nullptr, 0, nullptr, 0, 0), EFAULT, __LINE__);
  expect(im_net_connect(good, 1, nullptr, 0, 0), EINVAL, __LINE__);
  expect(im_net_connect(good, 4000, nullptr, 0, 0), EINVAL, __LINE__);
  expect(im_net_connect(good, good.length, good, 3, 0), EINVAL, __LINE__);
  sockaddr_storage unix_address{};
  unix_address.ss_family = AF_UNIX;
  expect(im_net_listen(reinterpret_cast<sockaddr*>(&unix_address), sizeof(unix_address), 1),
         EAFNOSUPPORT, __LINE__);
  expect(im_net_parse(nullptr, &unix_address, nullptr), EFAULT, __LINE__);
  socklen_t length;
  expect(im_net_parse("nonsense", &unix_address, &length), EINVAL, __LINE__);
  expect(im_net_add_tunnel(nullptr), EFAULT, __LINE__);
  expect(im_net_add_tunnel("[Interface]\n"), EINVAL, __LINE__);
  expect(im_net_add_pair("10.6.0.1/24", nullptr, 0, nics), EFAULT, __LINE__);
  expect(im_net_add_pair("10.6.0.1/24", "10.6.0.1/24", 0, nics), EADDRINUSE, __LINE__);
  expect(im_net_add_pair("10.6.0.1/24", "10.6.0.2/24", 5, nics), EINVAL, __LINE__);
  expect(im_net_add_pair("10.6.0.1/24", "10.6.0.2/24", -1, nics), EINVAL, __LINE__);
  expect(im_net_add_callback("10.6.0.1/24", 0, nullptr, nullptr), EFAULT, __LINE__);
  expect(im_net_add_callback("0.0.0.0/24", 0, Outbox::Output, nullptr), EINVAL, __LINE__);
  expect(im_net_input(nics[0], buffer, 4), EOPNOTSUPP, __LINE__);
  expect(im_net_tunnel_endpoint(nics[0], good, &good.length), EOPNOTSUPP, __LINE__);
  FILE* file = tmpfile();
  expect(im_net_add_fd("10.6.0.1/24", 0, fileno(file)), EINVAL, __LINE__);
  fclose(file);

  const int udp = im_net_udp(Address("10.5.0.1:0"), sizeof(sockaddr_in));
  expect(im_net_sendto(udp, nullptr, 4, good, good.length), EFAULT, __LINE__);
  expect(im_net_recvfrom(udp, nullptr, 4, nullptr, nullptr), EFAULT, __LINE__);
  expect(im_net_error(udp), EOPNOTSUPP, __LINE__);

  // A handle that was closed with close(2): its number is given out anew.
  close(udp);
  const int again = Listen("10.5.0.1:80");
  EXPECT_EQ(again, udp);
  expect(im_net_recvfrom(again, buffer, 4, nullptr, nullptr), EOPNOTSUPP, __LINE__);

  EXPECT_EQ(im_net_stop(), 0);
  expect(im_net_stop(), ECANCELED, __LINE__);
  expect(im_net_connect(good, good.length, nullptr, 0, 0), ECANCELED, __LINE__);
  expect(im_net_add_tunnel(""), ECANCELED, __LINE__);
  expect(im_net_input(1, buffer, 4), ECANCELED, __LINE__);
  expect(im_net_accept(listener, nullptr, nullptr), ECANCELED, __LINE__);
  EXPECT_EQ(im_net_close(listener), 0);
  EXPECT_EQ(im_net_close(again), 0);
  EXPECT_EQ(im_net_start(), 0);  // and once more
}

TEST_F(ImNetTest, StopWakesWaiters) {
  int nics[2];
  ASSERT_EQ(im_net_add_pair("10.5.0.1/24", "10.5.0.2/24", 0, nics), 0);
  const int listener = Listen("10.5.0.2:80");
  const int client = Connect("10.5.0.2:80", "10.5.0.1:0");
  std::thread waiter([&] { EXPECT_EQ(im_net_wait(client, 0, -1), IM_NET_END); });
  std::thread acceptor([&] {
    while (im_net_wait(listener, IM_NET_IN, -1) == IM_NET_IN)
      im_net_close(im_net_accept(listener, nullptr, nullptr));
  });
  EXPECT_EQ(im_net_stop(), 0);
  waiter.join();
  acceptor.join();
  pollfd polled{.fd = client, .events = POLLIN};
  EXPECT_EQ(poll(&polled, 1, 0), 1);
  im_net_close(client);
  im_net_close(listener);
}

// ---- with another process, since a stack is one in a process ----

class TwoProcesses {
 public:
  // `serve` runs in the child; what it writes to its argument, Read gives.
  explicit TwoProcesses(const std::function<void(int out)>& serve) {
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(fds[0]);
      serve(fds[1]);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    close(fds[1]);
    in_ = fds[0];
  }
  std::string ReadLine() {
    char buffer[200];
    const ssize_t n = read(in_, buffer, sizeof(buffer));
    return std::string(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  }
  ~TwoProcesses() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    EXPECT_EQ(status, 0);
    close(in_);
  }

 private:
  pid_t pid_;
  int in_;
};

void Say(int out, const std::string& text) {
  EXPECT_EQ(write(out, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

TEST(ImNetProcesses, ThroughATunnel) {
  SecureRandom random;
  const tunnel::PrivateKey server_key = tunnel::GeneratePrivateKey(random);
  const tunnel::PrivateKey client_key = tunnel::GeneratePrivateKey(random);
  TwoProcesses server([&](int out) {
    EXPECT_EQ(im_net_start(), 0);
    const int nic = im_net_add_tunnel(
        absl::StrCat("[Interface]\nPrivateKey = ", server_key.ToBase64(),
                     "\nAddress = 10.5.0.2/24, fd00:5::2/64\nListenPort = 127.0.0.1:0\n",
                     "[Peer]\nPublicKey = ", tunnel::DerivePublicKey(client_key).ToBase64(),
                     "\nAllowedIPs = 10.5.0.1/32, fd00:5::1/128\n")
            .c_str());
    EXPECT_GT(nic, 0) << im_net_message();
    const int listener = Listen("[::]:80");
    Address endpoint;
    EXPECT_EQ(im_net_tunnel_endpoint(nic, endpoint, &endpoint.length), 0);
    Say(out, endpoint.ToString());
    for (int i = 0; i < 2; ++i) ServeOne(listener);
    // The last answer is on its way until the client has closed, too.
    EXPECT_EQ(im_net_wait(listener, IM_NET_IN, kLong), IM_NET_IN);
    EXPECT_EQ(im_net_remove(nic), 0) << im_net_message();
    im_net_close(listener);
    EXPECT_EQ(im_net_stop(), 0);
  });
  ASSERT_EQ(im_net_start(), 0);
  const int nic = im_net_add_tunnel(
      absl::StrCat("[Interface]\nPrivateKey = ", client_key.ToBase64(),
                   "\nAddress = 10.5.0.1/24, fd00:5::1/64\nListenPort = 127.0.0.1:0\n[Peer]\n",
                   "PublicKey = ", tunnel::DerivePublicKey(server_key).ToBase64(),
                   "\nEndpoint = ", server.ReadLine(), "\nAllowedIPs = 10.5.0.2/32, fd00:5::2/128\n")
          .c_str());
  EXPECT_GT(nic, 0) << im_net_message();
  ExpectAnswer("10.5.0.2:80", 300'000);
  ExpectAnswer("[fd00:5::2]:80", 300'000);
  Goodbye("10.5.0.2:80");
  EXPECT_EQ(im_net_stop(), 0);
}

TEST(ImNetProcesses, ThroughADescriptor) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  TwoProcesses server([&](int out) {
    close(ends[0]);
    EXPECT_EQ(im_net_start(), 0);
    const int nic = im_net_add_fd("10.5.0.2/24", 9000, ends[1]);
    EXPECT_GT(nic, 0) << im_net_message();
    const int listener = Listen("0.0.0.0:80");
    Say(out, "ready");
    ServeOne(listener);
    EXPECT_EQ(im_net_wait(listener, IM_NET_IN, kLong), IM_NET_IN);
    im_net_close(listener);
    EXPECT_EQ(im_net_stop(), 0);
  });
  close(ends[1]);
  ASSERT_EQ(im_net_start(), 0);
  EXPECT_GT(im_net_add_fd("10.5.0.1/24", 9000, ends[0]), 0) << im_net_message();
  close(ends[0]);
  EXPECT_EQ(server.ReadLine(), "ready");
  ExpectAnswer("10.5.0.2:80", 3'000'000);
  Goodbye("10.5.0.2:80");
  EXPECT_EQ(im_net_stop(), 0);
}

}  // namespace
}  // namespace im
