#include "tunnel/uapi_server.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tunnel/driver.h"
#include "tunnel/uapi_client.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

class UapiServerTest : public testing::Test {
 protected:
  UapiServerTest() {
    std::string directory = testing::TempDir() + "/uapi-XXXXXX";
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    path_ = directory + "/wireguard/im7.sock";
    loop_ = *EventLoop::Create(clock_);
  }
  ~UapiServerTest() override {
    server_.reset();
    rmdir((directory_ + "/wireguard").c_str());
    rmdir(directory_.c_str());
  }

  void Start(std::function<std::string(absl::string_view)> answer) {
    absl::StatusOr<FileDescriptor> listener = ListenUapi(path_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    auto server = UapiServer::Create(*std::move(listener), path_, *loop_, std::move(answer),
                                     [this] { removed_ = true; });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  FileDescriptor Connect() {
    FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  bool RunUntil(const std::function<bool()>& done) {
    const Instant deadline = clock_.Now() + seconds(10);
    while (!done()) {
      if (clock_.Now() > deadline) return false;
      loop_->RunOnce(milliseconds(50));
    }
    return true;
  }

  void Send(const FileDescriptor& fd, const std::string& text) {
    size_t sent = 0;
    ASSERT_TRUE(RunUntil([&] {
      const ssize_t size = send(fd.get(), text.data() + sent, text.size() - sent,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
      if (size > 0) sent += static_cast<size_t>(size);
      return sent == text.size() || (size < 0 && errno != EAGAIN);
    }));
  }

  // What comes until the text ends with `end`, or the connection closes.
  std::string Receive(const FileDescriptor& fd, const std::string& end) {
    std::string text;
    RunUntil([&] {
      char bytes[65536];
      ssize_t size;
      while ((size = recv(fd.get(), bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
        text.append(bytes, static_cast<size_t>(size));
      }
      return size == 0 || (size < 0 && errno != EAGAIN) ||
             (text.size() >= end.size() && text.substr(text.size() - end.size()) == end);
    });
    return text;
  }

  bool Closed(const FileDescriptor& fd) {
    return RunUntil([&] {
      char byte;
      const ssize_t size = recv(fd.get(), &byte, 1, MSG_DONTWAIT);
      return size == 0 || (size < 0 && errno == ECONNRESET);
    });
  }

  RealClock clock_;
  std::unique_ptr<EventLoop> loop_;
  std::string directory_;
  std::string path_;
  std::unique_ptr<UapiServer> server_;
  bool removed_ = false;
};

std::string Echo(absl::string_view request) { return absl::StrCat("<", request, ">"); }

TEST_F(UapiServerTest, TheSocketIsForItsOwnerAlone) {
  Start(Echo);
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(UapiServerTest, SeveralRequestsInAnyPieces) {
  Start(Echo);
  const FileDescriptor fd = Connect();
  Send(fd, "get=1\n");
  loop_->RunOnce(milliseconds(10));
  Send(fd, "\nset=1\na=b\n\nget");
  EXPECT_EQ(Receive(fd, "b>"), "<get=1><set=1\na=b>");
  Send(fd, "=1\n\n");
  EXPECT_EQ(Receive(fd, ">"), "<get=1>");
}

TEST_F(UapiServerTest, AHalfClosedConnectionStillGetsItsAnswer) {
  Start(Echo);
  const FileDescriptor fd = Connect();
  Send(fd, "get=1\n\n");
  shutdown(fd.get(), SHUT_WR);
  EXPECT_EQ(Receive(fd, "never"), "<get=1>");  // until it is closed
}

TEST_F(UapiServerTest, ALongAnswerWaitsForItsReader) {
  const std::string answer(3 << 20, 'x');
  Start([&](absl::string_view) { return answer + "\n"; });
  const FileDescriptor fd = Connect();
  Send(fd, "get=1\n\n");
  EXPECT_EQ(Receive(fd, "\n").size(), answer.size() + 1);
}

TEST_F(UapiServerTest, AnEndlessRequestIsCutOff) {
  Start(Echo);
  const FileDescriptor fd = Connect();
  Send(fd, std::string(kUapiRequestBytesMax + (1 << 20), 'x'));
  EXPECT_TRUE(Closed(fd));
}

TEST_F(UapiServerTest, TheOldestConnectionMakesRoom) {
  Start(Echo);
  std::vector<FileDescriptor> fds;
  for (size_t i = 0; i < kUapiConnectionsMax + 1; ++i) {
    fds.push_back(Connect());
    Send(fds.back(), "get=1\n\n");
    EXPECT_EQ(Receive(fds.back(), ">"), "<get=1>");
  }
  EXPECT_TRUE(Closed(fds[0]));
  Send(fds[1], "get=1\n\n");
  EXPECT_EQ(Receive(fds[1], ">"), "<get=1>");
}

TEST_F(UapiServerTest, RemovingTheFileIsNoticed) {
  Start(Echo);
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_TRUE(RunUntil([&] { return removed_; }));
}

TEST_F(UapiServerTest, AChangeOfModeIsNoRemoval) {
  Start(Echo);
  ASSERT_EQ(chmod(path_.c_str(), 0660), 0);
  loop_->RunOnce(milliseconds(100));
  EXPECT_FALSE(removed_);
}

TEST_F(UapiServerTest, TheFileGoesWithTheServer) {
  Start(Echo);
  server_.reset();
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_FALSE(removed_);
}

TEST_F(UapiServerTest, ALivingSocketIsNotTakenADeadOneIs) {
  {
    absl::StatusOr<FileDescriptor> listener = ListenUapi(path_);
    ASSERT_TRUE(listener.ok());
    EXPECT_TRUE(absl::IsAlreadyExists(ListenUapi(path_).status()));
  }
  Start(Echo);
  const FileDescriptor fd = Connect();
  Send(fd, "get=1\n\n");
  EXPECT_EQ(Receive(fd, ">"), "<get=1>");
}

// wg(8) would remove it.
TEST_F(UapiServerTest, ASocketIsNotThereBeforeItListens) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path_.c_str());
  std::atomic<bool> done{false};
  std::atomic<int> accepted{0}, refused{0};
  std::thread asks([&] {
    while (!done) {
      FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
        ++accepted;
      } else if (errno == ECONNREFUSED) {
        ++refused;
      }
    }
  });
  // All are kept: one that is closed refuses as well.
  std::vector<FileDescriptor> listeners;
  for (int i = 0; i < 300; ++i) {
    const int before = accepted;
    absl::StatusOr<FileDescriptor> listener = ListenUapi(path_);
    EXPECT_TRUE(listener.ok()) << listener.status();
    if (!listener.ok()) break;
    listeners.push_back(*std::move(listener));
    const Instant deadline = clock_.Now() + seconds(10);
    while (accepted == before && clock_.Now() < deadline) std::this_thread::yield();
    EXPECT_NE(accepted, before);
    unlink(path_.c_str());
  }
  done = true;
  asks.join();
  EXPECT_EQ(refused, 0);
  std::error_code error;
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/wireguard", error));
}

TEST_F(UapiServerTest, OurOwnQuestionsAreAnswered) {
  Start([](absl::string_view request) -> std::string {
    return request == "get=im_drops" ? "drop_replayed=1\nerrno=0\n\n" : "errno=-71\n\n";
  });
  const auto ask = [&](const std::string& path, const std::string& request) {
    absl::StatusOr<std::string> answer = absl::UnknownError("not asked");
    std::atomic<bool> done = false;
    std::thread asking([&] {
      answer = AskUapi(path, request);
      done = true;
    });
    EXPECT_TRUE(RunUntil([&] { return done.load(); }));
    asking.join();
    return answer;
  };
  EXPECT_EQ(*ask(path_, "get=im_drops"), "drop_replayed=1\n");
  EXPECT_TRUE(absl::IsFailedPrecondition(ask(path_, "get=im_secrets").status()));
  EXPECT_TRUE(absl::IsNotFound(ask(path_ + "x", "get=im_drops").status()));
}

class NullSink final : public PacketSink {
 public:
  void Write(PacketBatch) override {}
};

TEST_F(UapiServerTest, ADriverIsConfigured) {
  SecureRandom random;
  NullSink inside;
  Driver::Options options;
  options.listen = {IpAddress::V4(0x7f000001), 0};
  auto driver =
      Driver::Create(GeneratePrivateKey(random), options, *loop_, random, inside, nullptr);
  ASSERT_TRUE(driver.ok()) << driver.status();
  auto other = Driver::Create(GeneratePrivateKey(random), options, *loop_, random, inside, nullptr);
  ASSERT_TRUE(other.ok());
  Start([&](absl::string_view request) { return AnswerUapi(request, **driver); });
  const FileDescriptor fd = Connect();
  const std::string key(64, '2');
  Send(fd, absl::StrCat("set=1\npublic_key=", key, "\nallowed_ip=10.0.0.0/8\n\n"));
  EXPECT_EQ(Receive(fd, "\n\n"), "errno=0\n\n");
  Send(fd, "get=1\n\n");
  const std::string text = Receive(fd, "\n\n");
  EXPECT_THAT(text, HasSubstr(absl::StrCat("public_key=", key, "\n")));
  EXPECT_THAT(text,
              HasSubstr(absl::StrCat("listen_port=", (*driver)->local_endpoint().port, "\n")));

  const uint16_t port = (*driver)->local_endpoint().port;
  Send(fd, absl::StrCat("set=1\nlisten_port=", (*other)->local_endpoint().port, "\n\n"));
  EXPECT_EQ(Receive(fd, "\n\n"), absl::StrCat("errno=-", EADDRINUSE, "\n\n"));
  EXPECT_EQ((*driver)->local_endpoint().port, port);
  Send(fd, "set=1\nlisten_port=0\n\n");
  EXPECT_EQ(Receive(fd, "\n\n"), "errno=0\n\n");
  EXPECT_NE((*driver)->local_endpoint().port, port);
  Send(fd, "set=1\nnonsense=1\n\n");
  EXPECT_EQ(Receive(fd, "\n\n"), absl::StrCat("errno=-", EINVAL, "\n\n"));
  Send(fd, "hello\n\n");
  EXPECT_EQ(Receive(fd, "\n\n"), absl::StrCat("errno=-", EPROTO, "\n\n"));
}

}  // namespace
}  // namespace im::tunnel
