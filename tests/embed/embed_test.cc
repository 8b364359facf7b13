// The programs of examples/embed: two processes, a WireGuard tunnel between them over loopback, and TCP in it;
// neither is root's, and the kernel knows nothing of the network.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "base/random.h"
#include "netstack/late_interface.h"
#include "netstack/net.h"
#include "tunnel/driver.h"

extern char** environ;

namespace im {
namespace {

const IpAddress kServer = IpAddress::V4(0x0a4d0002);
const IpAddress kClient = IpAddress::V4(0x0a4d0001);

// Where the programs lie: those of this build, unless told otherwise.
std::string Program(const std::string& name) {
  const char* folder = std::getenv("IM_HELLO");
  return std::string(folder != nullptr ? folder : IM_HELLO) + "/" + name;
}

// One of them, until the test is over.
class HelloProcess {
 public:
  HelloProcess(std::string program, const tunnel::PrivateKey& key, const tunnel::PublicKey& peer) {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    std::string arguments[] = {program, key.ToBase64(), kServer.ToString(), peer.ToBase64(),
                               kClient.ToString()};
    char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                    arguments[3].data(), arguments[4].data(), nullptr};
    EXPECT_EQ(posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    char buffer[100] = {};
    const ssize_t n = read(fds[0], buffer, sizeof(buffer) - 1);
    close(fds[0]);
    if (n > 1) endpoint_ = Endpoint::Parse(std::string(buffer, static_cast<size_t>(n) - 1));
  }
  ~HelloProcess() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }
  const std::optional<Endpoint>& endpoint() const { return endpoint_; }

 private:
  pid_t pid_ = -1;
  std::optional<Endpoint> endpoint_;
};

struct Get final : netstack::TcpConnection::Handler {
  void OnConnected() override {
    const std::string request = "GET / HTTP/1.0\r\n\r\n";
    connection->Write({reinterpret_cast<const uint8_t*>(request.data()), request.size()});
  }
  void OnReadable() override {
    uint8_t buffer[4096];
    while (const size_t n = connection->Read(buffer))
      response.append(reinterpret_cast<char*>(buffer), n);
  }
  void OnReadClosed() override { connection->CloseWrite(); }
  void OnClosed(const absl::Status& final_status) override {
    status = final_status;
    loop->Stop();
  }
  EventLoop* loop = nullptr;
  std::unique_ptr<netstack::TcpConnection> connection;
  std::string response;
  absl::Status status = absl::UnknownError("still open");
};

class Embed : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Programs, Embed, ::testing::Values("hello", "hello_blocking", "hello_c"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(Embed, TwoProgramsTalkWithoutTheKernelsNetwork) {
  SecureRandom random;
  const tunnel::PrivateKey server_key = tunnel::GeneratePrivateKey(random);
  const tunnel::PrivateKey client_key = tunnel::GeneratePrivateKey(random);
  const HelloProcess hello(Program(GetParam()), server_key, tunnel::DerivePublicKey(client_key));
  ASSERT_TRUE(hello.endpoint().has_value());

  const RealClock clock;
  auto loop = EventLoop::Create(clock).value();
  netstack::LateInterface inside;
  auto driver = tunnel::Driver::Create(client_key, {.listen = *Endpoint::Parse("127.0.0.1:0")},
                                       *loop, random, inside, nullptr)
                    .value();
  netstack::Stack stack(*loop);
  inside.Attach(stack.AddInterface({.address = kClient, .prefix_length = 24}, *driver).value());
  ASSERT_TRUE(driver
                  ->SetPeer({.public_key = tunnel::DerivePublicKey(server_key),
                             .endpoint = hello.endpoint(),
                             .allowed_ips = {IpPrefix::Host(kServer)}})
                  .ok());
  for (int i = 0; i < 3; ++i) {
    Get get;
    get.loop = loop.get();
    get.connection = stack.Dial({.remote = {kServer, 80}}, &get).value();
    const auto limit = loop->After(std::chrono::seconds(30), [&] { loop->Stop(); });
    loop->Run();
    EXPECT_TRUE(get.status.ok()) << get.status;
    EXPECT_EQ(get.response, "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n");
  }
}

}  // namespace
}  // namespace im
