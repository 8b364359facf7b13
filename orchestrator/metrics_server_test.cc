// A server on a Unix socket and on a port of loopback, and clients that
// behave, and that do not.

#include "orchestrator/metrics_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <functional>

#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kGet[] = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
const Endpoint kMetricsLoopback{IpAddress::V4(0x7f000001), 0};

class MetricsServerTest : public testing::Test {
 protected:
  MetricsServerTest() {
    server_ = std::make_unique<MetricsServer>(*loop_, [this] {
      ++renders_;
      clock_.Advance(render_takes_);
      return text_;
    });
    endpoint_ = *server_->ListenTcp(kMetricsLoopback);
  }

  // Time is driven by hand: turns of the loop with what is there.
  void Turn(int turns = 20) {
    for (int i = 0; i < turns; ++i) loop_->RunOnce(Duration(0));
  }
  FileDescriptor Connect() {
    sockaddr_storage address{};
    const socklen_t size = endpoint_.ToSockaddr(address);
    FileDescriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    fcntl(client.get(), F_SETFL, O_NONBLOCK);
    Turn();
    return client;
  }
  void Say(const FileDescriptor& client, absl::string_view bytes) {
    ASSERT_EQ(send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    Turn();
  }
  // All that came until the server ended the connection; `closed` says whether it did.
  std::string Hear(const FileDescriptor& client, bool* closed = nullptr) {
    std::string all;
    char buffer[64 << 10];
    for (int idle = 0; idle < 50;) {
      Turn(2);
      const ssize_t n = recv(client.get(), buffer, sizeof(buffer), 0);
      if (n > 0) {
        all.append(buffer, static_cast<size_t>(n));
        idle = 0;
      } else if (n < 0 && errno == EAGAIN) {
        ++idle;
      } else {
        if (closed != nullptr) *closed = true;
        break;
      }
    }
    return all;
  }

  std::string text_ = "im_hosts 3\n";
  int renders_ = 0;
  Duration render_takes_{0};
  ManualClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
  std::unique_ptr<MetricsServer> server_;
  Endpoint endpoint_;
};

TEST_F(MetricsServerTest, AnswersAGetAndClosesTheConnection) {
  FileDescriptor client = Connect();
  Say(client, kGet);
  bool closed = false;
  const std::string answer = Hear(client, &closed);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 11\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nim_hosts 3\n"));
  EXPECT_TRUE(closed);
  client.Reset();
  Turn();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(MetricsServerTest, ARequestMayComeInPieces) {
  const FileDescriptor client = Connect();
  for (const char* byte = kGet; *byte != '\0'; ++byte) Say(client, absl::string_view(byte, 1));
  EXPECT_THAT(Hear(client), EndsWith("im_hosts 3\n"));
}

TEST_F(MetricsServerTest, AHeadHasNoBody) {
  const FileDescriptor client = Connect();
  Say(client, "HEAD /metrics HTTP/1.1\r\n\r\n");
  const std::string answer = Hear(client);
  EXPECT_THAT(answer, HasSubstr("Content-Length: 11\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(MetricsServerTest, AnythingElseIsRefused) {
  const std::pair<std::string, const char*> cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
      {"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
      {"SSH-2.0-client\r\n", "HTTP/1.1 400 "},
      {"GET /metrics HTTP/1.1\r\nA: " + std::string(kHttpRequestBytesMax, 'a'), "HTTP/1.1 431 "}};
  for (const auto& [request, answer] : cases) {
    const FileDescriptor client = Connect();
    Say(client, request);
    bool closed = false;
    EXPECT_THAT(Hear(client, &closed), StartsWith(answer));
    EXPECT_TRUE(closed) << answer;
  }
  EXPECT_EQ(renders_, 0);
}

TEST_F(MetricsServerTest, WhoSaysNothingIsCutOffInTime) {
  const FileDescriptor client = Connect();
  Say(client, "GET /metr");
  clock_.Advance(MetricsServer::kTimeBound - milliseconds(1));
  Turn();
  EXPECT_EQ(server_->connections(), 1u);
  clock_.Advance(milliseconds(1));
  Turn();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(MetricsServerTest, WhoDoesNotReadIsCutOffInTime) {
  text_ = std::string(32 << 20, 'x');  // more than any socket's buffer
  const FileDescriptor client = Connect();
  Say(client, kGet);
  EXPECT_EQ(server_->connections(), 1u);
  clock_.Advance(MetricsServer::kTimeBound);
  Turn();
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(MetricsServerTest, ALongAnswerArrivesWhole) {
  text_ = std::string(32 << 20, 'x');
  const FileDescriptor client = Connect();
  Say(client, kGet);
  EXPECT_GE(Hear(client).size(), text_.size());
}

TEST_F(MetricsServerTest, WaitingConnectionsShutNobodyOut) {
  std::vector<FileDescriptor> idle;
  for (size_t i = 0; i < MetricsServer::kConnectionsMax; ++i) idle.push_back(Connect());
  EXPECT_EQ(server_->connections(), MetricsServer::kConnectionsMax);
  const FileDescriptor client = Connect();
  EXPECT_EQ(server_->connections(), MetricsServer::kConnectionsMax);
  Say(client, kGet);
  EXPECT_THAT(Hear(client), EndsWith("im_hosts 3\n"));
  bool closed = false;
  EXPECT_EQ(Hear(idle[0], &closed), "");
  EXPECT_TRUE(closed) << "the oldest one made room";
}

TEST_F(MetricsServerTest, ScrapesTakeABoundedShareOfTheTime) {
  render_takes_ = milliseconds(10);
  const auto scrape = [&] {
    const FileDescriptor client = Connect();
    Say(client, kGet);
    return Hear(client);
  };
  scrape();
  text_ = "im_hosts 4\n";
  EXPECT_THAT(scrape(), EndsWith("im_hosts 3\n"));
  clock_.Advance(MetricsServer::kRenderQuiet * render_takes_ - milliseconds(1));
  scrape();
  EXPECT_EQ(renders_, 1);
  clock_.Advance(milliseconds(1));
  EXPECT_THAT(scrape(), EndsWith("im_hosts 4\n"));
  EXPECT_EQ(renders_, 2);
}

TEST_F(MetricsServerTest, APortThatIsTakenIsNamed) {
  MetricsServer other(*loop_, [] { return ""; });
  const auto bound = other.ListenTcp(endpoint_);
  EXPECT_TRUE(absl::IsAlreadyExists(bound.status())) << bound.status();
  EXPECT_THAT(std::string(bound.status().message()), HasSubstr(endpoint_.ToString()));
}

TEST_F(MetricsServerTest, TheUnixSocketIsForItsOwnerAndGoesWithTheServer) {
  std::string path = testing::TempDir() + "im-metrics-XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  // Longer than a socket's path may be.
  const std::string directory = absl::StrCat(path, "/", std::string(120, 'd'));
  std::filesystem::create_directory(directory);
  const std::string socket_path = directory + "/metrics.sock";
  ASSERT_TRUE(server_->ListenUnix(directory, "metrics.sock", 12345).ok());
  struct stat status{};
  ASSERT_EQ(stat(socket_path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(status.st_uid, 12345u);
  // One that a killed server left is replaced.
  MetricsServer next(*loop_, [] { return "next\n"; });
  ASSERT_TRUE(next.ListenUnix(directory, "metrics.sock", std::nullopt).ok());
  const FileDescriptor place(open(directory.c_str(), O_PATH | O_CLOEXEC));
  const std::string short_path = absl::StrCat("/proc/self/fd/", place.get(), "/metrics.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, short_path.data(), short_path.size());
  const FileDescriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  Say(client, kGet);
  EXPECT_THAT(Hear(client), EndsWith("next\n"));
  server_.reset();
  EXPECT_NE(stat(socket_path.c_str(), &status), 0);
  std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace im::orchestrator
