// The client against a real server with made-up answers.

#include "orchestrator/cli/client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/event_loop.h"
#include "orchestrator/api_server.h"
#include "orchestrator/cli/cluster_choice.h"
#include "orchestrator/fake_api_backend.h"

namespace im::orchestrator::cli {
namespace {

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    directory_ = (std::filesystem::temp_directory_path() / "im-client-XXXXXX").string();
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    loop_ = *EventLoop::Create(clock_);
  }
  ~ClientTest() override {
    if (thread_.joinable()) {
      loop_->Stop();
      thread_.join();
    }
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Serve() {
    auto server =
        ApiServer::Start({.socket_path = ApiSocket(directory_)}, *loop_, backend_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    thread_ = std::thread([this] { loop_->Run(); });
  }

  std::string directory_;
  RealClock clock_;
  std::unique_ptr<EventLoop> loop_;
  FakeApiBackend backend_;
  std::unique_ptr<ApiServer> server_;
  std::thread thread_;
};

TEST_F(ClientTest, ListsTenThousandRunningHosts) {
  for (int i = 0; i < 10'000; ++i) {
    proto::HostInfo& host = *backend_.many.add_hosts();
    host.set_name(absl::StrCat("a-host-with-a-name-", i));
    host.set_state("running");
    host.set_cause_text("SYN from a-host-with-a-name-1:43512 to :6379");
    host.set_instance_dir(absl::StrCat("/run/im/a-large-cluster/hosts/", host.name()));
    host.set_log_path(host.instance_dir() + "/log");
    host.set_busy("payload 0.3s ago");
    host.mutable_status()->set_version(1'000'000'000'000);
    host.mutable_status()->set_busy(host.busy());
    host.mutable_status()->mutable_wake_cause()->set_detail(std::string(200, 'd'));
  }
  constexpr size_t kGrpcsOwnLimit = 4 << 20;
  ASSERT_GT(backend_.many.ByteSizeLong(), kGrpcsOwnLimit);
  Serve();
  auto client = Client::Connect(directory_);
  ASSERT_TRUE(client.ok()) << client.status();
  const auto hosts = client->ListHosts();
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  EXPECT_EQ(hosts->size(), 10'000u);
  EXPECT_EQ(hosts->back().name(), "a-host-with-a-name-9999");
}

TEST_F(ClientTest, AsksForFreshFiguresWhereTheyAreWanted) {
  Serve();
  auto client = Client::Connect(directory_);
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE(client->ListHosts().ok());
  {
    const std::lock_guard lock(backend_.mutex);
    EXPECT_TRUE(backend_.notes.empty());
  }
  ASSERT_TRUE(client->ListHosts({"db"}, /*fresh=*/true).ok());
  EXPECT_TRUE(backend_.Await("refresh db"));
}

TEST_F(ClientTest, ASocketThatNobodyServesIsNoCluster) {
  EXPECT_EQ(Client::Connect(directory_).status().code(), absl::StatusCode::kUnavailable);
  // Left behind by one that was killed.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, ApiSocket(directory_).c_str());
  FileDescriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  listener.Reset();
  const absl::Status status = Client::Connect(directory_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("does not run"), absl::string_view::npos) << status;
}

TEST_F(ClientTest, AFailureOfAHostIsNotTakenForTheEndOfImd) {
  const absl::Status host = FromGrpc({grpc::StatusCode::ABORTED, "start failed: exit 7"});
  EXPECT_EQ(host.message(), "start failed: exit 7");
  const absl::Status imd = FromGrpc({grpc::StatusCode::UNAVAILABLE, "socket closed"});
  EXPECT_NE(imd.message().find("imd ended or went away"), absl::string_view::npos);
}

}  // namespace
}  // namespace im::orchestrator::cli
