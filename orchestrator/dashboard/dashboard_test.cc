// Who may ask for what. The requests are told apart by their headers, as
// browsers send them.

#include "orchestrator/dashboard/dashboard.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "orchestrator/fake_api_backend.h"

namespace im::orchestrator {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class OneChunk final : public HttpStream {
 public:
  std::string Next() override { return std::exchange(chunk_, ""); }

 private:
  std::string chunk_ = "event: hello\ndata: {}\n\n";
};

class DashboardTest : public testing::Test {
 protected:
  DashboardTest() {
    std::string directory = testing::TempDir() + "im-dashboard-XXXXXX";
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    auto token = DashboardToken::Open(TokenPath(), std::nullopt, random_);
    EXPECT_TRUE(token.ok()) << token.status();
    dashboard_ = std::make_unique<Dashboard>(*loop_, backend_, *std::move(token),
                                             [] { return std::make_unique<OneChunk>(); });
    endpoint_ = *dashboard_->Listen(Endpoint{IpAddress::V4(0x7f000001), 0});
  }
  ~DashboardTest() override { std::filesystem::remove_all(directory_); }

  std::string TokenPath() const { return directory_ + "/dashboard.token"; }

  std::string Ask(absl::string_view line, absl::string_view headers = "",
                  absl::string_view host = "127.0.0.1:9601") {
    sockaddr_storage address{};
    const socklen_t size = endpoint_.ToSockaddr(address);
    const FileDescriptor client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    fcntl(client.get(), F_SETFL, O_NONBLOCK);
    const std::string request =
        absl::StrCat(line, " HTTP/1.1\r\n", host.empty() ? "" : absl::StrCat("Host: ", host, "\r\n"),
                     headers, "\r\n");
    EXPECT_EQ(send(client.get(), request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    std::string all;
    char buffer[64 << 10];
    for (int idle = 0; idle < 50; ++idle) {
      for (int i = 0; i < 3; ++i) loop_->RunOnce(Duration(0));
      const ssize_t n = recv(client.get(), buffer, sizeof(buffer), 0);
      if (n > 0) all.append(buffer, static_cast<size_t>(n));
      if (n == 0) break;
    }
    return all;
  }
  std::string Bearer() const {
    return absl::StrCat("Authorization: Bearer ", dashboard_->token(), "\r\n");
  }

  ManualClock clock_;
  SecureRandom random_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create(clock_);
  FakeApiBackend backend_;
  std::string directory_;
  std::unique_ptr<Dashboard> dashboard_;
  Endpoint endpoint_;
};

TEST_F(DashboardTest, ThePageIsThereAndMayRunNothingButItself) {
  const std::string page = Ask("GET /");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/html"));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy: default-src 'none'; script-src 'self';"));
  EXPECT_THAT(page, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(page, HasSubstr("X-Content-Type-Options: nosniff\r\n"));
  EXPECT_THAT(page, Not(HasSubstr("Access-Control")));
  EXPECT_THAT(page, Not(HasSubstr("<script>")));
  EXPECT_THAT(page, Not(HasSubstr("style=")));
  EXPECT_THAT(Ask("GET /no-such"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask("POST /"), StartsWith("HTTP/1.1 405 "));
}

TEST_F(DashboardTest, LookingNeedsNoToken) {
  EXPECT_THAT(Ask("GET /api/stream"), EndsWith("event: hello\ndata: {}\n\n"));
  const std::string why = Ask("GET /api/hosts/db/why");
  EXPECT_THAT(why, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"));
  EXPECT_THAT(why, HasSubstr("\"keeps_up\":[\"cpu 12%\"]"));
  EXPECT_TRUE(backend_.Await("refresh db")) << "figures as they are now";
}

TEST_F(DashboardTest, ActingNeedsTheToken) {
  for (const std::string& headers :
       {std::string(), std::string("Authorization: Bearer \r\n"),
        absl::StrCat("Authorization: Bearer ", std::string(64, '0'), "\r\n"),
        absl::StrCat("Authorization: Bearer ", dashboard_->token().substr(1), "\r\n"),
        absl::StrCat("Authorization: Basic ", dashboard_->token(), "\r\n"),
        absl::StrCat("Cookie: token=", dashboard_->token(), "\r\n"), Bearer() + Bearer()}) {
    EXPECT_THAT(Ask("POST /api/hosts/db/wake", headers), StartsWith("HTTP/1.1 401 ")) << headers;
    EXPECT_THAT(Ask("GET /api/permission", headers), StartsWith("HTTP/1.1 401 ")) << headers;
  }
  EXPECT_THAT(Ask(absl::StrCat("POST /api/hosts/db/wake?token=", dashboard_->token())),
              StartsWith("HTTP/1.1 401 "));
  EXPECT_TRUE(backend_.waiting.empty());
  EXPECT_THAT(Ask("GET /api/permission", Bearer()), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Ask("POST /api/hosts/db/wake", Bearer()), StartsWith("HTTP/1.1 202 "));
  EXPECT_EQ(backend_.waiting.size(), 1u);
  backend_.waiting[0](proto::HostInfo());  // later, when nobody listens any more
}

TEST_F(DashboardTest, AReadingRequestChangesNothing) {
  for (const char* verb : {"wake", "suspend", "release"}) {
    EXPECT_THAT(Ask(absl::StrCat("GET /api/hosts/db/", verb), Bearer()),
                StartsWith("HTTP/1.1 405 "));
  }
  EXPECT_THAT(Ask("POST /api/hosts/db/destroy", Bearer()), StartsWith("HTTP/1.1 404 "));
  EXPECT_TRUE(backend_.waiting.empty());
}

TEST_F(DashboardTest, WhatFailsAtOnceSaysWhy) {
  const std::string answer = Ask("POST /api/hosts/db/suspend", Bearer());
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 409 "));
  EXPECT_THAT(answer, EndsWith("{\"error\":\"db does not run\"}\n"));
  EXPECT_THAT(Ask("POST /api/hosts/db/release", Bearer()), StartsWith("HTTP/1.1 202 "));
}

TEST_F(DashboardTest, AnotherPageIsRefusedEvenWithTheToken) {
  for (const char* headers :
       {"Origin: http://evil.example\r\n", "Origin: null\r\n", "Origin: https://127.0.0.1:9601\r\n",
        "Origin: http://127.0.0.1:9602\r\n", "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n"}) {
    EXPECT_THAT(Ask("POST /api/hosts/db/wake", absl::StrCat(headers, Bearer())),
                StartsWith("HTTP/1.1 403 "))
        << headers;
    EXPECT_THAT(Ask("GET /api/stream", headers), StartsWith("HTTP/1.1 403 ")) << headers;
  }
  EXPECT_THAT(Ask("POST /api/hosts/db/wake",
                  absl::StrCat("Origin: http://127.0.0.1:9601\r\nSec-Fetch-Site: same-origin\r\n",
                               Bearer())),
              StartsWith("HTTP/1.1 202 "));
}

TEST_F(DashboardTest, ANameThatDnsCouldLeadHereIsRefused) {
  for (const char* host : {"", "evil.example", "evil.example:9601", "localhost.evil.example",
                           "127.0.0.1.evil.example", "[evil]", "127.0.0.1:x", "127.0.0.1:99999"}) {
    EXPECT_THAT(Ask("GET /", "", host), StartsWith("HTTP/1.1 421 ")) << host;
    EXPECT_THAT(Ask("POST /api/hosts/db/wake", Bearer(), host), StartsWith("HTTP/1.1 421 "));
  }
  EXPECT_THAT(Ask("GET /", "Host: localhost\r\n"), StartsWith("HTTP/1.1 421 ")) << "two of them";
  for (const char* host : {"localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:9601", "10.1.2.3:80"}) {
    EXPECT_THAT(Ask("GET /", "", host), StartsWith("HTTP/1.1 200 ")) << host;
  }
}

TEST_F(DashboardTest, ItListensInOnePlace) {
  EXPECT_EQ(*dashboard_->Listen(std::nullopt), endpoint_);
  EXPECT_EQ(*dashboard_->Listen(endpoint_), endpoint_);
  const auto elsewhere = dashboard_->Listen(Endpoint{IpAddress::V4(0x7f000001), 1});
  EXPECT_TRUE(absl::IsFailedPrecondition(elsewhere.status()));
  EXPECT_THAT(std::string(elsewhere.status().message()), HasSubstr(endpoint_.ToString()));
}

TEST_F(DashboardTest, TheTokenIsForItsOwnerAndStays) {
  struct stat status{};
  ASSERT_EQ(stat(TokenPath().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(dashboard_->token().size(), 64u);
  const auto again = DashboardToken::Open(TokenPath(), std::nullopt, random_);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->text(), dashboard_->token());
}

TEST_F(DashboardTest, AFileThatHoldsNoTokenIsReplaced) {
  std::ofstream(TokenPath()) << "short\n";
  const auto made = DashboardToken::Open(TokenPath(), std::nullopt, random_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->text().size(), 64u);
  EXPECT_NE(made->text(), dashboard_->token());
}

}  // namespace
}  // namespace im::orchestrator
