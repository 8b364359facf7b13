// Answers that come at once, late and never, and streams; what a single GET may
// and may not do is in metrics_server_test.cc.

#include "orchestrator/http_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const Endpoint kLoopback{IpAddress::V4(0x7f000001), 0};
constexpr HttpServer::Limits kLimits = {.time_bound = seconds(5),
                                        .connections_max = 4,
                                        .streams_max = 2,
                                        .stall_bound = seconds(15)};

class HttpServerTest : public testing::Test {
 protected:
  class Stream final : public HttpStream {
   public:
    explicit Stream(HttpServerTest& test) : test_(test) { ++test_.streams_; }
    ~Stream() override { --test_.streams_; }
    std::string Next() override {
      ++test_.asked_;
      return std::exchange(test_.chunk_, "");
    }

   private:
    HttpServerTest& test_;
  };

  HttpServerTest() {
    server_ = std::make_unique<HttpServer>(
        *loop_, "test", kLimits, [this](const HttpRequest& request, HttpServer::Respond respond) {
          HttpResponse response;
          if (request.path == "/late") {
            respond_ = std::move(respond);
            return;
          }
          if (request.path == "/stream") response.stream = std::make_unique<Stream>(*this);
          response.headers = "X-Test: yes\r\n";
          response.body = std::make_shared<std::string>("here\n");
          respond(std::move(response));
        });
    endpoint_ = *server_->ListenTcp(kLoopback);
  }

  void Turn(int turns = 20) {
    for (int i = 0; i < turns; ++i) loop_->RunOnce(Duration(0));
  }
  FileDescriptor Ask(absl::string_view request) {
    sockaddr_storage address{};
    const socklen_t size = endpoint_.ToSockaddr(address);
    FileDescriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    fcntl(client.get(), F_SETFL, O_NONBLOCK);
    EXPECT_EQ(send(client.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    Turn();
    return client;
  }
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

  ManualClock clock_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
  HttpServer::Respond respond_;
  std::string chunk_;
  int asked_ = 0;
  int streams_ = 0;
  std::unique_ptr<HttpServer> server_;
  Endpoint endpoint_;
};

TEST_F(HttpServerTest, AnAnswerMayComeLater) {
  const FileDescriptor client = Ask("GET /late HTTP/1.1\r\n\r\n");
  EXPECT_EQ(Hear(client), "");
  HttpResponse response;
  response.body = std::make_shared<std::string>("at last\n");
  respond_(std::move(response));
  bool closed = false;
  EXPECT_THAT(Hear(client, &closed), EndsWith("\r\n\r\nat last\n"));
  EXPECT_TRUE(closed);
  respond_({});  // once more: nothing
}

TEST_F(HttpServerTest, AnAnswerForNobodyIsHarmless) {
  FileDescriptor client = Ask("GET /late HTTP/1.1\r\n\r\n");
  client.Reset();
  Turn();
  EXPECT_EQ(server_->connections(), 0u);
  respond_({});
  client = Ask("GET /late HTTP/1.1\r\n\r\n");
  server_.reset();
  respond_({});
}

TEST_F(HttpServerTest, ABodyIsRefused) {
  for (const char* header : {"Content-Length: 5", "Transfer-Encoding: chunked",
                             "Content-Length: 0\r\nContent-Length: 5"}) {
    const FileDescriptor client =
        Ask(absl::StrCat("POST / HTTP/1.1\r\n", header, "\r\n\r\nhello"));
    EXPECT_THAT(Hear(client), StartsWith("HTTP/1.1 413 ")) << header;
  }
  const FileDescriptor client = Ask("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(Hear(client), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpServerTest, AnAnswerHasItsHeaders) {
  const FileDescriptor client = Ask("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(Hear(client), HasSubstr("\r\nX-Test: yes\r\n"));
}

TEST_F(HttpServerTest, AStreamIsAskedAgainWhenThereIsNews) {
  chunk_ = "one\n";
  const FileDescriptor client = Ask("GET /stream HTTP/1.1\r\n\r\n");
  std::string heard = Hear(client);
  EXPECT_THAT(heard, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(heard, EndsWith("\r\n\r\none\n"));
  const int asked = asked_;
  Turn(50);
  EXPECT_EQ(asked_, asked) << "asked without news";
  chunk_ = "two\n";
  server_->PollStreams();
  EXPECT_EQ(Hear(client), "two\n");
  // It has no end of its own.
  clock_.Advance(std::chrono::hours(1));
  Turn();
  EXPECT_EQ(server_->streams(), 1u);
  EXPECT_EQ(server_->connections(), 0u);
}

TEST_F(HttpServerTest, AStreamEndsWithItsReader) {
  FileDescriptor client = Ask("GET /stream HTTP/1.1\r\n\r\n");
  EXPECT_EQ(streams_, 1);
  client.Reset();
  Turn();
  EXPECT_EQ(streams_, 0);
  EXPECT_EQ(server_->streams(), 0u);
}

TEST_F(HttpServerTest, AReaderThatTakesNothingIsCutOff) {
  chunk_ = std::string(32 << 20, 'x');  // more than any socket's buffer
  const FileDescriptor slow = Ask("GET /stream HTTP/1.1\r\n\r\n");
  EXPECT_EQ(streams_, 1);
  const int asked = asked_;
  for (int i = 0; i < 3; ++i) server_->PollStreams();
  EXPECT_EQ(asked_, asked) << "more is made while a chunk waits";
  // Whoever takes a little may go on.
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(kLimits.stall_bound - seconds(1));
    std::string some(64 << 10, '\0');
    for (size_t got = 0; got < (6u << 20);) {
      const ssize_t n = recv(slow.get(), some.data(), some.size(), 0);
      ASSERT_NE(n, 0) << "it was cut off";
      if (n > 0) got += static_cast<size_t>(n);
      Turn(2);
    }
    ASSERT_EQ(streams_, 1) << i;
  }
  clock_.Advance(kLimits.stall_bound);
  Turn();
  EXPECT_EQ(streams_, 0);
}

TEST_F(HttpServerTest, ThereAreSoManyStreamsAndTheyShutNobodyOut) {
  std::vector<FileDescriptor> readers;
  for (size_t i = 0; i < kLimits.streams_max; ++i) {
    readers.push_back(Ask("GET /stream HTTP/1.1\r\n\r\n"));
  }
  const FileDescriptor late = Ask("GET /stream HTTP/1.1\r\n\r\n");
  EXPECT_THAT(Hear(late), StartsWith("HTTP/1.1 503 "));
  std::vector<FileDescriptor> idle;
  for (size_t i = 0; i < 2 * kLimits.connections_max; ++i) idle.push_back(Ask("GET"));
  EXPECT_EQ(server_->connections(), kLimits.connections_max);
  EXPECT_EQ(server_->streams(), kLimits.streams_max) << "the oldest ones made no room";
  const FileDescriptor client = Ask("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(Hear(client), EndsWith("here\n"));
}

TEST_F(HttpServerTest, AHeadOfAStreamIsItsHeaders) {
  const FileDescriptor client = Ask("HEAD /stream HTTP/1.1\r\n\r\n");
  bool closed = false;
  EXPECT_THAT(Hear(client, &closed), EndsWith("\r\n\r\n"));
  EXPECT_TRUE(closed);
  EXPECT_EQ(streams_, 0);
}

}  // namespace
}  // namespace im::orchestrator
